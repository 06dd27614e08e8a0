"""Event flags and interrupts: new, merged or refused; acknowledged before any handler runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.port.envelope import IPI, EnvelopeLost, ToHost, ToPort
from protocol.wire.synic import HYPERVISOR_CALLBACK_VECTOR, Register, SintConfig
from tests.port.by_hand import ENABLED, SINT2, HostByHand

CALLBACK = 1 << HYPERVISOR_CALLBACK_VECTOR


@pytest.fixture
def host() -> HostByHand:
    return HostByHand().enable()


def test_a_flag_that_was_clear_raises_the_vector(host: HostByHand) -> None:
    host.signal(7, 2047)
    assert host.flags() == {7, 2047}
    assert host.port.pending == CALLBACK
    assert (host.port.counts.signals, host.port.counts.signals_new) == (2, 2)
    assert (host.port.counts.vectors_raised, host.port.counts.vectors_merged) == (2, 1)


def test_a_flag_that_is_still_set_raises_nothing(host: HostByHand) -> None:
    host.signal(7)
    host.port.take_vector()
    host.signal(7)
    host.signal(7)
    assert not host.port.pending
    assert host.port.counts.signals_merged == 2 and host.port.merged == {7: 2}


def test_a_flag_next_to_a_set_one_is_new(host: HostByHand) -> None:
    host.signal(7)
    host.port.take_vector()
    host.signal(8)
    assert host.port.pending == CALLBACK


@pytest.mark.parametrize("off", [(Register.SCONTROL, 0), (Register.SIEFP, 0), (SINT2, SintConfig().encode())])
def test_a_signal_is_refused_while_anything_it_needs_is_off(host: HostByHand, off: tuple[int, int]) -> None:
    host.port.write_register(*off)
    host.signal(7)
    assert host.port.counts.signals_refused == 1 and not host.port.pending


def test_a_polled_sint_sets_its_flag_and_raises_no_interrupt(host: HostByHand) -> None:
    host.port.write_register(SINT2, ENABLED | SintConfig(polling=True, masked=False).encode())
    host.signal(7)
    host.message(b"look for me")
    assert host.flags() == {7} and host.slot().payload == b"look for me"
    assert not host.port.pending


def test_interrupts_of_other_vps_are_merged_while_they_are_pending(host: HostByHand) -> None:
    host.say(ToPort.SIGNALS, signals=(IPI | 0xFB, IPI | 0xFD, IPI | 0xFB))
    assert (host.port.counts.ipis, host.port.counts.ipis_merged) == (3, 1)
    assert host.port.take_vector() == 0xFD, "the highest first"
    assert host.port.take_vector() == 0xFB
    assert not host.port.pending


def test_signals_ride_on_every_kind_of_envelope_and_are_set_before_it_takes_effect(host: HostByHand) -> None:
    host.say(ToPort.FENCE, signals=(2 << 16 | 1,))
    host.say(ToPort.RESET, signals=(2 << 16 | 2,))
    assert host.port.counts.signals_new == 2


def test_every_envelope_says_how_far_the_port_has_delivered(host: HostByHand) -> None:
    host.signal(1)
    host.signal(2)
    host.port.cast(0, 0)
    assert host.heard[-1].delivered == host.said == host.port.received


def test_nothing_is_acknowledged_that_is_not_asked_for(host: HostByHand) -> None:
    host.signal(1)
    assert not host.heard


def test_an_acknowledgement_leaves_when_the_bits_are_set_and_no_handler_has_run(host: HostByHand) -> None:
    host.signal(1, acknowledge=True)
    assert host.kinds() == [ToHost.ACK] and host.heard[0].delivered == host.said
    assert host.flags() == {1} and host.port.pending == CALLBACK


def test_a_fence_is_acknowledged_in_the_middle_of_a_call_and_interrupts_are_taken_when_it_returns(
    host: HostByHand,
) -> None:
    seen: list[int] = []
    host.during = lambda: host.say(ToPort.FENCE, signals=(2 << 16 | 9,), acknowledge=True)
    host.port.after_call = lambda: seen.append(host.port.pending)
    assert host.port.hypercall(0x5C, 0) == 0
    assert host.kinds() == [ToHost.HYPERCALL, ToHost.ACK]
    assert seen == [CALLBACK]


def test_an_envelope_that_the_transport_lost_is_noticed(host: HostByHand) -> None:
    host.said += 1
    with pytest.raises(EnvelopeLost):
        host.signal(1)


def test_a_send_that_fails_may_be_tried_again_under_the_same_number(host: HostByHand) -> None:
    send, host.port._wire.send = host.port._wire.send, lambda data: 1 / 0  # type: ignore[method-assign,assignment]
    with pytest.raises(ZeroDivisionError):
        host.port.cast(0, 0)
    host.port._wire.send = send  # type: ignore[method-assign]
    host.port.cast(0, 0)  # HostByHand checks the numbers
    assert host.kinds() == [ToHost.CAST]


@given(st.lists(st.tuples(st.sampled_from(["signal", "ipi", "take", "scan", "mask", "unmask"]), st.integers(0, 5))))
def test_every_signal_is_new_merged_or_refused_and_every_vector_taken_merged_or_pending(
    steps: list[tuple[str, int]],
) -> None:
    host = HostByHand().enable()
    port, counts = host.port, host.port.counts
    for what, which in steps:
        match what:
            case "signal":
                host.signal(which)
            case "ipi":
                host.say(ToPort.SIGNALS, signals=(IPI | 0xF0 + which,))
            case "take" if port.pending:
                port.take_vector()
            case "scan" if (words := port.flag_words(2)) is not None:  # type: ignore[arg-type]
                words[0] = 0
            case "mask":
                port.write_register(SINT2, SintConfig().encode())
            case "unmask":
                port.write_register(SINT2, ENABLED)
    assert counts.signals == counts.signals_new + counts.signals_merged + counts.signals_refused
    assert counts.signals_merged == sum(port.merged.values())
    assert counts.vectors_raised == counts.vectors_merged + counts.vectors_taken + port.pending.bit_count()
    assert counts.envelopes == host.said
