"""Signals towards the guest: gathered, sent in a window, refused by the shadow, never forgotten."""

from __future__ import annotations

import pytest

from host.hypervisor.partition import HypervisorOptions
from host.hypervisor.vp import WINDOW
from protocol.ids import PAGE_SIZE, VpIndex
from protocol.port.envelope import ACKNOWLEDGE, EnvelopeError, ToHost, ToPort, read_to_port, to_host
from protocol.wire.synic import MESSAGE_SINT, Register, SintConfig
from tests.hypervisor.machine import EVENTS, SIGNAL, Machine


@pytest.fixture
def machine() -> Machine:
    return Machine(2)


def raise_one_by_one(machine: Machine, flags: range, vp: int = 0) -> None:
    for flag in flags:
        machine.signal(vp, flag)
        machine.host.flush()


def test_signals_of_one_turn_go_as_one_envelope_and_equal_ones_as_one_signal(machine: Machine) -> None:
    for flag in (7, 9, 7, 7):
        assert machine.signal(0, flag)
    machine.host.flush()
    assert [read_to_port(data)[2] for data in machine.vps[0].to_port] == [[2 << 16 | 7, 2 << 16 | 9]]
    counts = machine.host.processors[0].counts
    assert (counts.signals_raised, counts.signals_coalesced, counts.signals_sent) == (4, 2, 2)
    assert machine.host.processors[0].by_flag == {7: 1, 9: 1}


@pytest.mark.parametrize(
    "off", [(Register.SCONTROL, 0), (Register.SIEFP, 0), (Register.sint(2), SintConfig().encode())], ids=str
)
def test_a_signal_for_a_vp_whose_synic_cannot_take_it_is_lost(machine: Machine, off: tuple[int, int]) -> None:
    machine.vps[0].port.write_register(*off)
    assert not machine.signal(0, 7)
    assert machine.signal(1, 7), "the other VP is not concerned"
    assert machine.host.processors[0].counts.signals_refused == 1


def test_a_signal_for_a_vp_that_is_not_there_is_lost() -> None:
    assert not Machine(1, enabled=False).signal(0, 7)


def test_signals_raised_before_the_synic_goes_off_arrive_before_it_is_off(machine: Machine) -> None:
    machine.signal(0, 7)
    machine.vps[0].port.write_register(Register.SCONTROL, 0)
    assert machine.vps[0].port.counts.signals_new == 1


def test_while_the_window_is_full_signals_gather(machine: Machine) -> None:
    raise_one_by_one(machine, range(1, 30))
    processor = machine.host.processors[0]
    assert len(machine.vps[0].to_port) == len(processor.unacknowledged) == WINDOW
    assert len(processor.signals) == 29 - WINDOW
    machine.settle()
    assert all(machine.vps[0].flag(flag) for flag in range(1, 30))
    assert processor.counts.most_unacknowledged == WINDOW


def test_an_acknowledgement_is_asked_for_when_half_the_window_has_gone(machine: Machine) -> None:
    raise_one_by_one(machine, range(1, 30))
    asked = [bool(read_to_port(data)[1] & ACKNOWLEDGE) for data in machine.vps[0].to_port]
    assert asked == [False, False, False, True] * 2


def test_what_the_guest_says_acknowledges_too_and_saves_the_asking(machine: Machine) -> None:
    vp = machine.vps[0]
    asked = machine.host.processors[0].counts.acknowledgements_asked
    for flag in range(1, 30):
        machine.signal(0, flag)
        machine.host.flush()
        vp.deliver()
        vp.port.cast(SIGNAL, EVENTS)
        vp.deliver_to_host()
    assert machine.host.processors[0].counts.acknowledgements_asked == asked


def test_a_window_that_fills_behind_a_fence_opens_again_though_the_guest_says_nothing(machine: Machine) -> None:
    machine.signal(0, 1)
    machine.host.when_delivered(frozenset({VpIndex(0)}), lambda: None)
    raise_one_by_one(machine, range(2, 2 + WINDOW - 1))
    machine.vps[0].during.append(lambda: machine.signal(0, 20))
    machine.vps[0].port.write_register(Register.sint(9), 0x10000)  # and its answer carries one signal more
    machine.signal(0, 21)
    machine.settle()
    assert machine.vps[0].flag(21)


def test_a_suppressed_signal_is_believed_sent() -> None:
    machine = Machine(1, HypervisorOptions(suppress_signals=frozenset({7})))
    assert machine.signal(0, 7) and machine.signal(0, 8)
    machine.settle()
    assert not machine.vps[0].flag(7) and machine.vps[0].flag(8)


def test_every_envelope_carries_the_pending_signals(machine: Machine) -> None:
    machine.signal(0, 7)
    machine.say(0, b"message")
    machine.signal(0, 8)
    machine.vps[0].post(b"call")
    assert machine.vps[0].flag(7) and machine.vps[0].flag(8)
    assert not machine.host.processors[0].signals


def test_a_port_that_claims_what_it_has_not_received_is_refused(machine: Machine) -> None:
    processor = machine.host.processors[0]
    number = processor.received.last + 1
    with pytest.raises(EnvelopeError, match=f"of {processor.sent}"):
        machine.host.receive(VpIndex(0), to_host(number, processor.sent + 1, ToHost.ACK))


def test_a_port_that_takes_its_delivery_back_is_refused(machine: Machine) -> None:
    processor = machine.host.processors[0]
    with pytest.raises(EnvelopeError):
        machine.host.receive(VpIndex(0), to_host(processor.received.last + 1, processor.delivered - 1, ToHost.ACK))


@pytest.mark.parametrize("sint", [2, 3, 16, 2**40])
def test_a_port_that_takes_a_message_it_never_had_is_refused(machine: Machine, sint: int) -> None:
    processor = machine.host.processors[0]
    with pytest.raises(EnvelopeError, match="never had"):
        machine.host.receive(VpIndex(0), to_host(processor.received.last + 1, processor.delivered, ToHost.TAKEN, sint))


def test_a_port_that_writes_registers_that_are_none_or_pages_beyond_memory_gets_a_status(machine: Machine) -> None:
    vp = machine.vps[0]
    for register, value in ((0x1234, 1), (Register.SVERSION, 1), (Register.SIMP, machine.ram.pages * PAGE_SIZE | 1)):
        vp.port._call(ToHost.REGISTER, register, value)
        assert vp.port._answer, hex(register)
    assert machine.host.processors[0].takes_messages(MESSAGE_SINT)


def test_a_reset_by_one_vp_resets_all_and_no_message_on_its_way_upsets_it(machine: Machine) -> None:
    resets: list[bool] = []
    machine.host.on_reset = lambda: resets.append(True)
    for text in (b"in the slot", b"waits at the port", b"queued"):
        machine.say(1, text)
        machine.settle()
    machine.say(0, b"on its way")
    machine.vps[0].port.reset()
    machine.settle()
    assert resets == [True]
    assert not machine.signal(0, 7) and not machine.signal(1, 7)
    for number, vp in enumerate(machine.vps):
        assert vp.port.read_register(Register.SCONTROL) == 0
        vp.enable()
        machine.say(number, b"afresh")
        machine.settle()
        assert vp.take_message() == b"afresh" and vp.take_message() is None
    counts = machine.host.processors[1].counts
    assert counts.messages_posted == counts.messages_sent + counts.messages_forgotten


def test_a_register_write_that_crosses_a_reset_is_the_same_on_both_sides(machine: Machine) -> None:
    other = machine.vps[1].port
    machine.vps[1].during.append(machine.vps[0].port.reset)
    other.write_register(Register.SIEFP, other.read_register(Register.SIEFP))
    shadow = machine.host.processors[1].registers
    assert {register: other.read_register(register) for register in shadow} == shadow
    assert shadow[Register.SCONTROL] == 0 and shadow[Register.SIEFP] != 0


def test_a_crash_is_told_with_its_text(machine: Machine) -> None:
    told: list[tuple[int, str]] = []
    machine.host.on_crash = lambda vp, text: told.append((vp, text))
    machine.vps[1].port.crash("Kernel panic")
    machine.settle()
    assert told == [(1, "Kernel panic")]


def test_the_journal_has_every_signal_whatever_it_rode_on(machine: Machine) -> None:
    machine.journal.clear()
    machine.signal(0, 7)
    machine.say(0, b"message")
    machine.signal(0, 8)
    machine.host.flush()
    assert [record for record in machine.journal if record[0] == "signals"] == [
        ("signals", 0, [2 << 16 | 7]),
        ("signals", 0, [2 << 16 | 8]),
    ]
    assert ToPort.MESSAGE in machine.on_the_way(0)
