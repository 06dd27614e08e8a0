"""What takes a boot of its own: other versions, other numbers of processors, and the ways in which a guest ends."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from lab.failure import VmFailure
from lab.linux import sysfs
from lab.linux.report import make_report
from lab.spec import DiskSpec
from protocol.wire.messages import InitiateContact, Unload
from protocol.wire.versions import Version
from tests.linux_guest.conftest import Boot
from tests.linux_guest.messages import posted

ALL = ["5.3", "5.2", "5.1", "5.0", "4.1", "4.0", "3.0", "2.4"]
"""The versions of Linux 6.1, in the order in which it tries them (``vmbus_versions``)."""


@pytest.mark.parametrize("newest", ["5.2", "4.1", "4.0"])
async def test_the_guest_steps_down_to_what_the_host_agrees_to(boot: Boot, tmp_path: Path, newest: str) -> None:
    trace = tmp_path / "trace"
    async with boot(host_options={"max_version": int(Version.of(newest))}, trace=str(trace)) as vm:
        assert await sysfs.negotiated_version(vm) == newest
        assert [str(check) for check in (await make_report(vm)).failed] == []
    contacts = [Version(m.version).text for m in posted(trace) if isinstance(m, InitiateContact)]
    assert contacts == ALL[: ALL.index(newest) + 1]


async def test_a_host_that_refuses_every_version_has_no_bus(boot: Boot, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    async with boot(host_options={"max_version": int(Version.WIN7)}, trace=str(trace)) as vm:
        assert await sysfs.negotiated_version(vm) == ""
        assert "hv_vmbus" not in await vm.read_file("/proc/modules")
    contacts = [Version(m.version).text for m in posted(trace) if isinstance(m, InitiateContact)]
    assert contacts == ALL * 2  # busybox's insmod tries both system calls that load a module


async def test_without_the_port_of_new_clients_the_guest_falls_back_to_4_1(boot: Boot) -> None:
    async with boot(host_options={"multi_client_port": False}) as vm:
        assert await sysfs.negotiated_version(vm) == "4.1"


async def test_one_processor_is_enough(boot: Boot) -> None:
    async with boot(vcpus=1) as vm:
        assert await vm.run("nproc") == "1\n"
        assert [str(check) for check in (await make_report(vm)).failed] == []


async def test_a_rescinded_controller_goes_and_comes_back(boot: Boot, images: tuple[Path, Path]) -> None:
    """With nothing in flight, and no write cache to flush: a command on a rescinded channel hangs Linux for ever.

    ``storvsc_queuecommand`` says 0 when ``storvsc_do_io`` fails with ENODEV, and ``storvsc_eh_timed_out`` waits on.
    """
    digest = hashlib.sha256(images[0].read_bytes()).hexdigest()
    async with boot(disks=[DiskSpec(str(images[0]))]) as vm:
        for _ in range(10):
            assert await sysfs.wait_for(vm, "[ -b /dev/sda ]")
            assert (await vm.run("sha256sum /dev/sda")).split()[0] == digest
            await vm.host("rescind", name="storvsc")
            assert await sysfs.wait_for(vm, "! [ -e /sys/bus/vmbus/devices/*/channels/14 ]")
            assert await sysfs.wait_for(vm, "! [ -b /dev/sda ]")
            await vm.host("offer", name="storvsc")


async def test_the_guest_powers_off_when_the_host_asks_for_it(boot: Boot) -> None:
    async with boot() as vm:
        assert await vm.power_off() == "bridge: the guest has powered off"


async def test_a_restart_of_the_guest_ends_the_vm_and_says_so(boot: Boot) -> None:
    async with boot() as vm:
        with pytest.raises(VmFailure, match="the guest has restarted"):
            await vm.run("/bin/busybox reboot -f")


async def test_a_panic_is_reported_and_the_bus_unloaded(boot: Boot, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with pytest.raises(VmFailure, match="sysrq triggered crash"):
        async with boot(trace=str(trace)) as vm:
            asyncio.ensure_future(vm.attempt("echo c >/proc/sysrq-trigger")).add_done_callback(lambda f: f.exception())
            await vm.guard(asyncio.sleep(30))
    assert any(isinstance(message, Unload) for message in posted(trace))
