"""Starts the VM with either guest and writes down what host and guest say. Nothing is done but boot and shut down."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from guest.machine import DRIVERS
from lab.failure import VmFailure
from lab.linux import sysfs
from lab.linux.differential import files, messages, packets
from lab.linux.differential.files import Device, GuestFiles
from lab.linux.differential.streams import Streams
from lab.linux.vm import LinuxVm
from lab.spec import VmSpec
from lab.supervised import SupervisedVm
from lab.vm import VM
from protocol.errors import ExitCode
from protocol.journal import unpack
from protocol.wire.guids import device_type
from protocol.wire.messages import OfferChannel, decode
from protocol.wire.versions import Dialect, Version

MAPPINGS = "cat /sys/bus/vmbus/devices/*/channel_vp_mapping"
DISK_ATTACHED = "dmesg | grep -q 'Attached SCSI'"
"""The last line of ``sd_probe``: partitions have been looked for."""
PATIENCE_SECONDS = 20.0
LOOK_SECONDS = 0.05
FIRST_ANSWERS = ("heartbeat", "timesync")
"""Services whose first exchange is part of the comparison; the third, shutdown, is asked at the end."""


async def emulated(spec: VmSpec) -> Streams:
    """The vCPU workers under policy ``legacy``."""
    return await _traced(replace(spec, name=f"{spec.name}-emulated", policy="legacy", linux=None), _emulated)


async def real(spec: VmSpec) -> Streams:
    """The kernel under QEMU."""
    return await _traced(replace(spec, name=f"{spec.name}-real"), _real)


async def _emulated(spec: VmSpec) -> GuestFiles:
    async with VM(spec) as vm:
        await vm.settled()
        await _first_answers(vm)
        channels = list(vm.guest.channels())
        names = ("", *(driver.name for driver in DRIVERS))
        found = GuestFiles(
            {relid: _device(words.offer, names[words.driver]) for relid, words in channels},
            [(relid, words.target_cpu) for relid, words in channels],
            vm.files.read("/proc/interrupts").decode(),
        )
        await vm.host("act", name="shutdown", action="power_off")
    return found


def _device(offer: bytes, driver: str) -> Device:
    message = decode(offer, Dialect(Version.V5_3))
    assert isinstance(message, OfferChannel)
    return Device(message.class_id, message.instance_id, driver)


async def _real(spec: VmSpec) -> GuestFiles:
    async with LinuxVm(spec) as vm:
        if not await sysfs.wait_for(vm, DISK_ATTACHED):
            raise VmFailure(ExitCode.DEVICE, "the kernel found no disk on its SCSI controller")
        await _first_answers(vm)
        mapping = [line.split(":") for line in (await vm.run(MAPPINGS)).split()]
        devices = await sysfs.devices(vm)
        found = GuestFiles(
            {device.relid: Device(device.class_id, device.instance_id, device.driver) for device in devices},
            [(int(relid), int(cpu)) for relid, cpu in mapping],
            await vm.read_file("/proc/interrupts"),
        )
        await vm.power_off()
    return found


async def _first_answers(vm: SupervisedVm) -> None:
    """Wait until the guest has answered the first message of each service that speaks by itself."""
    for _ in range(round(PATIENCE_SECONDS / LOOK_SECONDS)):
        devices = (await vm.host("snapshot"))["devices"]
        if all(devices[name]["counts"]["answered"] for name in FIRST_ANSWERS):
            return
        await asyncio.sleep(LOOK_SECONDS)
    raise VmFailure(ExitCode.CHECK_FAILED, f"no answer of {' and '.join(FIRST_ANSWERS)} in {PATIENCE_SECONDS:.0f} s")


async def _traced(spec: VmSpec, run: Callable[[VmSpec], Awaitable[GuestFiles]]) -> Streams:
    """Run it with a journal, and take everything apart that is compared."""
    with tempfile.NamedTemporaryFile(prefix="vmbus-lab-") as journal:
        found = await run(replace(spec, trace=journal.name))
        records = list(unpack(Path(journal.name).read_bytes()))
    kinds = {relid: device_type(device.class_id).irq_name or "" for relid, device in found.devices.items()}
    return {
        **messages.synic(records),
        **messages.messages(records),
        **packets.packets(records, kinds),
        **files.placement(found.mapping),
        **files.devices(found.devices),
        **files.interrupts(found.interrupts),
    }
