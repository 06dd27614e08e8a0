"""Opening a storvsp channel, and its sub-channels."""

from hypothesis import given
from hypothesis import strategies as st

from host.vsp.storage.handshake import State
from host.vsp.testing import Loopback
from protocol.ring import COMPLETION_REQUESTED, PacketType
from protocol.shell.memory import GuestRam
from protocol.wire.ntstatus import NtStatus
from protocol.wire.vstor import (
    Operation,
    Properties,
    ProtocolVersion,
    SrbStatus,
    SubChannels,
    VstorPacket,
)
from tests.vsp.image import blank
from tests.vsp.storvsc import INIT_ID, INSTANCE, READ, StorVsc, good, rw10


def test_the_handshake_of_a_current_kernel_announces_256_kib_and_no_sub_channels(ram: GuestRam) -> None:
    guest = StorVsc(ram, blank())
    assert guest.initialise() == Properties(0, 0, 0x40000)
    assert (guest.device.state, guest.device.version) == (State.READY, 0x0602)
    assert not guest.clock.complaints


def test_versions_are_tried_until_one_fits(ram: GuestRam) -> None:
    for offered, accepted in ((0x0700, False), (0x0200, False), (0x0402, False), (0x0501, True)):
        guest = StorVsc(ram, blank())
        guest.operation(Operation.BEGIN_INITIALIZATION)
        answer = guest.operation(Operation.QUERY_PROTOCOL_VERSION, ProtocolVersion(offered).encode())
        assert answer.status == (0 if accepted else NtStatus.REVISION_MISMATCH)
        assert guest.operation(Operation.QUERY_PROTOCOL_VERSION, ProtocolVersion(0x0600).encode()).status == (
            NtStatus.INVALID_DEVICE_STATE if accepted else 0
        )


def test_kernels_before_6_1_send_48_bytes_until_a_version_is_agreed(ram: GuestRam) -> None:
    guest = StorVsc(ram, blank())
    assert guest.operation(Operation.BEGIN_INITIALIZATION, size=48).status == 0
    assert guest.operation(Operation.QUERY_PROTOCOL_VERSION, ProtocolVersion(0x0602).encode(), size=48).status == 0


@given(st.lists(st.sampled_from([*Operation, 0, 15, 99]), max_size=8))
def test_any_order_of_operations_is_answered_and_only_the_right_one_leads_to_ready(
    ram: GuestRam, operations: list[int]
) -> None:
    guest = StorVsc(ram, blank())
    wanted = [
        Operation.BEGIN_INITIALIZATION,
        Operation.QUERY_PROTOCOL_VERSION,
        Operation.QUERY_PROPERTIES,
        Operation.END_INITIALIZATION,
    ]
    done = 0
    for operation in operations:
        status = guest.operation(operation, ProtocolVersion(0x0600).encode()).status
        if done < 4 and operation == wanted[done]:
            assert status == 0
            done += 1
        elif done < 4:
            assert status in (NtStatus.INVALID_DEVICE_STATE, NtStatus.INVALID_PARAMETER)
    assert (guest.device.state is State.READY) == (done == 4)


def test_a_request_before_the_handshake_is_refused_with_an_srb_status_that_linux_takes_for_an_error(
    ram: GuestRam,
) -> None:
    guest = StorVsc(ram, blank())
    guest.submit(rw10(READ, 0, 1), 512)
    (completion,) = guest.completions()
    assert completion.packet.status == NtStatus.INVALID_DEVICE_STATE
    assert completion.request.srb_status == SrbStatus.INVALID_REQUEST


def test_without_sub_channels_a_request_for_some_is_refused(guest: StorVsc) -> None:
    answer = guest.operation(Operation.CREATE_SUB_CHANNELS, SubChannels(1).encode())
    assert answer.status == NtStatus.INVALID_PARAMETER
    assert not guest.sub_channels.offered


def test_granted_sub_channels_are_offered_and_complete_what_came_through_them(ram: GuestRam) -> None:
    guest = StorVsc(ram, blank(), max_sub_channels=3)
    assert guest.initialise() == Properties(3, 1, 0x40000)
    assert guest.operation(Operation.CREATE_SUB_CHANNELS, SubChannels(4).encode()).status != 0
    assert guest.operation(Operation.CREATE_SUB_CHANNELS, SubChannels(2).encode()).status == 0
    assert [device.offer.sub_channel_index for device in guest.sub_channels.offered] == [1, 2]
    assert {device.offer.instance_id for device in guest.sub_channels.offered} == {INSTANCE}
    assert guest.operation(Operation.CREATE_SUB_CHANNELS, SubChannels(1).encode()).status != 0
    sub_channel = Loopback(ram, range(201, 211), range(211, 221))
    sub_channel.open(guest.sub_channels.offered[0])
    transaction_id = guest.submit(rw10(READ, 0, 1), 512, channel=sub_channel)
    assert not guest.completions()
    (completion,) = guest.completions(sub_channel)
    assert completion.transaction_id == transaction_id
    assert good(completion.request)


def test_an_old_kernel_creates_sub_channels_first_and_their_requests_wait_for_the_end(ram: GuestRam) -> None:
    guest = StorVsc(ram, blank(), max_sub_channels=1)
    guest.operation(Operation.BEGIN_INITIALIZATION)
    guest.operation(Operation.QUERY_PROTOCOL_VERSION, ProtocolVersion(0x0600).encode())
    guest.operation(Operation.QUERY_PROPERTIES)
    assert guest.operation(Operation.CREATE_SUB_CHANNELS, SubChannels(1).encode()).status == 0
    sub_channel = Loopback(ram, range(201, 211), range(211, 221))
    sub_channel.open(guest.sub_channels.offered[0])
    guest.submit(rw10(READ, 0, 1), 512, channel=sub_channel)
    assert not guest.completions(sub_channel)
    assert guest.operation(Operation.END_INITIALIZATION).status == 0
    assert len(guest.completions(sub_channel)) == 1


def test_a_sub_channel_takes_no_handshake(ram: GuestRam) -> None:
    guest = StorVsc(ram, blank(), max_sub_channels=1)
    guest.initialise()
    guest.operation(Operation.CREATE_SUB_CHANNELS, SubChannels(1).encode())
    sub_channel = Loopback(ram, range(201, 211), range(211, 221))
    sub_channel.open(guest.sub_channels.offered[0])
    packet = VstorPacket(Operation.BEGIN_INITIALIZATION, flags=1).encode()
    sub_channel.send(PacketType.IN_BAND, packet, INIT_ID, COMPLETION_REQUESTED)
    (completion,) = guest.completions(sub_channel)
    assert completion.packet.status == NtStatus.INVALID_DEVICE_STATE
