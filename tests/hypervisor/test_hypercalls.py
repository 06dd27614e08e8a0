"""Every status that a hypercall of the VMBus can get (TLFS, "HvCallPostMessage", "HvCallSignalEvent")."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.hypervisor.partition import HypervisorOptions
from protocol.ids import PAGE_SIZE, ConnectionId
from protocol.port.envelope import IPI, read_to_port
from protocol.wire.hypercall import Code, ControlWord, PostMessageInput, Status
from tests.hypervisor.machine import EVENTS, MESSAGES, POST, SIGNAL, UNKNOWN, Machine, status

IPI_CALL = ControlWord(Code.SEND_IPI, fast=True).encode()


@pytest.fixture
def machine() -> Machine:
    return Machine(2)


def test_a_posted_message_reaches_its_port_with_the_vp_that_posted_it(machine: Machine) -> None:
    assert status(machine.vps[1].post(b"hello")) is Status.SUCCESS
    assert machine.posted == [(1, b"hello")]


def test_the_caller_has_its_status_before_its_message_has_consequences(machine: Machine) -> None:
    machine.host.listen_messages(MESSAGES, lambda vp, payload: machine.say(vp, b"reply"))
    vp = machine.vps[0]
    vp.post(b"question")
    assert vp.take_message() is None
    machine.settle()
    assert vp.take_message() == b"reply"


def test_a_signalled_event_rings_its_port_once(machine: Machine) -> None:
    assert status(machine.vps[0].doorbell()) is Status.SUCCESS
    assert machine.rung == 1


def test_doorbells_that_nobody_hears_are_counted_and_cost_no_memory(machine: Machine) -> None:
    machine.host.listen_events(ConnectionId(7), lambda: None)
    machine.host.close_events(ConnectionId(7))
    for connection in (7, 7, *range(1000, 2000)):
        machine.vps[0].port.cast(SIGNAL, connection)
    machine.settle()
    assert machine.host.unheard == {7: 2, 0: 1000}


def test_a_signal_that_waits_for_no_status_rings_too(machine: Machine) -> None:
    machine.vps[0].port.cast(SIGNAL, EVENTS)
    machine.settle()
    assert machine.rung == 1


def test_a_message_that_waits_for_no_status_is_posted_too(machine: Machine) -> None:
    vp = machine.vps[0]
    request = PostMessageInput(MESSAGES, 1, b"cast").encode()
    machine.ram.page(vp.input_page)[: len(request)] = request
    vp.port.cast(POST, vp.input_page * PAGE_SIZE)
    machine.settle()
    assert machine.posted == [(0, b"cast")]


def test_the_slow_forms_take_their_input_from_memory(machine: Machine) -> None:
    vp = machine.vps[0]
    page = machine.ram.page(vp.input_page)
    page[:16] = (EVENTS).to_bytes(8, "little") + bytes(8)
    assert status(vp.port.hypercall(Code.SIGNAL_EVENT, vp.input_page * PAGE_SIZE)) is Status.SUCCESS
    assert machine.rung == 1
    page[:16] = (0xFB).to_bytes(8, "little") + (2).to_bytes(8, "little")
    assert status(vp.port.hypercall(Code.SEND_IPI, vp.input_page * PAGE_SIZE)) is Status.SUCCESS
    machine.settle()
    assert machine.vps[1].port.pending == 1 << 0xFB


@pytest.mark.parametrize("control", [0x5B, 0xFFFF, Code.POST_MESSAGE | 1 << 16], ids=hex)
def test_invalid_hypercall_code(machine: Machine, control: int) -> None:
    assert status(machine.vps[0].port.hypercall(control, 0)) is Status.INVALID_HYPERCALL_CODE


@pytest.mark.parametrize("bit", [*range(17, 32), *range(32, 64)])
def test_invalid_hypercall_input_for_every_other_bit_of_the_control_word(machine: Machine, bit: int) -> None:
    assert status(machine.vps[0].port.hypercall(SIGNAL | 1 << bit, EVENTS)) is Status.INVALID_HYPERCALL_INPUT
    assert not machine.rung


def test_invalid_hypercall_input_for_reserved_bits_of_a_signal(machine: Machine) -> None:
    assert status(machine.vps[0].port.hypercall(SIGNAL, EVENTS | 1 << 48)) is Status.INVALID_HYPERCALL_INPUT


@pytest.mark.parametrize("offset", [1, 4, PAGE_SIZE - 248])
def test_invalid_alignment_for_input_that_is_not_aligned_or_crosses_a_page(machine: Machine, offset: int) -> None:
    assert status(machine.vps[0].port.hypercall(POST, PAGE_SIZE + offset)) is Status.INVALID_ALIGNMENT


def test_the_last_aligned_place_of_a_page_is_good(machine: Machine) -> None:
    at = 2 * PAGE_SIZE - 256
    machine.ram.bytes[at : at + 256] = PostMessageInput(MESSAGES, 1, b"tight").encode()
    assert status(machine.vps[0].port.hypercall(POST, at)) is Status.SUCCESS


@pytest.mark.parametrize("beyond", [0, PAGE_SIZE, 2**62])
def test_invalid_parameter_for_input_beyond_the_guests_memory(machine: Machine, beyond: int) -> None:
    gpa = machine.ram.pages * PAGE_SIZE + beyond
    assert status(machine.vps[0].port.hypercall(POST, gpa)) is Status.INVALID_PARAMETER


@pytest.mark.parametrize("message_type", [0, 0x8000_0000, 0x8000_0010])
def test_invalid_parameter_for_a_message_type_that_is_the_hypervisors(machine: Machine, message_type: int) -> None:
    assert status(machine.vps[0].post(b"", message_type=message_type)) is Status.INVALID_PARAMETER


def test_invalid_parameter_for_a_payload_that_fits_no_slot(machine: Machine) -> None:
    vp = machine.vps[0]
    request = bytearray(PostMessageInput(MESSAGES, 1, b"").encode())
    request[12:16] = (241).to_bytes(4, "little")
    machine.ram.page(vp.input_page)[:256] = request
    assert status(vp.port.hypercall(POST, vp.input_page * PAGE_SIZE)) is Status.INVALID_PARAMETER


def test_invalid_port_id_for_a_connection_of_the_other_kind(machine: Machine) -> None:
    assert status(machine.vps[0].post(b"", EVENTS)) is Status.INVALID_PORT_ID
    assert status(machine.vps[0].doorbell(MESSAGES)) is Status.INVALID_PORT_ID


def test_invalid_port_id_or_parameter_for_a_flag_that_the_port_has_not(machine: Machine) -> None:
    assert status(machine.vps[0].doorbell(flag=1)) is Status.INVALID_PORT_ID
    assert status(machine.vps[0].doorbell(flag=2048)) is Status.INVALID_PARAMETER


def test_invalid_connection_id_for_one_that_was_never_there_and_for_a_closed_one(machine: Machine) -> None:
    vp = machine.vps[0]
    assert status(vp.post(b"", UNKNOWN)) is status(vp.doorbell(UNKNOWN)) is Status.INVALID_CONNECTION_ID
    machine.host.close_messages(MESSAGES)
    machine.host.close_events(EVENTS)
    assert status(vp.post(b"")) is status(vp.doorbell()) is Status.INVALID_CONNECTION_ID


@pytest.mark.parametrize(
    "injected",
    [
        Status.ACCESS_DENIED,
        Status.OPERATION_DENIED,
        Status.INSUFFICIENT_MEMORY,
        Status.INSUFFICIENT_BUFFERS,
        Status.INVALID_VP_INDEX,
        Status.INVALID_SYNIC_STATE,
        Status.TIME_OUT,
    ],
)
def test_a_status_that_only_a_busy_or_restricted_host_has_is_injected(injected: Status) -> None:
    machine = Machine(1, HypervisorOptions(post_statuses=[Status.SUCCESS, injected]))
    results = [status(machine.vps[0].post(text)) for text in (b"passes", b"refused", b"again")]
    assert results == [Status.SUCCESS, injected, Status.SUCCESS]
    assert machine.posted == [(0, b"passes"), (0, b"again")]


def test_an_injected_success_makes_no_port_where_there_is_none() -> None:
    machine = Machine(1, HypervisorOptions(post_statuses=[Status.SUCCESS]))
    assert status(machine.vps[0].post(b"", UNKNOWN)) is Status.INVALID_CONNECTION_ID


def test_an_interrupt_reaches_every_vp_of_the_mask_once(machine: Machine) -> None:
    for _ in range(3):
        assert status(machine.vps[0].port.hypercall(IPI_CALL, 0xFD, 0b11)) is Status.SUCCESS
    machine.settle()
    assert [vp.port.pending for vp in machine.vps] == [1 << 0xFD] * 2
    counts = machine.host.processors[1].counts
    assert counts.ipis_raised == counts.ipis_coalesced + counts.ipis_sent == 3


@pytest.mark.parametrize("vector", [0, 15, 256, 0xFD | 1 << 32])
def test_an_interrupt_with_a_vector_that_is_none_is_refused(machine: Machine, vector: int) -> None:
    assert status(machine.vps[0].port.hypercall(IPI_CALL, vector, 1)) is Status.INVALID_PARAMETER


def test_an_interrupt_for_a_vp_that_there_is_not_is_refused(machine: Machine) -> None:
    assert status(machine.vps[0].port.hypercall(IPI_CALL, 0xFD, 1 << 2)) is Status.INVALID_VP_INDEX


def test_an_interrupt_for_a_vp_that_is_not_there_yet_waits_for_its_hello() -> None:
    machine = Machine(2, enabled=False)
    machine.vps[0].port.hello()
    machine.vps[0].port.cast(IPI_CALL, 0xFD, 0b10)
    machine.settle()
    assert not machine.vps[1].to_port and not machine.vps[1].port.pending
    machine.vps[1].port.hello()
    machine.vps[1].deliver_to_host()
    machine.host.flush()
    assert [read_to_port(data)[2] for data in machine.vps[1].to_port] == [[IPI | 0xFD]]


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_whatever_a_guest_asks_it_gets_a_status(control: int, rdx: int, r8: int) -> None:
    machine = Machine(1)
    for word in (control, POST, SIGNAL, IPI_CALL, Code.SIGNAL_EVENT, Code.SEND_IPI):
        assert status(machine.vps[0].port.hypercall(word, rdx, r8)) in Status
