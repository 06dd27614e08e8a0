"""Message queues, and the promise of a message: no more interrupts at that VP, once every earlier one has arrived."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.hypervisor.partition import HypervisorOptions
from host.hypervisor.vp import WINDOW
from protocol.errors import PeerError
from protocol.ids import Sint, VpIndex
from protocol.port.envelope import ToPort
from protocol.wire.synic import MESSAGE_SINT, Register, SintConfig
from tests.hypervisor.machine import EVENTS, SIGNAL, Machine


@pytest.fixture
def machine() -> Machine:
    return Machine(3)


def everything_said(machine: Machine, vp: int) -> list[bytes]:
    """The guest takes messages until there are none."""
    said: list[bytes] = []
    machine.settle()
    while (message := machine.vps[vp].take_message()) is not None:
        said.append(message)
        machine.settle()
    return said


def test_messages_are_first_in_first_out_and_one_at_a_time(machine: Machine) -> None:
    texts = [b"%d" % number for number in range(20)]
    for text in texts:
        machine.say(0, text)
    assert machine.on_the_way(0) == [ToPort.MESSAGE]
    machine.settle()
    assert not machine.on_the_way(0), "one in the slot, one waiting at the port"
    assert machine.host.processors[0].counts.messages_sent == 2
    assert everything_said(machine, 0) == texts


def test_queues_of_other_vps_and_sints_do_not_wait(machine: Machine) -> None:
    machine.vps[0].port.write_register(Register.sint(5), SintConfig(0x50, masked=False).encode())
    for number in range(5):
        machine.say(0, b"%d" % number)
    machine.say(0, b"other SINT", sint=Sint(5))
    machine.say(1, b"other VP")
    machine.settle()
    slot = machine.vps[0].port.message_slot(Sint(5))
    assert slot is not None and bytes(slot[16:26]) == b"other SINT"
    assert machine.vps[1].take_message() == b"other VP"


def test_a_flushed_queue_forgets_what_has_not_been_sent(machine: Machine) -> None:
    for text in (b"slot", b"waits", b"forgotten"):
        machine.say(0, text)
        machine.settle()
    machine.host.flush_queue(VpIndex(0), MESSAGE_SINT)
    machine.say(0, b"after")
    assert everything_said(machine, 0) == [b"slot", b"waits", b"after"]
    counts = machine.host.processors[0].counts
    assert counts.messages_posted == counts.messages_sent + counts.messages_forgotten == 4


def test_a_flushed_queue_forgets_what_it_withheld(machine: Machine) -> None:
    machine.signal(1, 7)
    machine.say(0, b"promise", after=(1,))
    machine.host.flush_queue(VpIndex(0), MESSAGE_SINT)
    assert everything_said(machine, 0) == []


def test_a_message_for_a_vp_whose_synic_is_off_is_complained_about_and_dropped(machine: Machine) -> None:
    machine.vps[0].port.write_register(Register.SIMP, 0)
    machine.say(0, b"lost")
    assert machine.complaints == ["VP 0 cannot take a message: its SynIC is off"]
    assert machine.host.processors[0].counts.messages_refused == 1


def test_a_sint_that_a_guest_invents_is_the_guests_fault(machine: Machine) -> None:
    with pytest.raises(PeerError, match="SINT 200"):
        machine.say(0, b"refusal", sint=Sint(200))


def test_a_promise_waits_until_the_signal_is_visible_at_the_other_vp(machine: Machine) -> None:
    machine.signal(1, 7)
    machine.say(0, b"promise", after=(1,))
    assert machine.on_the_way(1) == [ToPort.FENCE], "the signal is pushed out at once"
    assert machine.on_the_way(0) == []
    machine.vps[1].deliver()
    assert machine.vps[1].flag(7) and machine.on_the_way(0) == []
    machine.vps[1].deliver_to_host()
    assert machine.on_the_way(0) == [ToPort.MESSAGE]


def test_a_signal_already_sent_is_fenced_as_well(machine: Machine) -> None:
    machine.signal(1, 7)
    machine.host.flush()
    machine.say(0, b"promise", after=(1,))
    assert machine.on_the_way(1) == [ToPort.SIGNALS, ToPort.FENCE]
    machine.vps[1].deliver()
    assert not machine.vps[1].to_host, "nothing was asked yet"
    machine.vps[1].deliver()
    machine.vps[1].deliver_to_host()
    assert machine.on_the_way(0) == [ToPort.MESSAGE]


def test_one_fence_serves_all_who_wait_for_the_same_signals(machine: Machine) -> None:
    machine.signal(2, 7)
    machine.say(0, b"promise", after=(2,))
    machine.say(1, b"promise", after=(2,))
    assert machine.on_the_way(2) == [ToPort.FENCE]


def test_the_answer_to_anything_else_releases_a_promise_too(machine: Machine) -> None:
    machine.signal(1, 7)
    machine.host.flush()
    machine.vps[1].deliver()
    machine.vps[1].port.cast(SIGNAL, EVENTS)
    machine.vps[1].deliver_to_host()
    machine.say(0, b"promise", after=(1,))
    assert machine.on_the_way(0) == [ToPort.MESSAGE] and machine.on_the_way(1) == []


def test_a_promise_about_its_own_vp_is_never_withheld(machine: Machine) -> None:
    machine.signal(0, 7)
    machine.say(0, b"promise", after=(0,))
    assert machine.on_the_way(0) == [ToPort.MESSAGE]
    machine.vps[0].deliver()
    assert machine.vps[0].flag(7) and machine.vps[0].take_message() == b"promise"


def test_what_is_queued_behind_a_promise_does_not_overtake_it(machine: Machine) -> None:
    machine.signal(1, 7)
    machine.say(0, b"promise", after=(1,))
    machine.say(0, b"behind")
    machine.say(2, b"elsewhere")
    assert machine.on_the_way(0) == [] and machine.on_the_way(2) == [ToPort.MESSAGE]
    assert everything_said(machine, 0) == [b"promise", b"behind"]


def test_many_promises_about_a_slow_vp_keep_to_the_window_and_are_kept(machine: Machine) -> None:
    """As when the host takes back all devices at once while their interrupts go to a VP that does not run."""
    flags = range(1, 10 * WINDOW)
    for flag in flags:
        machine.signal(1, flag)
        machine.say(0, bytes([flag]), after=(1,))
    assert machine.on_the_way(1) == [ToPort.FENCE] * WINDOW
    kept: list[int] = []
    while len(kept) < len(flags):
        if machine.vps[1].to_port:
            machine.vps[1].deliver()
            machine.vps[1].deliver_to_host()
            machine.host.flush()
        elif not machine.vps[0].to_port:
            break
        while machine.vps[0].to_port:
            machine.vps[0].deliver()
            if (message := machine.vps[0].take_message()) is not None:
                assert machine.vps[1].flag(message[0])
                kept.append(message[0])
            while machine.vps[0].to_host:
                machine.vps[0].deliver_to_host()
    assert kept == list(flags)
    assert machine.host.processors[1].counts.most_unacknowledged == WINDOW


def test_what_waited_for_a_full_window_asks_for_its_acknowledgement_as_soon_as_it_goes(machine: Machine) -> None:
    for flag in range(1, WINDOW + 1):
        machine.signal(1, flag)
        machine.host.flush()
    machine.signal(1, 99)
    machine.say(0, b"promise", after=(1,))
    assert machine.on_the_way(1) == [ToPort.SIGNALS] * WINDOW, "the promise waits for the window"
    machine.settle()
    assert machine.vps[1].flag(99) and machine.vps[0].take_message() == b"promise"


def test_a_promise_about_several_vps_waits_for_all(machine: Machine) -> None:
    machine.signal(1, 7)
    machine.signal(2, 8)
    machine.say(0, b"promise", after=(0, 1, 2))
    for vp in (1, 2):
        assert machine.on_the_way(0) == []
        machine.vps[vp].deliver()
        machine.vps[vp].deliver_to_host()
    assert machine.on_the_way(0) == [ToPort.MESSAGE]


def test_signals_raised_after_the_promise_do_not_hold_it_up(machine: Machine) -> None:
    machine.signal(1, 7)
    machine.say(0, b"promise", after=(1,))
    machine.signal(1, 8)
    machine.host.flush()
    machine.vps[1].deliver()
    machine.vps[1].deliver_to_host()
    assert machine.on_the_way(0) == [ToPort.MESSAGE]


def test_a_vp_that_is_in_a_call_delivers_so_its_promise_does_not_wait_for_the_answer(machine: Machine) -> None:
    caller = machine.vps[1]

    def during_the_call() -> None:
        machine.signal(1, 7)
        machine.say(0, b"promise", after=(1,))
        call = caller.to_host.popleft()  # the host is slow to hear of it
        caller.deliver()
        caller.to_host.appendleft(call)
        caller.deliver_to_host()
        caller.deliver_to_host()
        assert machine.on_the_way(0) == [ToPort.MESSAGE]

    caller.during.append(during_the_call)
    caller.post(b"call")
    assert not caller.during


def test_when_delivered_tells_at_once_if_there_is_nothing_to_wait_for(machine: Machine) -> None:
    told: list[str] = []
    machine.host.when_delivered(machine.host.vps, lambda: told.append("before"))
    machine.signal(1, 7)
    machine.host.when_delivered(machine.host.vps, lambda: told.append("after"))
    assert told == ["before"]
    machine.settle()
    assert told == ["before", "after"] and machine.vps[1].flag(7)


def promises_broken(random: Random, delivery_fences: bool) -> int:
    """A random order of everything that may happen; how many promises came before the signal that they are about.

    Each signal has its own flag and no guest clears it. A promise names a VP and a flag that was raised there.
    """
    vps = 3
    machine = Machine(vps, HypervisorOptions(delivery_fences=delivery_fences))
    raised: list[tuple[int, int]] = []
    broken = 0

    def look(vp: int) -> None:
        nonlocal broken
        while (message := machine.vps[vp].take_message()) is not None:
            where, flag = message[0], int.from_bytes(message[1:3], "little")
            broken += not machine.vps[where].flag(flag)

    for _ in range(120):
        vp = random.randrange(vps)
        match random.randrange(8):
            case 0 | 1 if len(raised) < 2000:
                raised.append((vp, len(raised) + 1))
                assert machine.signal(*raised[-1])
            case 2 if raised:
                where, flag = raised[-1 - random.randrange(min(4, len(raised)))]
                machine.say(vp, bytes([where]) + flag.to_bytes(2, "little"), after=(where,))
            case 3:
                machine.host.flush()
            case 4 | 5 if machine.vps[vp].to_port:
                machine.vps[vp].deliver()
                look(vp)
            case 6 if machine.vps[vp].to_host:
                machine.vps[vp].deliver_to_host()
            case 7 if random.randrange(4) == 0:
                machine.vps[vp].doorbell()
                look(vp)
    for _ in range(200):
        machine.settle()
        for vp in range(vps):
            look(vp)
    assert all(machine.vps[vp].flag(flag) for vp, flag in raised), "a signal is lost or stuck"
    for processor in machine.host.processors:
        counts = processor.counts
        assert not any(processor.queues), "a message is stuck"
        assert counts.signals_raised == counts.signals_sent + counts.signals_coalesced
        assert counts.most_unacknowledged <= WINDOW + 2, "beyond the window only a message and an answer"
    return broken


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_no_promise_ever_comes_before_an_earlier_signal_is_visible(random: Random) -> None:
    assert promises_broken(random, delivery_fences=True) == 0


def test_without_delivery_fences_promises_are_broken() -> None:
    assert sum(promises_broken(Random(seed), delivery_fences=False) for seed in range(40)) > 0
