"""NVSP, RNDIS and NDIS against the header of Linux's netvsc driver (netvsc_layout_linux_6_1.json)."""

import json
from typing import Any

import pytest

from protocol.wire import ndis, nvsp, nvsp_numbers, rndis, rndis_packet
from protocol.wire.layout import Layout
from protocol.wire.nvsp_numbers import Capability, DataPath, NvspStatus, NvspType, NvspVersion
from protocol.wire.rndis import RndisStatus, RndisType
from protocol.wire.rndis_packet import PacketInfo, ReceiveChecksum, TransmitChecksum
from tests.wire.header_layout import NETVSC

LINUX: dict[str, Any] = json.loads(NETVSC.committed.read_text())
STRUCTS, CONSTANTS = LINUX["structs"], LINUX["constants"]

REQUEST = {"req_id": "request_id"}
INFORMATION = {"info_buflen": "length", "info_buf_offset": "offset"}
OBJECT = {"type": "object_type", "revision": "revision", "rev": "revision", "size": "size"}
WAYS = (("tx", "transmit"), ("rx", "receive"))

STRUCTURES: dict[str, tuple[Layout, dict[str, str]]] = {
    "nvsp_message_init": (
        nvsp.Init.layout,
        {"min_protocol_ver": "min_version", "max_protocol_ver": "max_version"},
    ),
    "nvsp_message_init_complete": (
        nvsp.InitComplete.layout,
        {"negotiated_protocol_ver": "version", "max_mdl_chain_len": "max_mdl_chain", "status": "status"},
    ),
    "nvsp_1_message_send_ndis_version": (
        nvsp.NdisVersion.layout,
        {"ndis_major_ver": "major", "ndis_minor_ver": "minor"},
    ),
    "nvsp_1_message_send_receive_buffer": (nvsp.ReceiveBuffer.layout, {"gpadl_handle": "gpadl", "id": "id"}),
    "nvsp_1_message_send_receive_buffer_complete": (
        nvsp.ReceiveBufferComplete.layout,
        {
            "status": "status",
            "num_sections": "sections",
            "sections[0].offset": "offset",
            "sections[0].sub_alloc_size": "sub_alloc_size",
            "sections[0].num_sub_allocs": "sub_allocs",
            "sections[0].end_offset": "end_offset",
        },
    ),
    "nvsp_1_message_revoke_receive_buffer": (nvsp.RevokeReceiveBuffer.layout, {"id": "id"}),
    "nvsp_1_message_send_send_buffer": (nvsp.SendBuffer.layout, {"gpadl_handle": "gpadl", "id": "id"}),
    "nvsp_1_message_send_send_buffer_complete": (
        nvsp.SendBufferComplete.layout,
        {"status": "status", "section_size": "section_size"},
    ),
    "nvsp_1_message_revoke_send_buffer": (nvsp.RevokeSendBuffer.layout, {"id": "id"}),
    "nvsp_1_message_send_rndis_packet": (
        nvsp.RndisPacket.layout,
        {
            "channel_type": "channel_type",
            "send_buf_section_index": "section_index",
            "send_buf_section_size": "section_size",
        },
    ),
    "nvsp_1_message_send_rndis_packet_complete": (nvsp.RndisPacketComplete.layout, {"status": "status"}),
    "nvsp_2_send_ndis_config": (nvsp.NdisConfig.layout, {"mtu": "mtu", "capability": "capabilities"}),
    "nvsp_4_send_vf_association": (nvsp.VfAssociation.layout, {"allocated": "allocated", "serial": "serial"}),
    "nvsp_4_sw_datapath": (nvsp.SwitchDataPath.layout, {"active_datapath": "active"}),
    "nvsp_5_subchannel_request": (nvsp.SubChannelRequest.layout, {"op": "operation", "num_subchannels": "count"}),
    "nvsp_5_subchannel_complete": (nvsp.SubChannelComplete.layout, {"status": "status", "num_subchannels": "count"}),
    "nvsp_5_send_indirect_table": (nvsp.SendIndirectionTable.layout, {"count": "count", "offset": "offset"}),
    "rndis_initialize_request": (
        rndis.Initialize.layout,
        {"major_ver": "major", "minor_ver": "minor", "max_xfer_size": "max_transfer", **REQUEST},
    ),
    "rndis_initialize_complete": (
        rndis.InitializeComplete.layout,
        {
            "status": "status",
            "major_ver": "major",
            "minor_ver": "minor",
            "dev_flags": "device_flags",
            "medium": "medium",
            "max_pkt_per_msg": "max_packets",
            "max_xfer_size": "max_transfer",
            "pkt_alignment_factor": "alignment",
            "af_list_offset": "address_family_offset",
            "af_list_size": "address_family_size",
            **REQUEST,
        },
    ),
    "rndis_halt_request": (rndis.Halt.layout, REQUEST),
    "rndis_query_request": (rndis.Query.layout, {"oid": "oid", "dev_vc_handle": "vc_handle", **INFORMATION, **REQUEST}),
    "rndis_query_complete": (rndis.QueryComplete.layout, {"status": "status", **INFORMATION, **REQUEST}),
    "rndis_set_request": (rndis.Set.layout, {"oid": "oid", "dev_vc_handle": "vc_handle", **INFORMATION, **REQUEST}),
    "rndis_set_complete": (rndis.SetComplete.layout, {"status": "status", **REQUEST}),
    "rndis_reset_request": (rndis.Reset.layout, {"reserved": "reserved"}),
    "rndis_reset_complete": (
        rndis.ResetComplete.layout,
        {"status": "status", "addressing_reset": "addressing_reset"},
    ),
    "rndis_indicate_status": (
        rndis.IndicateStatus.layout,
        {"status": "status", "status_buflen": "length", "status_buf_offset": "offset"},
    ),
    "rndis_keepalive_request": (rndis.KeepAlive.layout, REQUEST),
    "rndis_keepalive_complete": (rndis.KeepAliveComplete.layout, {"status": "status", **REQUEST}),
    "rndis_packet": (
        rndis_packet.DataPacket.layout,
        {
            "data_offset": "data_offset",
            "data_len": "data_length",
            "oob_data_offset": "oob_offset",
            "oob_data_len": "oob_length",
            "num_oob_data_elements": "oob_elements",
            "per_pkt_info_offset": "info_offset",
            "per_pkt_info_len": "info_length",
            "vc_handle": "vc_handle",
            "reserved": "reserved",
        },
    ),
    "ndis_recv_scale_cap": (
        ndis.RssCapabilities.layout,
        {
            "cap_flag": "flags",
            "num_int_msg": "interrupt_messages",
            "num_recv_que": "receive_queues",
            "num_indirect_tabent": "table_entries",
            **{f"hdr.{name}": ours for name, ours in OBJECT.items()},
        },
    ),
    "ndis_recv_scale_param": (
        ndis.RssHeader.layout,
        {
            "flag": "flags",
            "base_cpu_number": "base_cpu",
            "hashinfo": "hash_info",
            "indirect_tabsize": "table_size",
            "indirect_taboffset": "table_offset",
            "hashkey_size": "key_size",
            "hashkey_offset": "key_offset",
            **{f"hdr.{name}": ours for name, ours in OBJECT.items()},
        },
    ),
    "ndis_offload": (
        ndis.Offload.layout,
        {
            **{f"csum.ip{v}_{t}enc": f"ipv{v}_{way}_encapsulation" for v in "46" for t, way in WAYS},
            **{f"csum.ip{v}_{t}csum": f"ipv{v}_{way}_checksum" for v in "46" for t, way in WAYS},
            **{f"lsov2.ip{v}_encap": f"lso_ipv{v}_encapsulation" for v in "46"},
            **{f"lsov2.ip{v}_maxsz": f"lso_ipv{v}_max_size" for v in "46"},
            **{f"lsov2.ip{v}_minsg": f"lso_ipv{v}_min_segments" for v in "46"},
            "lsov2.ip6_opts": "lso_ipv6_options",
            "flags": "flags",
            "rsc.ip4": "rsc_ipv4",
            "rsc.ip6": "rsc_ipv6",
            **{f"header.{name}": ours for name, ours in OBJECT.items()},
        },
    ),
    "ndis_offload_params": (
        ndis.OffloadParameters.layout,
        {
            "ip_v4_csum": "ipv4_checksum",
            "tcp_ip_v4_csum": "tcp_ipv4_checksum",
            "udp_ip_v4_csum": "udp_ipv4_checksum",
            "tcp_ip_v6_csum": "tcp_ipv6_checksum",
            "udp_ip_v6_csum": "udp_ipv6_checksum",
            "lso_v1": "lso_v1",
            "ip_sec_v1": "ipsec_v1",
            "lso_v2_ipv4": "lso_v2_ipv4",
            "lso_v2_ipv6": "lso_v2_ipv6",
            **{f"header.{name}": ours for name, ours in OBJECT.items()},
        },
    ),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_structure_lies_as_in_linux(name: str) -> None:
    layout, ours = STRUCTURES[name]
    theirs = STRUCTS[name]
    assert layout.size - layout.start == theirs["size"]
    named = {field for field in theirs["fields"] if field in ours}
    assert theirs["fields"].keys() - named <= {"reserved"}
    assert {ours[field] for field in named} == set(layout.fields)
    for field in named:
        at, size = theirs["fields"][field]
        assert layout.fields[ours[field]] == (at + layout.start, size), field


def test_messages_have_the_sizes_and_headers_of_linux() -> None:
    assert STRUCTS["nvsp_message"]["size"] == nvsp_numbers.MESSAGE_SIZE == len(nvsp.Init(1, 2).encode())
    assert STRUCTS["nvsp_message"]["fields"]["msg"][0] == nvsp_numbers.HEADER_SIZE
    assert STRUCTS["rndis_message"]["fields"]["msg"][0] == rndis.HEADER_SIZE
    assert STRUCTS["rndis_message"]["fields"]["msg_len"] == [4, 4]


def test_the_send_table_is_where_linux_looks_for_it_in_every_version() -> None:
    message = nvsp.encode_send_table(range(16))
    fixed = nvsp_numbers.HEADER_SIZE + STRUCTS["nvsp_6_message_uber"]["size"]
    assert nvsp.SendIndirectionTable.decode(message).offset == fixed
    assert len(message) >= fixed + 4 * CONSTANTS["VRSS_SEND_TAB_SIZE"]
    assert message[fixed : fixed + 8] == bytes([0, 0, 0, 0, 1, 0, 0, 0])


def bit(struct: str, field: str) -> int:
    first, width = STRUCTS[struct]["bits"][field]
    assert width == 1
    return 1 << int(first)


def test_checksum_bits_are_those_of_linux() -> None:
    info = "ndis_tcp_ip_checksum_info"
    for flag, field in (
        (TransmitChecksum.IPV4, "is_ipv4"),
        (TransmitChecksum.IPV6, "is_ipv6"),
        (TransmitChecksum.TCP, "tcp_checksum"),
        (TransmitChecksum.UDP, "udp_checksum"),
        (TransmitChecksum.IP_HEADER, "ip_header_checksum"),
    ):
        assert flag == bit(info, f"transmit.{field}")
    assert STRUCTS[info]["bits"]["transmit.tcp_header_offset"] == [rndis_packet.TCP_HEADER_OFFSET_SHIFT, 10]
    for received in ReceiveChecksum:
        assert received.name is not None
        field = received.name.lower().replace("value_", "checksum_value_")
        field = field.replace("_failed", "_checksum_failed").replace("_succeeded", "_checksum_succeeded")
        assert received == bit(info, f"receive.{field}")


def test_large_send_and_vlan_lie_as_in_linux() -> None:
    lso = STRUCTS["ndis_tcp_lso_info"]["bits"]
    word = rndis_packet.LargeSend(mss=1, tcp_header_offset=1, ipv6=True).encode()
    names = ("mss", "tcp_header_offset", "type", "ip_version")
    assert int.from_bytes(word, "little") == sum(1 << lso[f"lso_v2_transmit.{name}"][0] for name in names)
    vlan = STRUCTS["ndis_pkt_8021q_info"]["bits"]
    word = rndis_packet.Vlan(id=1, priority=1, cfi=1).encode()
    assert int.from_bytes(word, "little") == sum(1 << vlan[name][0] for name in ("pri", "cfi", "vlanid"))


def test_records_of_packet_information_lie_as_in_linux() -> None:
    record = STRUCTS["rndis_per_packet_info"]
    assert record == {
        "size": rndis_packet.RECORD_HEADER,
        "fields": {"size": [0, 4], "ppi_offset": [8, 4]},
        "bits": {"type": [32, 31], "internal": [63, 1]},
    }


def test_capability_bits_are_those_of_linux() -> None:
    for flag in Capability:
        assert flag.name is not None
        assert flag == bit("nvsp_2_vsc_capability", flag.name.lower())


OURS: dict[str, int] = {
    **{f"NVSP_PROTOCOL_VERSION_{version.name[1:].replace('_', '')}": version for version in NvspVersion},
    **{f"NVSP_STAT_{status.name}": status for status in NvspStatus},
    "NVSP_MSG_TYPE_INIT": NvspType.INIT,
    "NVSP_MSG_TYPE_INIT_COMPLETE": NvspType.INIT_COMPLETE,
    "NVSP_MSG1_TYPE_SEND_NDIS_VER": NvspType.SEND_NDIS_VERSION,
    **{f"NVSP_MSG1_TYPE_{kind.name}": kind for kind in NvspType if 101 <= kind <= 108},
    "NVSP_MSG2_TYPE_SEND_NDIS_CONFIG": NvspType.SEND_NDIS_CONFIG,
    **{f"NVSP_MSG4_TYPE_{kind.name}": kind for kind in NvspType if 128 <= kind <= 129},
    **{f"NVSP_MSG5_TYPE_{kind.name}": kind for kind in NvspType if kind >= 133},
    **{f"NVSP_DATAPATH_{path.name}": path for path in DataPath},
    "NVSP_SUBCHANNEL_ALLOCATE": nvsp_numbers.SUBCHANNEL_ALLOCATE,
    "NVSP_INVALID_PROTOCOL_VERSION": nvsp_numbers.NO_LEGACY_VERSION,
    "NETVSC_RECEIVE_BUFFER_ID": nvsp_numbers.RECEIVE_BUFFER_ID,
    "NETVSC_SEND_BUFFER_ID": nvsp_numbers.SEND_BUFFER_ID,
    "(u32)NETVSC_INVALID_INDEX": nvsp_numbers.NO_SECTION,
    "VRSS_SEND_TAB_SIZE": nvsp_numbers.SEND_TABLE_SIZE,
    "VRSS_CHANNEL_MAX": nvsp_numbers.MAX_CHANNELS,
    "RNDIS_MSG_COMPLETION": rndis.COMPLETION,
    "RNDIS_MSG_PACKET": RndisType.PACKET,
    "RNDIS_MSG_INIT": RndisType.INITIALIZE,
    "RNDIS_MSG_INIT_C": RndisType.INITIALIZE_COMPLETE,
    "RNDIS_MSG_HALT": RndisType.HALT,
    "RNDIS_MSG_QUERY": RndisType.QUERY,
    "RNDIS_MSG_QUERY_C": RndisType.QUERY_COMPLETE,
    "RNDIS_MSG_SET": RndisType.SET,
    "RNDIS_MSG_SET_C": RndisType.SET_COMPLETE,
    "RNDIS_MSG_RESET": RndisType.RESET,
    "RNDIS_MSG_RESET_C": RndisType.RESET_COMPLETE,
    "RNDIS_MSG_INDICATE": RndisType.INDICATE_STATUS,
    "RNDIS_MSG_KEEPALIVE": RndisType.KEEPALIVE,
    "RNDIS_MSG_KEEPALIVE_C": RndisType.KEEPALIVE_COMPLETE,
    **{f"RNDIS_STATUS_{status.name}": status for status in RndisStatus},
    "RNDIS_MAJOR_VERSION": rndis.MAJOR_VERSION,
    "RNDIS_MINOR_VERSION": rndis.MINOR_VERSION,
    "RNDIS_DF_CONNECTIONLESS": rndis.CONNECTIONLESS,
    "RNDIS_MEDIUM_802_3": rndis.MEDIUM_802_3,
    **{f"RNDIS_MEDIA_STATE_{state.name}": state for state in ndis.MediaState},
    "TCPIP_CHKSUM_PKTINFO": PacketInfo.CHECKSUM,
    "TCP_LARGESEND_PKTINFO": PacketInfo.LARGE_SEND,
    "IEEE_8021Q_INFO": PacketInfo.VLAN,
    "NBL_HASH_VALUE": PacketInfo.HASH_VALUE,
    "RNDIS_PKTINFO_ID": PacketInfo.PACKET_ID & ~rndis_packet.INTERNAL,
    **{f"NDIS_PACKET_TYPE_{flag.name}": flag for flag in ndis.PacketFilter},
    "RNDIS_OID_802_3_PERMANENT_ADDRESS": ndis.Oid.ADDRESS_802_3_PERMANENT,
    **{
        f"{'' if 'TCP' in oid.name or 'SCALE' in oid.name else 'RNDIS_'}OID_{oid.name}": oid
        for oid in ndis.Oid
        if oid is not ndis.Oid.ADDRESS_802_3_PERMANENT
    },
    "NDIS_OBJECT_TYPE_DEFAULT": ndis.OBJECT_DEFAULT,
    "NDIS_OBJECT_TYPE_RSS_CAPABILITIES": ndis.OBJECT_RSS_CAPABILITIES,
    "NDIS_OBJECT_TYPE_RSS_PARAMETERS": ndis.OBJECT_RSS_PARAMETERS,
    "NDIS_OBJECT_TYPE_OFFLOAD": ndis.OBJECT_OFFLOAD,
    "NDIS_RSS_CAPS_HASH_TYPE_TCP_IPV4": ndis.RssCapability.TCP_IPV4,
    "NDIS_RSS_CAPS_HASH_TYPE_TCP_IPV6": ndis.RssCapability.TCP_IPV6,
    "NDIS_RSS_PARAM_FLAG_BASE_CPU_UNCHANGED": ndis.RssFlag.BASE_CPU_UNCHANGED,
    "NDIS_RSS_PARAM_FLAG_HASH_INFO_UNCHANGED": ndis.RssFlag.HASH_INFO_UNCHANGED,
    "NDIS_RSS_PARAM_FLAG_ITABLE_UNCHANGED": ndis.RssFlag.TABLE_UNCHANGED,
    "NDIS_RSS_PARAM_FLAG_HASH_KEY_UNCHANGED": ndis.RssFlag.KEY_UNCHANGED,
    "NDIS_RSS_PARAM_FLAG_DISABLE_RSS": ndis.RssFlag.DISABLE,
    "NDIS_HASH_FUNC_TOEPLITZ": ndis.RssHash.TOEPLITZ,
    **{f"NDIS_HASH_{flag.name}": flag for flag in ndis.RssHash if flag is not ndis.RssHash.TOEPLITZ},
    "NETVSC_HASH_KEYLEN": ndis.RSS_KEY_SIZE,
    "ITAB_NUM": ndis.RSS_TABLE_SIZE,
    "NDIS_OFFLOAD_ENCAP_8023": ndis.ENCAPSULATION_8023,
    "NDIS_TXCSUM_CAP_IP4OPT": ndis.ChecksumV4.IP_OPTIONS,
    "NDIS_TXCSUM_CAP_TCP4OPT": ndis.ChecksumV4.TCP_OPTIONS,
    "NDIS_TXCSUM_CAP_TCP4": ndis.ChecksumV4.TCP,
    "NDIS_TXCSUM_CAP_UDP4": ndis.ChecksumV4.UDP,
    "NDIS_TXCSUM_CAP_IP4": ndis.ChecksumV4.IP,
    "NDIS_TXCSUM_CAP_IP6EXT": ndis.ChecksumV6.EXTENSION_HEADERS,
    "NDIS_TXCSUM_CAP_TCP6OPT": ndis.ChecksumV6.TCP_OPTIONS,
    "NDIS_TXCSUM_CAP_TCP6": ndis.ChecksumV6.TCP,
    "NDIS_TXCSUM_CAP_UDP6": ndis.ChecksumV6.UDP,
    "NDIS_OFFLOAD_SIZE_6_0": ndis.OFFLOAD_SIZES[1],
    "NDIS_OFFLOAD_SIZE_6_1": ndis.OFFLOAD_SIZES[2],
    "NDIS_OFFLOAD_SIZE": ndis.OFFLOAD_SIZES[3],
    "NDIS_OFFLOAD_PARAMETERS_NO_CHANGE": ndis.OffloadSetting.NO_CHANGE,
    "NDIS_OFFLOAD_PARAMETERS_TX_RX_DISABLED": ndis.OffloadSetting.DISABLED,
    "NDIS_OFFLOAD_PARAMETERS_TX_ENABLED_RX_DISABLED": ndis.OffloadSetting.TRANSMIT,
    "NDIS_OFFLOAD_PARAMETERS_RX_ENABLED_TX_DISABLED": ndis.OffloadSetting.RECEIVE,
    "NDIS_OFFLOAD_PARAMETERS_TX_RX_ENABLED": ndis.OffloadSetting.BOTH,
    "NDIS_OFFLOAD_PARAMETERS_LSOV2_ENABLED": ndis.OffloadSetting.LSO_ENABLED,
    "VERSION_4_OFFLOAD_SIZE": ndis.OFFLOAD_PARAMETERS_SIZE_V4,
}


def test_constants_have_the_values_of_linux() -> None:
    assert OURS == CONSTANTS
