"""Drivers from outside the tree make mistakes; the guest names the line and runs on. This file is such a module."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from guest.driver_api import CallbackMode, Cpu, HvDriver, PeerError, Struct, VmbusChannel, VmbusDevice, Word
from guest.irq.affinity import irq_set_affinity
from guest.kernel.oops import OopsEntry, Severity, said
from guest.vmbus.policy import Policy
from protocol.errors import OperatorError
from protocol.ids import Irq
from protocol.wire.guids import HV_HEART_BEAT_GUID, HV_NIC_GUID
from protocol.wire.messages import CloseChannel
from tests.guest_vmbus.conftest import HEARTBEAT, RING, Machine, MakeMachine, Recorder

POLICIES = pytest.mark.parametrize("policy", list(Policy), ids=lambda policy: policy.value)
NIC = 9


class Words(Struct):
    seen = Word("channel callback")


class Healthy(HvDriver):
    """What the drivers below do right."""

    name = "outsider"
    id_table = (HV_HEART_BEAT_GUID, HV_NIC_GUID)
    mode = CallbackMode.DIRECT

    async def probe(self, device: VmbusDevice) -> None:
        device.channel.set_sc_creation_callback()
        device.channel.set_read_mode(self.mode)
        await device.channel.open(RING, RING)

    async def remove(self, device: VmbusDevice) -> None:
        await device.channel.close()

    def onchannel_callback(self, channel: VmbusChannel) -> None:
        words = channel.state(Words)
        words.seen += channel.receive(lambda packet: None)


def booted(vm: MakeMachine, policy: Policy, driver: type[HvDriver]) -> Machine:
    machine = vm(2, policy, driver=driver, modules=frozenset({__name__}))
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.host.offer(NIC, HV_NIC_GUID)
    machine.boot()
    return machine


def mistakes(machine: Machine) -> list[tuple[Severity, str]]:
    """What the guest says of its modules, without the directory of this file."""
    directory = __file__.rpartition("/")[0] + "/"
    log = machine.cores[0].memory.find(OopsEntry)
    return [(severity, text.replace(directory, "")) for severity, text in said(log)]


def line_of(function: Callable[..., object], text: str) -> str:
    """``file:line`` at which ``text`` stands in ``function``."""
    lines, first = inspect.getsourcelines(function)
    return f"test_modules.py:{first + next(n for n, line in enumerate(lines) if text in line)}"


class DividesByZero(Healthy):
    def onchannel_callback(self, channel: VmbusChannel) -> None:
        if channel.relid == HEARTBEAT:
            print(1 // channel.state(Words).seen)
        super().onchannel_callback(channel)


class DividesByZeroInTheInterrupt(DividesByZero):
    mode = CallbackMode.ISR


@POLICIES
@pytest.mark.parametrize("driver", [DividesByZero, DividesByZeroInTheInterrupt])
def test_a_callback_that_fails_costs_its_channel_and_no_other(
    vm: MakeMachine, policy: Policy, driver: type[HvDriver]
) -> None:
    machine = booted(vm, policy, driver)
    machine.host.send(HEARTBEAT, b"one")
    machine.settle()
    where = line_of(DividesByZero.onchannel_callback, "1 //")
    error = "ZeroDivisionError: integer division or modulo by zero (in onchannel_callback of channel 7) on CPU 0"
    assert mistakes(machine) == [(Severity.OOPS, f"{where} {error}")]
    assert f"hv_vmbus: channel {HEARTBEAT} is stopped: its driver outsider is dead" in machine.log
    machine.host.signal(HEARTBEAT)
    machine.host.send(NIC, b"two")
    machine.settle()
    assert len(mistakes(machine)) == 1, "nobody calls a dead driver"
    assert machine.channel(NIC).state(Words).seen == 1
    machine.host.rescind(HEARTBEAT)
    machine.settle()
    assert machine.systems[0].bus.channels.get(HEARTBEAT) is None


class FailsWhileProbing(Healthy):
    async def probe(self, device: VmbusDevice) -> None:
        await super().probe(device)
        raise KeyError("no such thing")


def test_a_probe_that_fails_leaves_no_open_channel(vm: MakeMachine) -> None:
    machine = booted(vm, Policy.RFC, FailsWhileProbing)
    where = line_of(FailsWhileProbing.probe, "raise")
    assert mistakes(machine) == [(Severity.OOPS, f"{where} KeyError: 'no such thing' (in probe) on CPU 0, 2 times")]
    assert [type(message) for message in machine.host.seen].count(CloseChannel) == 2
    assert machine.channel(HEARTBEAT).driver is None
    assert any("probe with driver outsider failed with error -14" in line for line in machine.log)


class Declines(Healthy):
    async def probe(self, device: VmbusDevice) -> None:
        await device.channel.open(100, 100)


def test_a_probe_that_gets_an_errno_is_warned_about_with_the_line_that_got_it(vm: MakeMachine) -> None:
    machine = booted(vm, Policy.RFC, Declines)
    ((severity, text),) = mistakes(machine)
    assert severity is Severity.WARNING
    assert text.startswith(f"{line_of(Declines.probe, 'open')} VmbusError: [Errno 22] rings of 100 and 100 bytes")


class FailsWhileRemoving(Healthy):
    async def remove(self, device: VmbusDevice) -> None:
        raise RuntimeError("no")


@POLICIES
def test_a_remove_that_fails_does_not_keep_the_channel(vm: MakeMachine, policy: Policy) -> None:
    machine = booted(vm, policy, FailsWhileRemoving)
    before = machine.cores[0].pages.free_pages()
    machine.host.rescind(HEARTBEAT)
    machine.settle()
    assert [severity for severity, _ in mistakes(machine)] == [Severity.OOPS]
    assert machine.host.names()[-2:] == ["CLOSECHANNEL", "RELID_RELEASED"]
    assert machine.cores[0].pages.free_pages() == before + 4


class FailsOnSubChannels(Healthy):
    async def sc_creation_callback(self, channel: VmbusChannel) -> None:
        raise RuntimeError("what is a sub-channel?")


def test_a_sub_channel_whose_driver_fails_is_left_alone(vm: MakeMachine) -> None:
    machine = booted(vm, Policy.RFC, FailsOnSubChannels)
    machine.host.offer(20, HV_NIC_GUID, sub=1, instance=NIC)
    machine.settle()
    assert [severity for severity, _ in mistakes(machine)] == [Severity.OOPS]
    machine.host.rescind(20)
    machine.settle()
    assert machine.systems[0].bus.channels.get(20) is None


class StaysPut(Healthy):
    def change_target_cpu(self, channel: VmbusChannel, old: Cpu, new: Cpu) -> None:
        raise RuntimeError("I like it here")


def test_a_channel_moves_whatever_its_driver_says(vm: MakeMachine) -> None:
    machine = booted(vm, Policy.RFC, StaysPut)
    irq_set_affinity(machine.systems[0].irq, Irq(machine.irq(HEARTBEAT)), 0b10)
    assert [text.split(" ", 1)[1] for _, text in mistakes(machine)] == [
        "RuntimeError: I like it here (in change_target_cpu) on CPU 0"
    ]
    assert machine.channel(HEARTBEAT).target_cpu == 1


class FailsLater(Healthy):
    async def probe(self, device: VmbusDevice) -> None:
        await super().probe(device)
        if device.channel.relid == HEARTBEAT:
            self.core.call_later(0.1, self._timer)
            self.core.sched.spawn(self._task(), "outsider")

    def _timer(self) -> None:
        raise RuntimeError("timer")

    async def _task(self) -> None:
        await self.core.sleep(0.2)
        raise RuntimeError("task")


def test_a_timer_and_a_task_that_fail_are_named(vm: MakeMachine) -> None:
    machine = booted(vm, Policy.RFC, FailsLater)
    assert [text for _, text in mistakes(machine)] == [
        f"{line_of(FailsLater._timer, 'raise')} RuntimeError: timer (in a timer) on CPU 0",
        f"{line_of(FailsLater._task, 'raise')} RuntimeError: task (in task outsider) on CPU 0",
    ]


class Remembers(Healthy):
    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.packets = 0

    def onchannel_callback(self, channel: VmbusChannel) -> None:
        self.packets += 1
        super().onchannel_callback(channel)


def test_state_that_no_other_cpu_would_see_is_warned_about_and_costs_nothing(vm: MakeMachine) -> None:
    machine = booted(vm, Policy.RFC, Remembers)
    for _ in range(2):
        machine.host.send(HEARTBEAT, b"one")
        machine.settle()
    ((severity, text),) = mistakes(machine)
    where = line_of(Remembers.onchannel_callback, "+= 1")
    assert (severity, text[: len(where)]) == (Severity.WARNING, where)
    assert "Remembers.packets is set outside __init__: no other CPU sees it" in text
    assert text.endswith("on CPU 0, 2 times")
    assert machine.channel(HEARTBEAT).state(Words).seen == 2


class KeepsStateInAStruct(Healthy):
    def onchannel_callback(self, channel: VmbusChannel) -> None:
        channel.state(Words).sene = 1  # type: ignore[attr-defined]


class SendsTooMuch(Healthy):
    def onchannel_callback(self, channel: VmbusChannel) -> None:
        channel.send_packet(bytes(RING))


class WritesPastItsPages(Healthy):
    def onchannel_callback(self, channel: VmbusChannel) -> None:
        pages = self.core.pages.allocate(2)
        buffer = self.core.buffer(pages, 2)
        buffer[len(buffer)] = 1


class UsesPagesThatItHasFreed(Healthy):
    def onchannel_callback(self, channel: VmbusChannel) -> None:
        pages = self.core.pages.allocate(2)
        self.core.pages.free(pages, 2)
        self.core.buffer(pages, 2)


class FreesTwice(Healthy):
    def onchannel_callback(self, channel: VmbusChannel) -> None:
        pages = self.core.pages.allocate(2)
        self.core.pages.free(pages, 2)
        self.core.pages.free(pages, 2)


@pytest.mark.parametrize(
    ("driver", "error"),
    [
        (KeepsStateInAStruct, "AttributeError: 'Words' object has no attribute 'sene'"),
        (SendsTooMuch, "OperatorError: 8216 bytes never fit into a ring of 4096"),
        (WritesPastItsPages, "IndexError: index out of bounds"),
        (UsesPagesThatItHasFreed, "ValueError: frames"),
        (FreesTwice, "AssertionError: double free of frame"),
    ],
)
def test_what_reaches_beyond_what_the_driver_owns_is_caught(
    vm: MakeMachine, driver: type[HvDriver], error: str
) -> None:
    machine = booted(vm, Policy.RFC, driver)
    machine.host.send(HEARTBEAT, b"one")
    machine.settle()
    ((severity, text),) = mistakes(machine)
    assert severity is Severity.OOPS
    assert text.split(" ", 1)[1].startswith(error)


def test_what_the_log_cannot_hold_is_counted_in_its_last_line(vm: MakeMachine) -> None:
    machine = booted(vm, Policy.RFC, Healthy)
    oops = machine.cores[1].oops
    for number in range(70):
        try:
            raise RuntimeError(f"number {number}" + "x" * 300)
        except RuntimeError as error:
            assert oops.contain(error, "a test")
    last = mistakes(machine)[-1][1]
    assert last.endswith("on CPU 1, 7 times") and "number 63x" in last


class OursIsBroken(Recorder):
    """A driver of the tree: not in a module from outside as far as the guest is told."""

    def onchannel_callback(self, channel: VmbusChannel) -> None:
        raise ZeroDivisionError


def test_a_mistake_of_the_tree_still_ends_the_vm(vm: MakeMachine) -> None:
    machine = vm(2, Policy.RFC, driver=OursIsBroken)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.boot()
    with pytest.raises(ZeroDivisionError):
        machine.host.send(HEARTBEAT, b"one")
        machine.settle()


class MisreadsTheHost(Healthy):
    async def probe(self, device: VmbusDevice) -> None:
        raise PeerError("that is no answer")


def test_what_the_host_did_wrong_is_a_warning(vm: MakeMachine) -> None:
    machine = booted(vm, Policy.RFC, MisreadsTheHost)
    ((severity, text),) = mistakes(machine)
    assert severity is Severity.WARNING and "PeerError: that is no answer (in probe)" in text


class CannotBeMade(Healthy):
    def __init__(self, *arguments: object) -> None:
        raise ZeroDivisionError("why not")


def test_a_driver_that_cannot_be_constructed_is_the_authors_mistake(vm: MakeMachine) -> None:
    with pytest.raises(OperatorError, match=r"test_modules.py:\d+ ZeroDivisionError: why not"):
        vm(2, Policy.RFC, driver=CannotBeMade, modules=frozenset({__name__}))
