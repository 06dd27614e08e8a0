"""Frames of integration services, storage packets, hv_sock's GUIDs, and the device table."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import PeerError
from protocol.wire import guids, hvsock, ic, pipe, vstor
from protocol.wire.fields import bit0, u8, u32
from protocol.wire.layout import DoesNotFit, ShortMessage, Structure, structure

U8, U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64))
VERSIONS = st.builds(ic.IcVersion, U16, U16)
FRAMES = st.builds(ic.IcFrame, U16, st.binary(max_size=3000), VERSIONS, VERSIONS, U32, U8, U8)


@given(st.binary(max_size=5000), st.integers(0, 7))
def test_pipe_data_comes_out_without_the_rings_padding(data: bytes, padding: int) -> None:
    assert pipe.unwrap(pipe.wrap(data) + bytes(padding)) == data


@pytest.mark.parametrize("bad", [b"1234567", b"\2\0\0\0\0\0\0\0", b"\1\0\0\0\5\0\0\0abcd"])
def test_what_is_no_whole_pipe_data_is_refused(bad: bytes) -> None:
    with pytest.raises(PeerError, match="pipe header"):
        pipe.unwrap(bad)


@given(FRAMES, st.integers(0, 7))
def test_frames_round_trip(frame: ic.IcFrame, padding: int) -> None:
    assert ic.IcFrame.decode(frame.encode() + bytes(padding)) == frame
    assert ic.IcFrame.decode(memoryview(frame.encode())) == frame


def test_the_guest_answers_in_the_hosts_frame() -> None:
    asked = ic.IcFrame(ic.IcMessage.HEARTBEAT, ic.Heartbeat(41).encode(), ic.IcVersion(3, 0), transaction=7)
    assert asked.encode()[25] == 3
    answered = asked.answer(ic.Heartbeat(42).encode())
    assert answered.flags == ic.IcFlags.TRANSACTION | ic.IcFlags.RESPONSE
    assert (answered.transaction, answered.framework, answered.status) == (7, (3, 0), 0)


def test_a_frame_with_less_body_than_announced_is_refused() -> None:
    data = bytearray(ic.IcFrame(1, b"12345678").encode())
    data[18] = 9
    with pytest.raises(PeerError, match="9 announced, 8 there"):
        ic.IcFrame.decode(data)
    with pytest.raises(ShortMessage, match="icmsg_hdr"):
        ic.IcFrame.decode(pipe.wrap(bytes(17)))


@given(st.lists(VERSIONS, max_size=50), st.lists(VERSIONS, max_size=50))
def test_negotiation_round_trips(frameworks: list[ic.IcVersion], messages: list[ic.IcVersion]) -> None:
    body = ic.Negotiate(tuple(frameworks), tuple(messages))
    assert ic.Negotiate.decode(body.encode()) == body


def test_negotiation_of_too_many_or_missing_versions_is_refused() -> None:
    many = (ic.IcVersion(1, 0),) * 101
    with pytest.raises(DoesNotFit, match="101 versions"):
        ic.Negotiate(many, ()).encode()
    with pytest.raises(PeerError, match="1 \\+ 1 versions in 12 bytes"):
        ic.Negotiate.decode(ic.Negotiate(many[:1], many[:1]).encode()[:12])


@given(U64, U32)
def test_heartbeats_round_trip_also_in_openvmms_16_bytes(sequence: int, state: int) -> None:
    beat = ic.Heartbeat(sequence, state)
    assert ic.Heartbeat.decode(beat.encode()) == beat
    assert ic.Heartbeat.decode(beat.encode()[:16]) == beat


@given(st.builds(ic.TimeSync, U64, U64, U8, U8, U8))
def test_time_samples_round_trip(sample: ic.TimeSync) -> None:
    assert ic.TimeSync.decode(sample.encode()) == sample


@given(st.builds(ic.TimeSyncV1, U64, U64, U64, U8))
def test_old_time_samples_round_trip(sample: ic.TimeSyncV1) -> None:
    assert ic.TimeSyncV1.decode(sample.encode()) == sample


@given(st.builds(ic.Shutdown, U32, U32, U32, st.binary(min_size=2048, max_size=2048)))
def test_shutdown_requests_round_trip(request: ic.Shutdown) -> None:
    assert ic.Shutdown.decode(request.encode()) == request


def test_sizes_and_offsets_of_storage_packets_are_those_of_storvsc() -> None:
    assert vstor.VstorPacket.layout.fields == {
        "operation": (0, 4),
        "flags": (4, 4),
        "status": (8, 4),
        "body": (12, 52),
    }
    assert vstor.VstorPacket.layout.size == 64
    assert vstor.VmscsiRequest.layout.size == 52
    request = vstor.VmscsiRequest.layout.fields
    assert request["data_transfer_length"] == (12, 4)
    assert request["cdb_or_sense"] == (16, 20)
    assert request["queue_tag"] == (38, 1)
    assert request["queue_sort_key"] == (48, 4)
    assert vstor.Properties.layout.fields == {
        "max_channel_count": (4, 2),
        "flags": (8, 4),
        "max_transfer_bytes": (12, 4),
    }


BYTE_NAMES = [
    "srb_status",
    "scsi_status",
    "port_number",
    "path_id",
    "target_id",
    "lun",
    "cdb_length",
    "sense_info_length",
    "data_in",
]
REQUESTS = st.builds(
    vstor.VmscsiRequest,
    **dict.fromkeys(BYTE_NAMES, U8),
    length=U16,
    data_transfer_length=U32,
    cdb_or_sense=st.binary(min_size=20, max_size=20),
    srb_flags=U32,
)


@given(st.sampled_from(vstor.Operation), U32, U32, REQUESTS)
def test_storage_requests_round_trip_inside_their_packet(
    operation: vstor.Operation, flags: int, status: int, request: vstor.VmscsiRequest
) -> None:
    packet = vstor.VstorPacket(operation, flags, status, request.encode())
    data = packet.encode()
    assert len(data) == vstor.PACKET_SIZE
    assert vstor.VstorPacket.decode(data) == packet
    assert vstor.VmscsiRequest.decode(data, vstor.BODY_AT) == request


def test_short_bodies_are_filled_up_and_long_ones_refused() -> None:
    packet = vstor.VstorPacket(vstor.Operation.QUERY_PROPERTIES, body=vstor.Properties(3, 1, 0x40000).encode())
    assert len(packet.encode()) == 64
    assert vstor.Properties.decode(packet.encode(), vstor.BODY_AT) == vstor.Properties(3, 1, 0x40000)
    with pytest.raises(DoesNotFit, match=r"VstorPacket\.body"):
        vstor.VstorPacket(1, body=bytes(53)).encode()


def test_ports_of_af_vsock_are_service_guids() -> None:
    assert hvsock.service_of_port(0x1234) == UUID("00001234-facb-11e6-bd58-64006a7986d3")
    assert hvsock.port_of_service(UUID("00001234-facb-11e6-bd58-64006a7986d3")) == 0x1234
    assert hvsock.port_of_service(guids.HV_NIC_GUID) is None


def test_user_data_of_hv_sock_has_its_version_and_silo_unaligned() -> None:
    data = hvsock.HvSockUserData(for_guest_accept=1, silo_id=UUID(int=0xFF)).encode()
    assert len(data) == 120
    assert data[:10].hex(" ") == "00 00 00 00 01 00 01 00 00 00"
    assert data[10:26] == UUID(int=0xFF).bytes_le


def test_devices_are_known_by_their_class() -> None:
    assert guids.device_type(guids.HV_SCSI_GUID).irq_name == "storvsc"
    assert guids.device_type(guids.HV_SCSI_GUID, tlnpi=True) is guids.HV_SOCK
    assert guids.device_type(UUID(int=5)) is guids.UNKNOWN
    assert {each.name for each in guids.DEVICE_TYPES if each.perf} == {"IDE", "SCSI", "FC", "NIC", "ND"}
    assert not guids.UNSUPPORTED & {each.class_id for each in guids.DEVICE_TYPES}


def test_a_structure_whose_fields_overlap_or_are_out_of_order_cannot_be_declared() -> None:
    with pytest.raises(TypeError, match="overlaps"):

        @structure()
        class _Overlapping(Structure):
            first: int = u32(0)
            second: int = u8(3)

    with pytest.raises(TypeError, match="order"):

        @structure()
        class _Disordered(Structure):
            second: int = u8(1)
            first: int = bit0(0, "B")
