"""The files of a running VM: read, listed and written from the command line, and by other tools."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from guest.irq.parse import parse_interrupts
from guest.irq.proc import show_interrupts
from guest.vmbus.words import ChannelState, ChannelWords
from lab.attached import AttachedVm
from lab.files import Files
from lab.spec import VmSpec
from lab.vm import VM
from protocol.errors import ExitCode
from protocol.ids import Irq
from protocol.wire.messages import ModifyChannel
from tests.integration.conftest import Lab
from tests.integration.machine import DEADLINE, nothing_left, started, wait_for

HEARTBEAT, DISK = 7, 14


def opened(name: str, relid: int) -> ChannelWords:
    """A channel of a running VM, once it is in use."""

    def look() -> ChannelWords | None:
        words = AttachedVm(name).guest.vmbus.channels[relid]
        return words if words.state == ChannelState.OPENED else None

    return wait_for(f"channel {relid} is open", look)


def device_of(files: Files, relid: int) -> str:
    """The device whose primary channel has this relid, by its name in sysfs."""
    devices = "/sys/bus/vmbus/devices"
    return next(name for name in files.list(devices) if files.read(f"{devices}/{name}/id") == b"%d\n" % relid)


def test_files_are_read_listed_and_written_by_commands(lab: Lab, tmp_path: Path) -> None:
    trace = tmp_path / "journal"
    vm = lab("run", "--vm", "small", "--vcpus", "4", "--duration", "0", "--name", "files", "--trace", trace)
    started("files")
    directory = f"/proc/irq/{opened('files', HEARTBEAT).irq}"

    assert lab("ls").finished().out == "proc\nsys\n"
    assert {"smp_affinity", "heartbeat"} <= set(lab("ls", directory).finished().out.split())
    long = lab("ls", "-l", "/sys/bus/vmbus/drivers/hv_utils").finished().out
    assert "--w------- bind\n" in long
    device = re.search(r"^lrwxrwxrwx (\S+) -> (\S+VMBUS:00/\1)$", long, re.M)
    assert device

    def write(*arguments: str) -> str:
        done = lab("write", *arguments).finished()
        assert (done.code, done.err) == (0, "")
        return done.out

    def refused(*arguments: str) -> str:
        return lab("write", *arguments).finished().complained(ExitCode.CHECK_FAILED)

    assert write(f"{directory}/smp_affinity", "4") == "write returned 2\n"
    files = (f"{directory}/effective_affinity_list", f"{directory}/smp_affinity", "/sys/devices/system/cpu/online")
    assert lab("cat", *files).finished().out == "2\n4\n0-3\n"
    assert refused(f"{directory}/smp_affinity", "0") == "write: Invalid argument (EINVAL)"
    assert refused(f"{directory}/smp_affinity_list", "64") == "write: Numerical result out of range (ERANGE)"
    assert refused("/proc/none", "1") == "write: No such file or directory (ENOENT)"
    name = device_of(AttachedVm("files").files, HEARTBEAT)
    assert name in lab("ls", "/sys/bus/vmbus/devices").finished().out.split()
    cpu = f"/sys/bus/vmbus/devices/{name}/channels/{HEARTBEAT}/cpu"
    said = write("--cpu", "3", cpu, "1")
    assert said.startswith("write returned 0: defect D2") and said.count("\n") == 1
    assert lab("cat", cpu).finished().out == "1\n"
    assert write("/sys/bus/vmbus/drivers/hv_utils/unbind", name) == f"write returned {len(name) + 1}\n"
    assert refused("/sys/bus/vmbus/drivers/hv_utils/bind", name) == "write: Device or resource busy (EBUSY)", "D1"

    line = lab("write", "--cpu", "4", cpu, "1").finished().complained(ExitCode.OPERATOR)
    assert line == "VM 'files' has the CPUs 0 to 3: choose one with --cpu"
    line = lab("cat", "/proc/irq").finished().complained(ExitCode.CHECK_FAILED)
    assert line == "/proc/irq: Is a directory (EISDIR)"
    line = lab("ls", "/sys/none").finished().complained(ExitCode.OPERATOR)
    assert line == "/sys/none is not in this VM: './launch.sh ls' shows what is"

    vm.send(signal.SIGINT)
    assert vm.finished().code == 0
    writes = lab("trace", trace, "--event", "write").finished().out.splitlines()
    assert writes[0].endswith(f"write     {directory}/smp_affinity := '4\\n'")
    assert f"cpu3   write     {cpu} := '1\\n'" in "\n".join(writes)
    written = lab("trace", trace, "--event", "written").finished().out.splitlines()
    assert written[0].endswith(f"written   {directory}/smp_affinity: 2")
    assert f"cpu3   written   {cpu}: 0" in "\n".join(written)
    assert written[-1].endswith(": EBUSY")
    nothing_left()


def test_before_the_rfc_the_cpu_file_answers_with_the_byte_count(lab: Lab) -> None:
    vm = lab("run", "--vm", "small", "--vcpus", "2", "--duration", "0", "--name", "before", "--policy", "legacy")
    started("before")
    opened("before", HEARTBEAT)
    name = device_of(AttachedVm("before").files, HEARTBEAT)
    cpu = f"/sys/bus/vmbus/devices/{name}/channels/7/cpu"
    assert lab("write", cpu, "1").finished().out == "write returned 2\n"
    assert lab("ls", "/proc/irq").finished().out == "default_smp_affinity\n"
    for verb in ("unbind", "bind", "unbind", "bind"):
        done = lab("write", f"/sys/bus/vmbus/drivers/hv_utils/{verb}", name).finished()
        assert done.out == f"write returned {len(name) + 1}\n"
    vm.send(signal.SIGINT)
    assert vm.finished().code == 0
    nothing_left()


def test_top_prints_frames_where_there_is_no_terminal(lab: Lab) -> None:
    vm = lab("run", "--vm", "small", "--vcpus", "2", "--duration", "0", "--name", "busy")
    started("busy")
    opened("busy", DISK)
    done = lab("top", "--count", "2", "--interval", "0.2").finished()
    assert (done.code, done.err) == (0, "")
    frames = done.out.split("interrupts per second, over ")[1:]
    assert len(frames) == 2
    for text in frames:
        lines = text.splitlines()
        assert lines[1].split() == ["IRQ", "what", "total", "all/s", "CPU0", "CPU1"]
        assert lines[2].split()[:2] == ["top-level", "interrupts"]
        assert {line.split()[1] for line in lines[3:7]} == {"VMBus"}, "channels come first"
        assert "\x1b" not in text
    vm.send(signal.SIGINT)
    assert vm.finished().code == 0
    nothing_left()


@pytest.mark.parametrize("policy", ["rfc", "legacy"])
async def test_the_table_of_a_live_vm_parses_back_to_the_state_it_was_rendered_from(policy: str) -> None:
    async with VM(VmSpec(f"parse-{policy}", vcpus=4, policy=policy, time_scale=100)) as vm:
        await vm.settled()
        await vm.host("quiesce")
        await vm.host("fence")
        guest = vm.guest
        stable = await still(vm)
        assert (
            stable
            == show_interrupts(guest.irq, guest.online)
            == AttachedVm(vm.spec.name).files.read("/proc/interrupts").decode()
        )
        table = parse_interrupts(stable)
        assert table.cpus == (0, 1, 2, 3)
        channels = {words.irq: (relid, words.irq_name) for relid, words in guest.opened() if words.irq}
        assert {row.irq: (row.hwirq, row.action) for row in table.rows} == channels
        assert bool(channels) == (policy == "rfc")
        for row in table.rows:
            assert list(row.counts) == guest.irq_counts(Irq(row.irq))
        assert table.tail["HYP"] == tuple(cpu.hyp for cpu in guest.irq.arch_stat)
        assert table.tail["RES"] == tuple(cpu.res for cpu in guest.irq.arch_stat)
        await vm.host("resume")
    nothing_left()


async def still(vm: VM) -> str:
    """/proc/interrupts, when nothing in it moves any more."""
    text = ""
    for _ in range(int(DEADLINE / 0.05)):
        before, text = text, vm.files.read("/proc/interrupts").decode()
        if text == before:
            return text
        await vm.pass_time(0.05)
    raise AssertionError("it never comes to rest")


async def test_a_writer_whom_the_host_never_answers_waits_until_the_vm_ends(lab: Lab) -> None:
    """Before the RFC there is no time-out either; all else goes on."""
    spec = VmSpec("waiting", vcpus=2, policy="legacy", host_options={"modify": "ignore"})
    async with VM(spec) as vm:
        await vm.settled()
        device = f"/sys/bus/vmbus/devices/{device_of(vm.files, HEARTBEAT)}"
        writer = lab("write", f"{device}/channels/{HEARTBEAT}/cpu", "1", "--name", "waiting")
        while not any(request.number == ModifyChannel.number for request in vm.guest.vmbus.requests):
            await vm.pass_time(0.01)
        assert await vm.files.write("/proc/irq/default_smp_affinity", b"1\n") == 2
        assert vm.files.read(f"{device}/channels/{HEARTBEAT}/cpu") == b"0\n"
        assert writer.running
    assert writer.finished().complained(ExitCode.PROCESS_DIED) == "VM 'waiting' ended before cpu0 had answered"
    nothing_left()
