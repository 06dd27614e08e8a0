"""Every structure and constant of Linux 6.1's headers against our declaration of it.

``STRUCTURES`` maps each C structure to our layout and each C field to our name for it. A C field without a name of ours
must be padding there (reserved, or the message header). What no peer of today sends is in ``NOT_SPOKEN``.
"""

from typing import Any

import pytest

from protocol import ids
from protocol.wire import guids, hypercall, ic, kvp, messages, pipe, synic, vss, vstor
from protocol.wire.layout import Layout
from protocol.wire.messages import REGISTRY, ChannelFlags
from protocol.wire.versions import Version

Linux = dict[str, Any]


def form(kind: type[messages.ControlMessage], version: Version = Version.V5_3) -> Layout:
    return kind.layout(version)


RELID = {"child_relid": "relid"}

STRUCTURES: dict[str, tuple[Layout, dict[str, str]]] = {
    "vmbus_channel_offer_channel": (
        form(messages.OfferChannel),
        {
            "offer.if_type": "class_id",
            "offer.if_instance": "instance_id",
            "offer.chn_flags": "flags",
            "offer.mmio_megabytes": "mmio_megabytes",
            "offer.u.std.user_def": "user_defined",
            "offer.sub_channel_index": "sub_channel_index",
            "offer.reserved3": "mmio_megabytes_optional",
            "monitorid": "monitor_id",
            "connection_id": "connection_id",
            **RELID,
        },
    ),
    "vmbus_channel_rescind_offer": (form(messages.RescindChannelOffer), RELID),
    "vmbus_channel_open_channel": (
        form(messages.OpenChannel),
        {
            "openid": "open_id",
            "ringbuffer_gpadlhandle": "ring_gpadl",
            "target_vp": "target_vp",
            "downstream_ringbuffer_pageoffset": "downstream_page",
            "userdata": "user_data",
            **RELID,
        },
    ),
    "vmbus_channel_open_result": (
        form(messages.OpenChannelResult),
        {"openid": "open_id", "status": "status", **RELID},
    ),
    "vmbus_channel_close_channel": (form(messages.CloseChannel), RELID),
    "vmbus_channel_modifychannel": (form(messages.ModifyChannel), {"target_vp": "target_vp", **RELID}),
    "vmbus_channel_modifychannel_response": (form(messages.ModifyChannelResponse), {"status": "status", **RELID}),
    "vmbus_channel_gpadl_header": (
        form(messages.GpadlHeader),
        {
            "gpadl": "gpadl",
            "range_buflen": "range_buflen",
            "rangecount": "range_count",
            "range": "words",
            **RELID,
        },
    ),
    "vmbus_channel_gpadl_body": (
        form(messages.GpadlBody),
        {"msgnumber": "message_number", "gpadl": "gpadl", "pfn": "words"},
    ),
    "vmbus_channel_gpadl_created": (
        form(messages.GpadlCreated),
        {"gpadl": "gpadl", "creation_status": "status", **RELID},
    ),
    "vmbus_channel_gpadl_teardown": (form(messages.GpadlTeardown), {"gpadl": "gpadl", **RELID}),
    "vmbus_channel_gpadl_torndown": (form(messages.GpadlTorndown), {"gpadl": "gpadl"}),
    "vmbus_channel_relid_released": (form(messages.RelidReleased), RELID),
    "vmbus_channel_version_response": (
        form(messages.VersionResponse),
        {
            "version_supported": "supported",
            "connection_state": "connection_state",
            "msg_conn_id": "connection_id",
        },
    ),
    "vmbus_channel_tl_connect_request": (
        form(messages.TlConnectRequest, Version.WIN10),
        {"guest_endpoint_id": "endpoint_id", "host_service_id": "service_id"},
    ),
    "icmsg_hdr": (
        ic.ICMSG,
        {
            "icverframe.major": "framework_major",
            "icverframe.minor": "framework_minor",
            "icmsgtype": "message_type",
            "icvermsg.major": "message_major",
            "icvermsg.minor": "message_minor",
            "icmsgsize": "body_size",
            "status": "status",
            "ictransaction_id": "transaction",
            "icflags": "flags",
        },
    ),
    "shutdown_msg_data": (
        ic.Shutdown.layout,
        {
            "reason_code": "reason",
            "timeout_seconds": "timeout_seconds",
            "flags": "flags",
            "display_message": "message",
        },
    ),
    "ictimesync_data": (
        ic.TimeSyncV1.layout,
        {"parenttime": "parent_time", "childtime": "child_time", "roundtriptime": "round_trip", "flags": "flags"},
    ),
    "ictimesync_ref_data": (
        ic.TimeSync.layout,
        {
            "parenttime": "parent_time",
            "vmreferencetime": "reference_time",
            "flags": "flags",
            "leapflags": "leap",
            "stratum": "stratum",
        },
    ),
    "hv_message": (
        synic.SLOT,
        {
            "header.message_type": "message_type",
            "header.payload_size": "payload_size",
            "header.message_flags": "flags",
            "header.sender": "sender",
            "u.payload": "payload",
        },
    ),
}

CHECKED_BY_THEIR_BYTES = {
    "vmbus_channel_message_header",
    "vmbus_channel_initiate_contact",
    "vmbus_channel_offer",
    "vmbuspipe_hdr",
    "ic_version",
    "icmsg_negotiate",
    "heartbeat_msg_data",
    "hv_message_header",
    "hv_message_page",
    "hv_message_flags",
    "hv_synic_event_flags",
    "hv_synic_scontrol",
    "hv_synic_sint",
    "hv_synic_simp",
    "hv_synic_siefp",
    "hv_connection_id",
    "hv_kvp_hdr",
    "hv_kvp_exchg_msg_value",
    "hv_kvp_msg_enumerate",
    "hv_kvp_msg_delete",
    "hv_kvp_msg",
    "hv_vss_hdr",
    "hv_vss_msg",
}
"""In this file, below."""

RINGS = {
    "hv_ring_buffer",
    "vmpacket_descriptor",
    "vmtransfer_page_range",
    "vmtransfer_page_packet_header",
    "gpa_range",
    "vmdata_gpa_direct",
    "hv_page_buffer",
    "hv_multipage_buffer",
    "hv_mpb_array",
    "vmbus_channel_packet_page_buffer",
    "vmbus_channel_packet_multipage_buffer",
    "vmbus_packet_mpb_array",
}
"""In test_rings_match_linux.py."""

NOT_SPOKEN = {
    # Negotiation before the release of Windows Server 2008.
    "vmbus_channel_query_vmbus_version",
    "vmbus_channel_version_supported",
    # Packets of types that nobody sends: OpenVMM refuses them, Linux has no sender for them.
    "vmpacket_header",
    "vmgpadl_packet_header",
    "vmadd_remove_transfer_page_set",
    "vmestablish_gpadl",
    "vmteardown_gpadl",
    "vmadditional_data",
    # The other reading of hv_message's sender, which Linux does not look at.
    "hv_port_id",
}


def test_no_structure_of_linux_is_left_out(linux: Linux) -> None:
    assert {*STRUCTURES, *CHECKED_BY_THEIR_BYTES, *RINGS, *NOT_SPOKEN} == linux["structs"].keys()


@pytest.mark.parametrize("name", STRUCTURES)
def test_structure_lies_as_in_linux(linux: Linux, name: str) -> None:
    layout, ours = STRUCTURES[name]
    theirs = linux["structs"][name]
    assert layout.size == theirs["size"]
    for c_field, place in theirs["fields"].items():
        if c_field in ours:
            assert list(layout.fields[ours[c_field]]) == place, c_field
        else:
            assert c_field == "header" or "reserved" in c_field or "padding" in c_field, c_field
    bit_fields = {first // 8 for first, width in theirs["bits"].values() if width < 8}
    unnamed = layout.fields.keys() - ours.values()
    assert {layout.fields[field][0] for field in unnamed} == bit_fields


def test_offer_bits_lie_as_in_linux(linux: Linux) -> None:
    bits = linux["structs"]["vmbus_channel_offer_channel"]["bits"]
    offer = form(messages.OfferChannel)
    assert bits["monitor_allocated"] == [8 * offer.fields["monitor_allocated"][0], 1]
    assert bits["is_dedicated_interrupt"] == [8 * offer.fields["dedicated_interrupt"][0], 1]


def test_offer_itself_lies_behind_the_header_as_in_linux(linux: Linux) -> None:
    offer = linux["structs"]["vmbus_channel_offer"]
    inside = linux["structs"]["vmbus_channel_offer_channel"]["fields"]
    for field in ("if_type", "if_instance", "chn_flags", "mmio_megabytes", "u.std.user_def", "sub_channel_index"):
        at, size = offer["fields"][field]
        assert inside[f"offer.{field}"] == [at + messages.HEADER_SIZE, size]
    # The pipe mode is the first word of the user-defined bytes.
    assert offer["fields"]["u.pipe.pipe_mode"] == [offer["fields"]["u.std.user_def"][0], 4]


def test_message_header_lies_as_in_linux(linux: Linux) -> None:
    header = linux["structs"]["vmbus_channel_message_header"]
    assert header == {"size": messages.HEADER_SIZE, "fields": {"msgtype": [0, 4], "padding": [4, 4]}, "bits": {}}


def test_initiate_contact_lies_as_in_linux_in_both_its_old_and_new_form(linux: Linux) -> None:
    theirs = linux["structs"]["vmbus_channel_initiate_contact"]
    old, new = form(messages.InitiateContact, Version.WIN10), form(messages.InitiateContact, Version.V5_0)
    assert old.size == new.size == theirs["size"]
    both = {
        "vmbus_version_requested": "version",
        "target_vcpu": "target_vp",
        "monitor_page1": "parent_to_child_monitor",
        "monitor_page2": "child_to_parent_monitor",
    }
    for layout, names in (old, {**both, "interrupt_page": "interrupt_page"}), (new, {**both, "msg_sint": "sint"}):
        assert set(layout.fields) == set(names.values())
        for c_field, ours in names.items():
            assert list(layout.fields[ours]) == theirs["fields"][c_field]


def test_pipe_header_lies_as_in_linux(linux: Linux) -> None:
    theirs = linux["structs"]["vmbuspipe_hdr"]
    wrapped = pipe.wrap(b"hello")
    assert theirs["fields"] == {"flags": [0, 4], "msgsize": [4, 4]}
    assert wrapped[: theirs["size"]] == bytes([1, 0, 0, 0, 5, 0, 0, 0])
    assert len(wrapped) == theirs["size"] + 5


def test_negotiation_lies_as_in_linux(linux: Linux) -> None:
    theirs = linux["structs"]["icmsg_negotiate"]["fields"]
    version = linux["structs"]["ic_version"]
    body = ic.Negotiate((ic.IcVersion(3, 1),), (ic.IcVersion(4, 0), ic.IcVersion(5, 2))).encode()
    at, _ = theirs["icversion_data"]
    assert body[theirs["icframe_vercnt"][0]] == 1
    assert body[theirs["icmsg_vercnt"][0]] == 2
    assert version["fields"] == {"major": [0, 2], "minor": [2, 2]}
    assert [body[at + n * version["size"]] for n in range(3)] == [3, 4, 5]
    assert [body[at + n * version["size"] + 2] for n in range(3)] == [1, 0, 2]
    assert len(body) == at + 3 * version["size"]


def test_heartbeat_has_the_sequence_number_where_linux_has_it_and_the_rest_in_its_reserved_part(linux: Linux) -> None:
    theirs = linux["structs"]["heartbeat_msg_data"]
    layout = ic.Heartbeat.layout
    assert layout.size == theirs["size"]
    assert list(layout.fields["sequence"]) == theirs["fields"]["seq_num"]
    assert layout.fields["application_state"][0] >= theirs["fields"]["reserved"][0]


def test_key_value_pairs_lie_as_in_linux(linux: Linux) -> None:
    structs = linux["structs"]
    message, value = structs["hv_kvp_msg"]["fields"], structs["hv_kvp_exchg_msg_value"]["fields"]
    header = structs["hv_kvp_hdr"]["fields"]
    delete, enumerate_at = structs["hv_kvp_msg_delete"]["fields"], message["body.kvp_enum_data"][0]
    inside = structs["hv_kvp_msg_enumerate"]["fields"]
    for layout, at in (
        (kvp.KvpExchange.layout, message["body.kvp_get.data"][0]),
        (kvp.KvpEnumerate.layout, enumerate_at + inside["data"][0]),
    ):
        for name, (offset, size) in value.items():
            assert layout.fields[name] == (at + offset, size)
        assert layout.size == at + structs["hv_kvp_exchg_msg_value"]["size"]
    assert kvp.KvpEnumerate.layout.fields["index"] == (enumerate_at + inside["index"][0], 4)
    for name, (offset, size) in delete.items():
        assert kvp.KvpDelete.layout.fields[name] == (message["body.kvp_delete"][0] + offset, size)
    for each in (kvp.KvpExchange, kvp.KvpEnumerate, kvp.KvpDelete, kvp.KvpHeader):
        assert each.layout.fields["operation"] == tuple(header["operation"])
        assert each.layout.fields["pool"] == tuple(header["pool"])


def test_volume_shadow_copies_lie_as_in_linux(linux: Linux) -> None:
    theirs = linux["structs"]["hv_vss_msg"]
    layout = vss.VssMessage.layout
    assert layout.size == theirs["size"]
    assert layout.fields["operation"] == tuple(linux["structs"]["hv_vss_hdr"]["fields"]["operation"])
    assert layout.fields["flags"] == tuple(theirs["fields"]["vss_cf.flags"]) == tuple(theirs["fields"]["dm_info.flags"])


def test_synic_registers_have_their_bits_where_linux_has_them(linux: Linux) -> None:
    structs = linux["structs"]
    sint = structs["hv_synic_sint"]["bits"]
    assert sint["vector"] == [0, 8]
    for name in ("masked", "auto_eoi", "polling"):
        first, width = sint[name]
        assert synic.SintConfig(**{"masked": False, name: True}).encode() == 1 << first
        assert width == 1
    for union, enable, base in (
        ("hv_synic_simp", "simp_enabled", "base_simp_gpa"),
        ("hv_synic_siefp", "siefp_enabled", "base_siefp_gpa"),
    ):
        assert synic.SynicPage(enabled=True).encode() == 1 << structs[union]["bits"][enable][0]
        assert synic.SynicPage(pfn=ids.Pfn(1)).encode() == 1 << structs[union]["bits"][base][0]
    assert structs["hv_synic_scontrol"]["bits"]["enable"] == [0, 1]


def test_synic_pages_lie_as_in_linux(linux: Linux) -> None:
    structs = linux["structs"]
    message = structs["hv_message"]
    assert structs["hv_message_page"]["size"] == ids.PAGE_SIZE == synic.slot_offset(synic.SINT_COUNT)
    assert synic.slot_offset(3) == 3 * message["size"]
    assert structs["hv_message_header"]["size"] == message["fields"]["u.payload"][0]
    assert structs["hv_message_flags"]["bits"]["msg_pending"] == [0, 1]
    assert structs["hv_synic_event_flags"]["size"] == synic.EVENT_FLAGS_SIZE
    assert synic.event_flag_word(1, 0) == (structs["hv_synic_event_flags"]["size"] // 8, 1)


def test_connection_ids_are_24_bits_as_in_linux(linux: Linux) -> None:
    assert linux["structs"]["hv_connection_id"]["bits"] == {"u.id": [0, 24], "u.reserved": [24, 8]}


NAMELESS_IN_LINUX = (18, 19, 20)
"""The reserved channels' messages, which Linux only counts."""

CONSTANTS: dict[str, int] = {
    **{
        f"CHANNELMSG_{number if number in NAMELESS_IN_LINUX else kind.name}": number
        for number, kind in REGISTRY.items()
        if number < 25
    },
    "VERSION_WS2008": Version.WS2008,
    "VERSION_WIN7": Version.WIN7,
    "VERSION_WIN8": Version.WIN8,
    "VERSION_WIN8_1": Version.WIN8_1,
    "VERSION_WIN10": Version.WIN10,
    "VERSION_WIN10_V4_1": Version.WIN10_RS3,
    "VERSION_WIN10_V5": Version.V5_0,
    "VERSION_WIN10_V5_1": Version.V5_1,
    "VERSION_WIN10_V5_2": Version.V5_2,
    "VERSION_WIN10_V5_3": Version.V5_3,
    "VMBUS_CHANNEL_ENUMERATE_DEVICE_INTERFACE": ChannelFlags.ENUMERATE_DEVICE_INTERFACE,
    "VMBUS_CHANNEL_SERVER_SUPPORTS_TRANSFER_PAGES": ChannelFlags.SERVER_SUPPORTS_TRANSFER_PAGES,
    "VMBUS_CHANNEL_SERVER_SUPPORTS_GPADLS": ChannelFlags.SERVER_SUPPORTS_GPADLS,
    "VMBUS_CHANNEL_NAMED_PIPE_MODE": ChannelFlags.NAMED_PIPE_MODE,
    "VMBUS_CHANNEL_LOOPBACK_OFFER": ChannelFlags.LOOPBACK_OFFER,
    "VMBUS_CHANNEL_PARENT_OFFER": ChannelFlags.PARENT_OFFER,
    "VMBUS_CHANNEL_REQUEST_MONITORED_NOTIFICATION": ChannelFlags.REQUEST_MONITORED_NOTIFICATION,
    "VMBUS_CHANNEL_TLNPI_PROVIDER_OFFER": ChannelFlags.TLNPI_PROVIDER_OFFER,
    "VMBUS_PIPE_TYPE_BYTE": pipe.PipeMode.BYTE,
    "VMBUS_PIPE_TYPE_MESSAGE": pipe.PipeMode.MESSAGE,
    "MAX_PIPE_DATA_PAYLOAD": pipe.MAX_PIPE_DATA_PAYLOAD,
    "MAX_USER_DEFINED_BYTES": messages.USER_DEFINED_BYTES,
    "INVALID_RELID": messages.INVALID_RELID,
    "HV_MESSAGE_SIZE": synic.MESSAGE_SIZE,
    "HV_MESSAGE_PAYLOAD_BYTE_COUNT": synic.MAX_PAYLOAD,
    "HV_MESSAGE_PAYLOAD_QWORD_COUNT": synic.MAX_PAYLOAD // 8,
    "HV_EVENT_FLAGS_COUNT": synic.EVENT_FLAGS,
    "HV_HYP_PAGE_SIZE": ids.PAGE_SIZE,
    "HVMSG_NONE": synic.HVMSG_NONE,
    "HVMSG_TIMER_EXPIRED": synic.HVMSG_TIMER_EXPIRED,
    "HYPERVISOR_CALLBACK_VECTOR": synic.HYPERVISOR_CALLBACK_VECTOR,
    "HYPERV_STIMER0_VECTOR": synic.HYPERV_STIMER0_VECTOR,
    "HV_SYNIC_SINT_COUNT": synic.SINT_COUNT,
    "HV_SYNIC_FIRST_VALID_VECTOR": synic.FIRST_VALID_VECTOR,
    "HV_SYNIC_CONTROL_ENABLE": synic.CONTROL_ENABLE,
    "HV_SYNIC_SIMP_ENABLE": synic.SynicPage(enabled=True).encode(),
    "HV_SYNIC_SIEFP_ENABLE": synic.SynicPage(enabled=True).encode(),
    "HV_SYNIC_SINT_MASKED": synic.SintConfig().encode(),
    "HV_SYNIC_SINT_AUTO_EOI": synic.SintConfig(masked=False, auto_eoi=True).encode(),
    "HV_SYNIC_SINT_VECTOR_MASK": synic.SintConfig(vector=0xFF, masked=False).encode(),
    **{f"HV_REGISTER_{register.name}": register for register in synic.Register},
    "HVCALL_POST_MESSAGE": hypercall.Code.POST_MESSAGE,
    "HVCALL_SIGNAL_EVENT": hypercall.Code.SIGNAL_EVENT,
    "HV_HYPERCALL_FAST_BIT": hypercall.ControlWord(0, fast=True).encode(),
    "HV_HYPERCALL_VARHEAD_MASK": hypercall.ControlWord(0, variable_header=0x3FF).encode(),
    "HV_HYPERCALL_REP_COMP_MASK": hypercall.ControlWord(0, rep_count=0xFFF).encode(),
    "HV_HYPERCALL_REP_START_MASK": hypercall.ControlWord(0, rep_start=0xFFF).encode(),
    "HV_HYPERCALL_RESULT_MASK": hypercall.ControlWord(0xFFFF).encode(),
    **{
        f"HV_STATUS_{status.name}": status
        for status in hypercall.Status
        if status.name not in ("INVALID_VP_INDEX", "INVALID_SYNIC_STATE", "OBJECT_IN_USE", "TIME_OUT")
    },
    **{f"ICMSGTYPE_{kind.name}": kind for kind in ic.IcMessage},
    **{f"ICMSGHDRFLAG_{flag.name}": flag for flag in ic.IcFlags},
    "ICTIMESYNCFLAG_PROBE": ic.TimeSyncFlags.PROBE,
    "ICTIMESYNCFLAG_SYNC": ic.TimeSyncFlags.SYNC,
    "ICTIMESYNCFLAG_SAMPLE": ic.TimeSyncFlags.SAMPLE,
    "WLTIMEDELTA": ic.EPOCH_1601,
    "ICMSG_HDR": len(ic.IcFrame(0, b"").encode()),
    "IC_VERSION_NEGOTIATION_MAX_VER_COUNT": ic.MAX_NEGOTIATED_VERSIONS,
    "HV_S_OK": ic.IcStatus.OK,
    "HV_S_CONT": ic.IcStatus.CONTINUE,
    "HV_E_FAIL": ic.IcStatus.FAIL,
    "HV_ERROR_NOT_SUPPORTED": ic.IcStatus.NOT_SUPPORTED,
    **{f"KVP_OP_{operation.name}": operation for operation in kvp.KvpOperation},
    **{f"KVP_POOL_{pool.name}": pool for pool in kvp.KvpPool},
    "REG_SZ": kvp.ValueType.STRING,
    "REG_U32": kvp.ValueType.U32,
    "REG_U64": kvp.ValueType.U64,
    "HV_KVP_EXCHANGE_MAX_KEY_SIZE": kvp.MAX_KEY_SIZE,
    "HV_KVP_EXCHANGE_MAX_VALUE_SIZE": kvp.MAX_VALUE_SIZE,
    **{f"VSS_OP_{operation.name}": operation for operation in vss.VssOperation},
    "VMBUS_RQST_INIT": vstor.INIT_TRANSACTION,
    "VMBUS_RQST_RESET": vstor.RESET_TRANSACTION,
    **{f"HV_{device.name}": number for number, device in enumerate((*guids.DEVICE_TYPES, guids.UNKNOWN))},
}

RING_CONSTANTS = {
    "VM_PKT_DATA_INBAND",
    "VM_PKT_DATA_USING_XFER_PAGES",
    "VM_PKT_DATA_USING_GPA_DIRECT",
    "VM_PKT_COMP",
    "VMBUS_DATA_PACKET_FLAG_COMPLETION_REQUESTED",
    "MAX_PAGE_BUFFER_COUNT",
    "MAX_MULTIPAGE_BUFFER_COUNT",
    "MAX_PAGE_BUFFER_PACKET",
    "MAX_MULTIPAGE_BUFFER_PACKET",
}
"""In test_rings_match_linux.py."""

CONSTANTS_NOT_SPOKEN = {
    # Bounds and names of the kernel's own, without a counterpart in a message.
    "CHANNELMSG_INVALID",
    "CHANNELMSG_COUNT",
    "MAX_PIPE_USER_DEFINED_BYTES",
    "HV_SYNIC_VERSION_1",
    "GPADL_TYPE_RING_BUFFER",
    "GPADL_TYPE_SERVER_SAVE_AREA",
    "GPADL_TYPE_TRANSACTION",
    # netvsc's transaction id for "do not answer".
    "VMBUS_RQST_ID_NO_RESPONSE",
    # Packet types that nobody sends.
    "VM_PKT_INVALID",
    "VM_PKT_SYNCH",
    "VM_PKT_ADD_XFER_PAGESET",
    "VM_PKT_RM_XFER_PAGESET",
    "VM_PKT_ESTABLISH_GPADL",
    "VM_PKT_TEARDOWN_GPADL",
    "VM_PKT_DATA_USING_GPADL",
    "VM_PKT_CANCEL_REQUEST",
    "VM_PKT_DATA_USING_ADDITIONAL_PKT",
    "VM_PKT_ADDITIONAL_DATA",
    # The same facts as the masks, which are checked; and the reserved bits, which have a test of their own.
    "HV_HYPERCALL_VARHEAD_OFFSET",
    "HV_HYPERCALL_REP_COMP_OFFSET",
    "HV_HYPERCALL_REP_START_OFFSET",
    "HV_HYPERCALL_RSVD_MASK",
}


def test_no_constant_of_linux_is_left_out(linux: Linux) -> None:
    assert {*CONSTANTS, *RING_CONSTANTS, *CONSTANTS_NOT_SPOKEN} == linux["constants"].keys()


def test_constants_have_the_values_of_linux(linux: Linux) -> None:
    assert {name: linux["constants"][name] for name in CONSTANTS} == CONSTANTS


def test_reserved_bits_of_the_hypercall_control_word_are_refused(linux: Linux) -> None:
    reserved = linux["constants"]["HV_HYPERCALL_RSVD_MASK"]
    # The TLFS has since given bit 31 a meaning: the call is for the nested hypervisor.
    for bit in (bit for bit in range(64) if reserved >> bit & 1 and bit != 31):
        with pytest.raises(hypercall.BadHypercall) as refused:
            hypercall.ControlWord.decode(1 << bit)
        assert refused.value.status is hypercall.Status.INVALID_HYPERCALL_INPUT


def test_guids_have_the_bytes_of_linux(linux: Linux) -> None:
    ours = {name: value.bytes_le.hex() for name, value in vars(guids).items() if name.endswith("_GUID")}
    assert ours == linux["guids"]
