"""The message slot: one message in it, at most one waiting, and the pending/EOM handshake (TLFS, SIM page)."""

from __future__ import annotations

import pytest

from protocol.port.envelope import EnvelopeError, ToHost, ToPort
from protocol.wire.synic import HYPERVISOR_CALLBACK_VECTOR, MESSAGE_PENDING, Register
from tests.port.by_hand import ENABLED, SINT2, HostByHand


@pytest.fixture
def host() -> HostByHand:
    return HostByHand().enable()


def test_a_message_goes_into_the_empty_slot_and_the_next_may_come(host: HostByHand) -> None:
    host.message(b"offer")
    assert host.slot().message_type == 1 and host.slot().payload == b"offer"
    assert host.port.pending == 1 << HYPERVISOR_CALLBACK_VECTOR
    assert host.kinds() == [ToHost.TAKEN]


def test_a_message_that_finds_the_slot_full_sets_pending_and_waits_for_eom(host: HostByHand) -> None:
    host.message(b"first")
    host.port.take_vector()
    host.message(b"second")
    assert host.slot().payload == b"first" and host.slot().flags == MESSAGE_PENDING
    assert host.kinds() == [ToHost.TAKEN], "the second is not taken"
    assert not host.port.pending
    host.empty_slot()
    host.port.write_register(Register.EOM, 0)
    assert host.slot().payload == b"second" and host.slot().flags == 0
    assert host.port.pending == 1 << HYPERVISOR_CALLBACK_VECTOR
    assert host.kinds() == [ToHost.TAKEN, ToHost.TAKEN]


def test_eom_before_the_slot_is_empty_changes_nothing(host: HostByHand) -> None:
    host.message(b"first")
    host.message(b"second")
    host.port.write_register(Register.EOM, 0)
    assert host.slot().payload == b"first" and host.slot().flags == MESSAGE_PENDING
    host.empty_slot()
    host.port.write_register(Register.EOM, 0)
    assert host.slot().payload == b"second"


def test_a_guest_that_empties_the_slot_before_it_can_see_pending_is_looked_at_again(host: HostByHand) -> None:
    ram = host.ram

    class OtherProcessor:
        """Guest RAM whose guest empties the slot just when the port sets MESSAGE_PENDING."""

        words = ram.words

        @property
        def bytes(self) -> OtherProcessor:
            return self

        def __getitem__(self, index: int) -> int:
            return ram.bytes[index]

        def __setitem__(self, index: int, value: int) -> None:
            if value == MESSAGE_PENDING:
                host.empty_slot()
            ram.bytes[index] = value

    host.message(b"first")
    host.port.ram = OtherProcessor()  # type: ignore[assignment]
    host.message(b"second")
    host.port.ram = ram
    assert host.slot().payload == b"second", "the guest will not write EOM: it has seen no MESSAGE_PENDING"
    assert host.kinds() == [ToHost.TAKEN, ToHost.TAKEN]


def test_a_second_waiting_message_breaks_the_protocol(host: HostByHand) -> None:
    host.message(b"first")
    host.message(b"second")
    with pytest.raises(EnvelopeError, match="while another one waits"):
        host.message(b"third")


@pytest.mark.parametrize(("sint", "size"), [(16, 256), (2, 255), (2, 257), (2, 0)])
def test_a_message_of_a_wrong_shape_breaks_the_protocol(host: HostByHand, sint: int, size: int) -> None:
    with pytest.raises(EnvelopeError):
        host.say(ToPort.MESSAGE, sint, bytes(size))


def test_a_message_for_a_masked_sint_is_dropped_and_counted(host: HostByHand) -> None:
    host.message(b"lost", sint=3)
    assert host.port.counts.messages_refused == 1
    assert host.kinds() == [ToHost.TAKEN]


def test_a_message_that_waits_while_the_guest_turns_its_synic_off_comes_when_it_is_on_again(host: HostByHand) -> None:
    host.message(b"first")
    host.message(b"second")
    host.port.write_register(SINT2, 0x10000)
    host.empty_slot()
    host.port.write_register(Register.EOM, 0)
    assert host.slot().message_type == 0
    host.heard.clear()
    host.port.write_register(SINT2, ENABLED)
    assert host.slot().payload == b"second"
    assert host.kinds() == [ToHost.REGISTER, ToHost.TAKEN]


def test_sints_do_not_wait_for_each_other(host: HostByHand) -> None:
    host.port.write_register(Register.sint(5), 0x31)
    host.message(b"first")
    host.message(b"second")
    host.message(b"other", sint=5)
    assert host.port.pending == 1 << HYPERVISOR_CALLBACK_VECTOR | 1 << 0x31
    assert host.kinds()[-1] is ToHost.TAKEN and host.heard[-1].fields == (5,)
    assert host.slot().payload == b"first"
