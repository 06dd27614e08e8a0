"""Moving channels by writing to files: what write(2) returned on real kernels, row by row.

Observed on Linux 6.12 with the twelve patches (RFC), and on 6.1 and 6.12 without them (legacy), with 4 CPUs.
"""

from __future__ import annotations

import stat
from contextlib import suppress
from errno import EBUSY, EINVAL, EIO, ENODEV, EOVERFLOW, ERANGE

import pytest

from guest.vmbus.numa import Topology
from guest.vmbus.policy import Policy
from guest.vmbus.set_cpu import target_cpu_store
from protocol.errors import OperatorError
from protocol.wire.guids import HV_HEART_BEAT_GUID, HV_MOUSE_GUID, HV_SCSI_GUID
from protocol.wire.messages import ModifyChannel, ModifyChannelResponse
from protocol.wire.versions import Version
from tests.guest_vmbus.conftest import HEARTBEAT, Machine, MakeMachine

DISK, MOUSE = 14, 3
LEGACY, RFC = Policy.LEGACY, Policy.RFC
MASK, LIST = "smp_affinity", "smp_affinity_list"


def booted(vm: MakeMachine, policy: Policy = RFC, **how: object) -> Machine:
    """storvsc0 (14) and the heartbeat (7) open, the mouse (3) never; all on CPU 0."""
    machine = vm(4, policy, **how)
    machine.host.offer(DISK, HV_SCSI_GUID)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.host.offer(MOUSE, HV_MOUSE_GUID)
    machine.boot()
    return machine


def device(machine: Machine, relid: int) -> str:
    return f"/sys/bus/vmbus/devices/{machine.channel(relid).device.name}"


def cpu_file(machine: Machine, relid: int) -> str:
    return f"{device(machine, relid)}/channels/{relid}/cpu"


def result(machine: Machine, path: str, text: str, cpu: int = 0) -> int:
    """Of write(2): the byte count, or the negative errno."""
    try:
        return machine.write(path, text, cpu)
    except OSError as error:
        assert error.errno
        return -error.errno


def moves(machine: Machine) -> list[int]:
    """The VPs named in MODIFYCHANNEL since the last look."""
    seen = [int(m.target_vp) for m in machine.host.seen if isinstance(m, ModifyChannel)]
    machine.host.seen.clear()
    return seen


def irq_state(machine: Machine, relid: int) -> tuple[str, str, str]:
    """smp_affinity, effective_affinity and sysfs cpu; the files that say the same agree."""
    directory = f"/proc/irq/{machine.irq(relid)}"
    cpu = machine.read(cpu_file(machine, relid)).strip()
    mapping = dict(line.split(":") for line in machine.read(f"{device(machine, relid)}/channel_vp_mapping").split())
    assert mapping[str(relid)] == cpu
    effective = machine.read(f"{directory}/effective_affinity_list").strip()
    assert effective in (cpu, "")
    names = (f"{directory}/smp_affinity", f"{directory}/effective_affinity")
    return machine.read(names[0]).strip(), machine.read(names[1]).strip(), cpu


def test_each_write_of_a_session_with_proc_irq_has_the_result_it_had(vm: MakeMachine) -> None:
    machine = booted(vm)
    directory = f"/proc/irq/{machine.irq(DISK)}"
    state = ("1", "1", "0")
    for file, text, returned, affinity, effective, cpu, vps in [
        (MASK, "2", 2, "2", "2", "1", [1]),
        (MASK, "f", 2, "f", "2", "1", []),
        (MASK, "6", 2, "6", "2", "1", []),
        (MASK, "c", 2, "c", "4", "2", [2]),
        (MASK, "c", 2, "c", "4", "2", []),
        (MASK, "e", 2, "e", "4", "2", []),
        (MASK, "3", 2, "3", "1", "0", [0]),
        *((MASK, text, -EINVAL, "3", "1", "0", []) for text in ("0", "zz", "", "0x2")),
        *(
            (MASK, text, -EOVERFLOW, "3", "1", "0", [])
            for text in ("10", "12", "ffffffff", "123456789", "1,00000001", "0,3")
        ),
        (LIST, "3", 2, "8", "8", "3", [3]),
        (LIST, "1-2", 4, "6", "2", "1", [1]),
        (LIST, "0,3", 4, "9", "8", "3", [3]),
        *((LIST, text, -ERANGE, "9", "8", "3", []) for text in ("4", "63", "64", "200")),
        *((LIST, text, -EINVAL, "9", "8", "3", []) for text in ("3-1", "abc")),
        (LIST, "99999999999", -EOVERFLOW, "9", "8", "3", []),
        *(
            (file, "1", -EIO, "9", "8", "3", [])
            for file in ("effective_affinity", "effective_affinity_list", "affinity_hint", "node", "spurious")
        ),
    ]:
        moves(machine)
        assert result(machine, f"{directory}/{file}", f"{text}\n") == returned, f"{file} {text!r}"
        state = irq_state(machine, DISK)
        assert (state, moves(machine)) == ((affinity, effective, cpu), vps), f"{file} {text!r}"
    assert machine.read(f"{directory}/affinity_hint") == "1\n"


def test_a_failed_sysfs_write_advances_the_rotor_of_all_channels(vm: MakeMachine) -> None:
    machine = booted(vm)
    assert result(machine, cpu_file(machine, MOUSE), "2\n") == -EIO
    assert result(machine, f"/proc/irq/{machine.irq(DISK)}/smp_affinity", "e\n") == 2
    assert irq_state(machine, DISK)[2] == "3"


def test_with_a_cpu_offline(vm: MakeMachine) -> None:
    machine = booted(vm)
    assert machine.write("/sys/devices/system/cpu/cpu1/online", "0\n") == 2
    directory = f"/proc/irq/{machine.irq(DISK)}"
    for file, text, returned in [
        (MASK, "2", -EINVAL),
        (MASK, "3", 2),
        (MASK, "6", 2),
        (LIST, "1", -EINVAL),
        (LIST, "0-1", 4),
        (LIST, "1-2", 4),
    ]:
        assert result(machine, f"{directory}/{file}", f"{text}\n") == returned, text
    assert irq_state(machine, DISK) == ("6", "4", "2"), "the mask keeps the offline bit"
    assert result(machine, cpu_file(machine, DISK), "1\n") == -EINVAL
    assert machine.read("/proc/interrupts").splitlines()[0].split() == ["CPU0", "CPU2", "CPU3"]
    assert machine.read("/sys/devices/system/cpu/online") == "0,2-3\n"
    assert machine.read("/sys/devices/system/cpu/offline") == "1\n"
    assert machine.read("/sys/devices/system/cpu/cpu1/online") == "0\n"
    assert result(machine, "/sys/devices/system/cpu/cpu2/online", "0\n") == -EBUSY, "a channel interrupts it"
    assert result(machine, "/sys/devices/system/cpu/cpu1/online", "x\n") == -EINVAL
    assert result(machine, "/sys/devices/system/cpu/cpu1/online", "1\n") == 2
    assert result(machine, f"{directory}/smp_affinity", "2\n") == 2
    assert machine.systems[0].files.list("/sys/devices/system/cpu/cpu0") == [], "CPU 0 cannot be taken offline"


def test_before_the_rfc_an_offline_cpu_is_refused_too(vm: MakeMachine) -> None:
    machine = booted(vm, LEGACY)
    assert machine.write("/sys/devices/system/cpu/cpu1/online", "0\n") == 2
    assert result(machine, cpu_file(machine, DISK), "1\n") == -EINVAL


@pytest.mark.parametrize("policy", [LEGACY, RFC])
def test_the_cpu_file_moves_an_open_channel_and_the_rfc_answers_with_zero(vm: MakeMachine, policy: Policy) -> None:
    """Defect D2: the move is done, but ``echo`` takes 0 for "nothing was written yet"."""
    machine = booted(vm, policy)
    moves(machine)
    for text, vps in [("2\n", [2]), ("2\n", []), ("1,2\n", [1]), ("0x2\n", [0]), ("4294967298", [2]), (" 3", [3])]:
        assert result(machine, cpu_file(machine, DISK), text) == (0 if policy is RFC else len(text)), text
        assert moves(machine) == vps
    assert machine.read(cpu_file(machine, DISK)) == "3\n"
    if policy is RFC:
        assert irq_state(machine, DISK) == ("8", "8", "3"), "smp_affinity becomes the single CPU"


@pytest.mark.parametrize("policy", [LEGACY, RFC])
@pytest.mark.parametrize(
    ("text", "errno"),
    [
        *((text, EINVAL) for text in ("4", "7", "63", "64", "100", "99999", "99999999999")),
        *((text, EIO) for text in ("x", "-1", "")),
    ],
)
def test_what_no_cpu_is(vm: MakeMachine, policy: Policy, text: str, errno: int) -> None:
    machine = booted(vm, policy)
    moves(machine)
    assert result(machine, cpu_file(machine, DISK), f"{text}\n") == -errno
    assert moves(machine) == []


def everything(machine: Machine) -> dict[str, str]:
    """Every file of /proc and /sys that can be read, by its path."""
    tree, texts = machine.systems[0].files, {}
    waiting = ["/proc", "/sys"]
    while waiting:
        path = waiting.pop()
        if stat.S_ISDIR(tree.mode(path)):
            waiting += [f"{path}/{name}" for name in tree.list(path)]
        elif stat.S_ISREG(tree.mode(path)):
            with suppress(OSError):
                texts[path] = machine.read(path)
    return texts


@pytest.mark.parametrize("policy", [LEGACY, RFC])
def test_a_write_that_fails_changes_no_file(vm: MakeMachine, policy: Policy) -> None:
    """I24. What is not visible and does change is the rotor."""
    machine = booted(vm, policy)
    machine.write("/sys/devices/system/cpu/cpu1/online", "0\n")
    writes = [(cpu_file(machine, DISK), text) for text in ("1\n", "4\n", "x\n")]
    writes += [(cpu_file(machine, MOUSE), "2\n"), ("/sys/devices/system/cpu/cpu2/online", "x\n")]
    if policy is RFC:
        directory = f"/proc/irq/{machine.irq(DISK)}"
        writes += [(f"{directory}/{MASK}", text) for text in ("0\n", "2\n", "10\n", "zz\n")]
        writes += [(f"{directory}/{LIST}", text) for text in ("1\n", "4\n", "3-1\n")]
        writes += [(f"{directory}/effective_affinity", "4\n")]
    before = everything(machine)
    assert len(before) > 50
    for path, text in writes:
        assert result(machine, path, text) < 0, (path, text)
        after = everything(machine)
        assert {name for name in before | after if before.get(name) != after.get(name)} == set(), (path, text)


@pytest.mark.parametrize(("policy", "same"), [(LEGACY, -EIO), (RFC, 0)])
def test_a_channel_that_was_never_opened_or_is_closed_again_does_not_move(
    vm: MakeMachine, policy: Policy, same: int
) -> None:
    machine = booted(vm, policy)
    assert machine.write(f"{device(machine, HEARTBEAT)}/driver/unbind", f"{machine.channel(7).device.name}\n") > 0
    for relid in (MOUSE, HEARTBEAT):
        assert result(machine, cpu_file(machine, relid), "2\n") == -EIO
        assert result(machine, cpu_file(machine, relid), "0\n") == same
        assert machine.read(cpu_file(machine, relid)) == "0\n"


def test_before_the_rfc_a_refusal_of_the_host_is_the_writers(vm: MakeMachine) -> None:
    machine = booted(vm, LEGACY)
    machine.host.modify_status = 0xC0000001
    assert result(machine, cpu_file(machine, DISK), "2\n") == -EIO
    assert machine.read(cpu_file(machine, DISK)) == "0\n"
    assert not [line for line in machine.log if "MODIFYCHANNEL" in line]
    machine.host.modify_status = 0
    assert result(machine, cpu_file(machine, DISK), "2\n") == 2, "nothing of the refusal is left"


def test_with_the_rfc_a_refusal_is_only_logged(vm: MakeMachine) -> None:
    """Defect D12: the guest believes that the channel has moved."""
    machine = booted(vm)
    machine.host.modify_status = 0xC0000001
    assert result(machine, cpu_file(machine, DISK), "2\n") == 0
    assert irq_state(machine, DISK) == ("4", "4", "2")
    assert machine.log[-1] == f"hv_vmbus: Error status c0000001 in MODIFYCHANNEL response for relid {DISK}"


def test_before_the_rfc_the_writer_waits_for_the_host_and_lets_others_have_the_channel_mutex(vm: MakeMachine) -> None:
    machine = booted(vm, LEGACY)
    machine.host.silent.add(ModifyChannel)
    returned: list[int] = []

    async def echo() -> None:
        returned.append(await machine.systems[1].files.write(cpu_file(machine, DISK), b"2\n"))

    machine.cores[1].sched.spawn(echo(), "echo")
    machine.settle()
    assert (returned, machine.read(cpu_file(machine, DISK))) == ([], "0\n"), "no time-out, and the old value"
    assert result(machine, cpu_file(machine, HEARTBEAT), "x\n") == -EIO
    machine.host.rescind(MOUSE)
    machine.settle()
    assert "RELID_RELEASED" in machine.host.names()
    machine.host.post(ModifyChannelResponse(DISK, 0))  # type: ignore[arg-type]
    machine.settle()
    assert (returned, machine.read(cpu_file(machine, DISK))) == ([2], "2\n")


def test_before_the_rfc_a_rescind_ends_the_wait(vm: MakeMachine) -> None:
    machine = booted(vm, LEGACY)
    machine.host.silent.add(ModifyChannel)
    returned: list[int] = []

    async def echo() -> None:
        returned.append(await machine.systems[0].files.write(cpu_file(machine, DISK), b"2\n"))

    machine.cores[0].sched.spawn(echo(), "echo")
    machine.settle()
    machine.host.rescind(DISK)
    machine.settle()
    assert returned == [2], "as in Linux, where the answer that never came counts as success"
    assert machine.bus.channels.get(DISK) is None


def test_before_the_rfc_one_of_two_writers_for_a_channel_may_wait_for_ever(vm: MakeMachine) -> None:
    """``vmbus_onmodifychannel_response`` stops at the first request of the channel, which two answers in a row then
    complete twice. Read in the source of 6.12, not observed.
    """
    machine = booted(vm, LEGACY)
    machine.host.silent.add(ModifyChannel)
    returned: list[int] = []

    async def echo(cpu: int) -> None:
        text = f"{cpu}\n".encode()
        returned.append(cpu * await machine.systems[cpu].files.write(cpu_file(machine, DISK), text))

    for cpu in (1, 2):
        machine.cores[cpu].sched.spawn(echo(cpu), "echo")
        machine.settle()
    for _ in range(2):
        machine.host.post(ModifyChannelResponse(DISK, 0))  # type: ignore[arg-type]
    machine.settle()
    assert returned == [2], "CPU 1 has its two bytes, CPU 2 still waits"
    assert machine.read(cpu_file(machine, DISK)) == "1\n", "while the host interrupts CPU 2"


@pytest.mark.parametrize("policy", [LEGACY, RFC])
def test_who_opened_the_file_of_a_channel_that_is_gone_does_not_move_its_successor(
    vm: MakeMachine, policy: Policy
) -> None:
    machine = booted(vm, policy)
    gone = machine.channel(HEARTBEAT)
    machine.host.rescind(HEARTBEAT)
    machine.settle()
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.settle()
    with pytest.raises(OSError) as caught:
        machine.do(target_cpu_store(gone, "2\n"))
    assert caught.value.errno == EIO
    assert machine.read(cpu_file(machine, HEARTBEAT)) == "0\n"


@pytest.mark.parametrize(("policy", "answer"), [(LEGACY, 2), (RFC, 0)])
@pytest.mark.parametrize("version", [Version.V5_2, Version.WIN10_RS3])
def test_from_4_1_to_5_2_moves_work_without_an_answer(
    vm: MakeMachine, policy: Policy, answer: int, version: Version
) -> None:
    machine = booted(vm, policy, versions=(version,))
    moves(machine)
    assert result(machine, cpu_file(machine, DISK), "2\n") == answer
    assert (moves(machine), machine.read(cpu_file(machine, DISK))) == ([2], "2\n")


@pytest.mark.parametrize("policy", [LEGACY, RFC])
def test_at_4_0_nothing_moves(vm: MakeMachine, policy: Policy) -> None:
    machine = booted(vm, policy, versions=(Version.WIN10,))
    for text in ("0", "1", "2", "x"):
        assert result(machine, cpu_file(machine, DISK), f"{text}\n") == -EIO
    if policy is RFC:
        directory = f"/proc/irq/{machine.irq(DISK)}"
        assert [result(machine, f"{directory}/smp_affinity", f"{mask}\n") for mask in "231"] == [-EINVAL, 2, 2]


@pytest.mark.parametrize(("policy", "answer"), [(LEGACY, 2), (RFC, 0)])
def test_a_cpu_isolated_from_managed_irqs_is_no_target(vm: MakeMachine, policy: Policy, answer: int) -> None:
    machine = booted(vm, policy, topology=Topology((0xF,), housekeeping=0b1101))
    assert result(machine, cpu_file(machine, DISK), "1\n") == -EINVAL
    if policy is RFC:
        directory = f"/proc/irq/{machine.irq(DISK)}"
        assert [result(machine, f"{directory}/smp_affinity", f"{mask}\n") for mask in "2f3"] == [-EINVAL, 2, 2]
    assert result(machine, cpu_file(machine, DISK), "2\n") == answer


def test_with_the_connect_cpu_isolated_what_is_bound_to_it_has_no_effective_affinity(vm: MakeMachine) -> None:
    machine = booted(vm, topology=Topology((0xF,), housekeeping=0b1110))
    assert machine.read(cpu_file(machine, DISK)) == "1\n"
    assert irq_state(machine, HEARTBEAT) == ("f", "0", "0")
    assert machine.read(f"/proc/irq/{machine.irq(HEARTBEAT)}/affinity_hint") == "1\n"
    assert result(machine, cpu_file(machine, HEARTBEAT), "0\n") == -EINVAL
    directory = f"/proc/irq/{machine.irq(HEARTBEAT)}"
    assert [result(machine, f"{directory}/smp_affinity", f"{mask}\n") for mask in "12"] == [-EINVAL, 2]
    assert irq_state(machine, HEARTBEAT) == ("2", "2", "1")


def test_a_default_affinity_that_leaves_the_target_out_does_not_keep_a_channel_from_opening(vm: MakeMachine) -> None:
    machine = booted(vm)
    assert machine.write("/proc/irq/default_smp_affinity", "2\n") == 2
    machine.host.rescind(HEARTBEAT)
    machine.settle()
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.settle()
    assert irq_state(machine, HEARTBEAT) == ("1", "1", "0")


def test_with_the_rfc_a_channel_that_was_closed_cannot_be_opened_again(vm: MakeMachine) -> None:
    """Defect D1: the IRQ stays requested, and the log says so as it did."""
    machine = booted(vm)
    name = machine.channel(HEARTBEAT).device.name
    driver = "/sys/bus/vmbus/drivers/hv_recorder"
    assert name in machine.systems[0].files.list(driver)
    assert machine.write(f"{driver}/unbind", f"{name}\n") == len(name) + 1
    assert name not in machine.systems[0].files.list(driver)
    assert machine.read(f"{device(machine, HEARTBEAT)}/state") == "2\n"
    assert machine.row(HEARTBEAT) and f"VMBus   7  {machine.channel(HEARTBEAT).irq_name}" in machine.interrupts()
    assert "heartbeat" in machine.systems[0].files.list(f"/proc/irq/{machine.irq(HEARTBEAT)}")
    for _ in range(2):
        machine.log.clear()
        assert result(machine, f"{driver}/bind", f"{name}\n") == -EBUSY
        irq = machine.irq(HEARTBEAT)
        assert machine.log == [
            f"genirq: Flags mismatch irq {irq}. 00200000 (heartbeat) vs. 00200000 (heartbeat)",
            f"hv_vmbus: request_irq failed with -16 for relid 7 irq {irq}",
            f"hv_vmbus: probe failed for device {name} (-16)",
            f"hv_recorder {name}: probe with driver hv_recorder failed with error -16",
        ]
    directory = f"/proc/irq/{machine.irq(DISK)}"
    assert result(machine, f"{directory}/smp_affinity", "2\n") == 2, "other channels are not concerned"


def test_before_the_rfc_a_driver_can_be_unbound_and_bound_again_and_again(vm: MakeMachine) -> None:
    machine = booted(vm, LEGACY)
    name = machine.channel(HEARTBEAT).device.name
    driver = "/sys/bus/vmbus/drivers/hv_recorder"
    for _ in range(3):
        assert machine.write(f"{driver}/unbind", name) == len(name)
        assert result(machine, f"{driver}/unbind", name) == -ENODEV
        assert machine.write(f"{driver}/bind", name) == len(name)
        assert result(machine, f"{driver}/bind", name) == -EBUSY
    assert machine.read(f"{device(machine, HEARTBEAT)}/state") == "3\n"
    assert result(machine, f"{driver}/bind", "nobody\n") == -ENODEV
    assert result(machine, f"{driver}/bind", machine.channel(MOUSE).device.name) == -ENODEV, "not one of its classes"
    with pytest.raises(OperatorError, match="on CPU 0"):
        machine.write(f"{driver}/bind", name, cpu=1)


def test_any_cpu_can_write(vm: MakeMachine) -> None:
    machine = booted(vm)
    for cpu in range(4):
        target = (cpu + 1) % 4
        assert result(machine, f"/proc/irq/{machine.irq(DISK)}/smp_affinity_list", f"{target}\n", cpu) == 2
        assert irq_state(machine, DISK)[2] == str(target)
