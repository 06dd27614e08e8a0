"""What both guests are asked to do, once all of their devices are there: the conversations that are compared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final

from host.machine import instance_of
from lab.failure import VmFailure
from lab.linux import sysfs
from lab.linux.daemon import KVP, VSS, play
from lab.linux.exercise import BALLOON
from lab.linux.vm import LinuxVm
from lab.spec import VmSpec
from lab.supervised import SupervisedVm
from lab.vm import VM
from protocol.errors import ExitCode
from protocol.wire.dynmem import PAGES_IN_2M
from protocol.wire.vss import VssOperation

PATIENCE_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 0.05
DISKS_ATTACHED: Final = "dmesg | grep -c 'Attached SCSI'"
"""The last line of ``sd_probe``: partitions have been looked for."""
ONES_THAT_SPEAK: Final = ("heartbeat", "timesync")
"""Services that are asked by themselves; shutdown is asked at the end."""
NEGOTIATING: Final = ("kvp", "vss")
BACKUP: Final = (VssOperation.HOT_BACKUP, VssOperation.FREEZE, VssOperation.THAW)
"""What a backup asks the daemon, who agrees to all of it."""
SITUATIONS: Final = 3
"""From the driver, from its console, and when the host looks away."""
UP: Final = b"0x1003"
"""``flags`` of a network device, with IFF_UP."""


async def with_kernel(vm: LinuxVm) -> None:
    """Load what is not loaded at boot, play the daemons, take the network up; then as with the other guest."""
    kinds = {device.kind for device in vm.spec.devices}
    if "balloon" in kinds:
        await vm.run(f"insmod {BALLOON}")
    if "kvp" in kinds:
        await play(vm, KVP, [])
    if "vss" in kinds:
        await play(vm, VSS, [bytes(VSS.size)] * len(BACKUP))
    disks = _disks(vm.spec)
    await _expect(vm, f"[ $({DISKS_ATTACHED}) = {disks} ]", f"the kernel has not found {disks} disks")
    for nic in _named(vm.spec, "netvsc"):
        name = await sysfs.interface_behind(vm, instance_of(nic))
        await _expect(vm, f"ip link set {name} up", f"{name} cannot be taken up")
    await _with_either(vm)


async def with_emulated(vm: VM) -> None:
    """The same; here the daemons are part of the driver."""
    await vm.settled()
    for number in range(len(_named(vm.spec, "netvsc"))):
        await vm.files.write(f"/sys/class/net/eth{number}/flags", UP)
    await _with_either(vm)


async def _with_either(vm: SupervisedVm) -> None:
    """When all channels are open and the services have negotiated: a look away from the screen, which has the guest say
    what it shows; a backup; two MiB of memory for the host.
    """
    await _until_nothing(vm, _missing)
    for name in _named(vm.spec, "framebuffer"):
        await vm.host("act", name=name, action="watch", dirt=False)
    await _until_nothing(vm, _unsaid)
    for name in _named(vm.spec, "vss"):
        await vm.host("act", name=name, action="backup")
    for name in _named(vm.spec, "balloon"):
        await vm.host("act", name=name, action="inflate", pages=PAGES_IN_2M)


def _named(spec: VmSpec, kind: str) -> list[str]:
    return [device.name for device in spec.devices if device.kind == kind]


def _disks(spec: VmSpec) -> int:
    controllers = [device for device in spec.devices if device.kind == "storvsc"]
    return len(spec.disks) + sum(len(device.options.get("disks", ())) for device in controllers[1:])


async def _expect(vm: LinuxVm, condition: str, otherwise: str) -> None:
    if not await sysfs.wait_for(vm, condition):
        raise VmFailure(ExitCode.DEVICE, otherwise)


async def _until_nothing(vm: SupervisedVm, lacks: Callable[[VmSpec, dict[str, Any]], Iterator[str]]) -> None:
    """... is lacking, as the host sees it."""
    missing: list[str] = []
    for _ in range(round(PATIENCE_SECONDS / LOOK_SECONDS)):
        missing = list(lacks(vm.spec, await vm.host("snapshot")))
        if not missing:
            return
        await asyncio.sleep(LOOK_SECONDS)
    raise VmFailure(ExitCode.CHECK_FAILED, f"in {PATIENCE_SECONDS:.0f} s there was no {', no '.join(missing)}")


def _missing(spec: VmSpec, shot: dict[str, Any]) -> Iterator[str]:
    for device in spec.devices:
        counts = shot["devices"][device.name]["counts"]
        if device.kind in ONES_THAT_SPEAK and not counts["answered"]:
            yield f"answer of {device.name}"
        if device.kind == "balloon" and not counts["informed"]:
            yield f"word to {device.name} of how large it may become"
        if device.kind in NEGOTIATING and not counts["negotiated"]:
            yield f"version of {device.name}"
    for name, channel in shot["channels"].items():
        if channel["state"] != "OPEN" and shot["devices"][name.partition(".")[0]]["kind"] != "unsupported":
            yield f"channel of {name}"


def _unsaid(spec: VmSpec, shot: dict[str, Any]) -> Iterator[str]:
    for name in _named(spec, "framebuffer"):
        if shot["devices"][name]["counts"]["situations"] < SITUATIONS:
            yield f"picture of {name}"
