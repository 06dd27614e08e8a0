"""The SynIC's registers as a guest writes them."""

from __future__ import annotations

import pytest

from protocol.ids import PAGE_SIZE
from protocol.port.envelope import EnvelopeError, ToHost, ToPort
from protocol.port.synic import RegisterFault
from protocol.wire.synic import MESSAGE_SINT, Register, SintConfig, SynicPage
from tests.port.by_hand import ENABLED, SIEFP, SINT2, HostByHand


def test_after_reset_registers_are_what_the_tlfs_says() -> None:
    port = HostByHand().port
    assert port.read_register(Register.SCONTROL) == 0
    assert port.read_register(Register.SVERSION) == 1
    assert port.read_register(Register.SIEFP) == port.read_register(Register.SIMP) == 0
    assert port.read_register(Register.EOM) == 0
    assert [port.read_register(Register.SINT0 + n) for n in range(16)] == [0x10000] * 16


def test_a_register_that_is_none_faults() -> None:
    port = HostByHand().port
    with pytest.raises(RegisterFault):
        port.read_register(0x40000000)
    for register in (0x40000000, Register.SVERSION):
        with pytest.raises(RegisterFault):
            port.write_register(register, 1)


def test_an_unmasked_vector_below_16_faults_and_a_masked_one_does_not() -> None:
    host = HostByHand()
    with pytest.raises(RegisterFault, match="vector 15 is below 16"):
        host.port.write_register(SINT2, SintConfig(15, masked=False).encode())
    assert not host.heard, "the host is not asked"
    host.port.write_register(SINT2, SintConfig(0, masked=True).encode())


def test_what_the_hypervisor_refuses_faults_and_changes_nothing() -> None:
    host = HostByHand()
    host.status = 5
    with pytest.raises(RegisterFault, match="refuses"):
        host.port.write_register(Register.SIEFP, SynicPage(True, 10**6).encode())  # type: ignore[arg-type]
    assert host.port.read_register(Register.SIEFP) == 0


def test_a_page_is_zeroed_when_it_is_enabled() -> None:
    host = HostByHand()
    host.ram.page(SIEFP)[:] = b"\xff" * PAGE_SIZE
    host.enable()
    assert bytes(host.ram.page(SIEFP)) == bytes(PAGE_SIZE)


def test_pages_are_there_only_while_the_synic_and_they_themselves_are_on() -> None:
    host = HostByHand()
    port = host.port
    assert port.flag_words(MESSAGE_SINT) is None and port.message_slot(MESSAGE_SINT) is None
    host.enable()
    assert port.flag_words(MESSAGE_SINT) is not None and port.message_slot(MESSAGE_SINT) is not None
    port.write_register(Register.SIEFP, 0)
    assert port.flag_words(MESSAGE_SINT) is None and port.message_slot(MESSAGE_SINT) is not None
    port.write_register(Register.SCONTROL, 0)
    assert port.message_slot(MESSAGE_SINT) is None


def test_a_signal_right_behind_the_answer_finds_the_register_written() -> None:
    host = HostByHand().enable()
    host.port.write_register(SINT2, SintConfig().encode())
    host.behind = lambda: host.signal(7)
    host.port.write_register(SINT2, ENABLED)
    assert host.flags() == {7}


def test_a_signal_on_the_answer_still_finds_the_register_as_it_was() -> None:
    host = HostByHand().enable()
    host.during = lambda: host.signal(7)
    host.port.write_register(SINT2, SintConfig().encode())
    assert host.port.counts.signals_new == 1
    host.signal(8)
    assert host.port.counts.signals_refused == 1


def test_reset_takes_registers_and_the_waiting_message_and_says_so_to_the_host() -> None:
    host = HostByHand().enable()
    host.message(b"in the slot")
    host.message(b"waits")
    host.heard.clear()
    host.port.reset()
    assert host.kinds() == [ToHost.RESET, ToHost.TAKEN]
    assert host.port.read_register(Register.SCONTROL) == 0
    assert host.port.counts.messages_refused == 1
    host.heard.clear()
    host.enable()
    host.message(b"new")
    assert host.slot().payload == b"new"
    assert host.kinds() == [ToHost.TAKEN]


def test_a_reset_by_another_vp_does_the_same() -> None:
    host = HostByHand().enable()
    host.say(ToPort.RESET)
    assert host.port.read_register(SINT2) == 0x10000
    host.signal(7)
    assert host.port.counts.signals_refused == 1


def test_an_answer_that_nobody_waits_for_breaks_the_protocol() -> None:
    host = HostByHand()
    with pytest.raises(EnvelopeError, match="nobody waits"):
        host.say(ToPort.ANSWER, 0)
    host.behind = lambda: host.say(ToPort.ANSWER, 0)
    with pytest.raises(EnvelopeError, match="nobody waits"):
        host.port.hypercall(0, 0)
