"""What protocol/ring puts into shared memory lies where Linux 6.1's headers look for it."""

from typing import Any

from protocol.ids import PAGE_SIZE, Pfn
from protocol.ring import gpa_direct, memory, packet, transfer_pages
from protocol.wire.gpadl import GpaRange

Linux = dict[str, Any]


def field(data: bytes, place: list[int], base: int = 0) -> int:
    at, size = place
    return int.from_bytes(data[at - base : at - base + size], "little")


def test_control_page_lies_as_in_linux(linux: Linux) -> None:
    ring = linux["structs"]["hv_ring_buffer"]
    assert ring["fields"]["buffer"][0] == ring["size"] == PAGE_SIZE
    for word, name in (
        (memory.WRITE_INDEX, "write_index"),
        (memory.READ_INDEX, "read_index"),
        (memory.INTERRUPT_MASK, "interrupt_mask"),
        (memory.PENDING_SEND_SZ, "pending_send_sz"),
        (memory.FEATURE_BITS, "feature_bits.value"),
    ):
        assert ring["fields"][name] == [4 * word, 4]
    first, _ = ring["bits"]["feature_bits.feat_pending_send_sz"]
    assert 1 << first - 32 * memory.FEATURE_BITS == memory.FEATURE_PENDING_SEND_SZ


def test_packet_descriptor_lies_as_in_linux(linux: Linux) -> None:
    theirs = linux["structs"]["vmpacket_descriptor"]
    data = packet.DESCRIPTOR.pack(1, 2, 3, 4, 5)
    assert len(data) == theirs["size"]
    names = ("type", "offset8", "len8", "flags", "trans_id")
    assert [field(data, theirs["fields"][name]) for name in names] == [1, 2, 3, 4, 5]


def test_packet_types_have_the_numbers_of_linux(linux: Linux) -> None:
    constants = linux["constants"]
    assert constants["VM_PKT_DATA_INBAND"] == packet.PacketType.IN_BAND
    assert constants["VM_PKT_DATA_USING_XFER_PAGES"] == packet.PacketType.TRANSFER_PAGES
    assert constants["VM_PKT_DATA_USING_GPA_DIRECT"] == packet.PacketType.GPA_DIRECT
    assert constants["VM_PKT_COMP"] == packet.PacketType.COMPLETION
    assert constants["VMBUS_DATA_PACKET_FLAG_COMPLETION_REQUESTED"] == packet.COMPLETION_REQUESTED


def test_gpa_direct_header_lies_as_in_linux(linux: Linux) -> None:
    structs = linux["structs"]
    theirs, base = structs["vmdata_gpa_direct"]["fields"], structs["vmpacket_descriptor"]["size"]
    data = gpa_direct.encode([GpaRange(100, 8, (Pfn(77),))])
    at = theirs["range"][0] - base
    assert field(data, theirs["range_cnt"], base) == 1
    for struct, names in (
        ("gpa_range", ("byte_count", "byte_offset", "pfn_array")),
        ("hv_page_buffer", ("len", "offset", "pfn")),
        ("hv_multipage_buffer", ("len", "offset", "pfn_array")),
        ("hv_mpb_array", ("len", "offset", "pfn_array")),
    ):
        places = [structs[struct]["fields"][name][0] for name in names]
        assert [field(data[at:], [place, size]) for place, size in zip(places, (4, 4, 8), strict=True)] == [100, 8, 77]


def test_the_largest_gpa_direct_headers_of_linux_have_the_sizes_of_linux(linux: Linux) -> None:
    structs, constants = linux["structs"], linux["constants"]
    pages = [Pfn(n) for n in range(constants["MAX_PAGE_BUFFER_COUNT"])]
    single_pages = gpa_direct.encode([GpaRange(PAGE_SIZE, 0, (pfn,)) for pfn in pages])
    many_pages = gpa_direct.encode([GpaRange.whole_pages(pages[: constants["MAX_MULTIPAGE_BUFFER_COUNT"]])])
    for header, struct, constant in (
        (single_pages, "vmbus_channel_packet_page_buffer", "MAX_PAGE_BUFFER_PACKET"),
        (many_pages, "vmbus_channel_packet_multipage_buffer", "MAX_MULTIPAGE_BUFFER_PACKET"),
    ):
        assert packet.DESCRIPTOR.size + len(header) == structs[struct]["size"] == constants[constant]
    for struct in (
        "vmbus_channel_packet_page_buffer",
        "vmbus_channel_packet_multipage_buffer",
        "vmbus_packet_mpb_array",
    ):
        for name, generic in (("reserved", "reserved"), ("rangecount", "range_cnt"), ("range", "range")):
            assert structs[struct]["fields"][name][0] == structs["vmdata_gpa_direct"]["fields"][generic][0]


def test_transfer_page_header_lies_as_in_linux(linux: Linux) -> None:
    structs = linux["structs"]
    theirs, base = structs["vmtransfer_page_packet_header"]["fields"], structs["vmpacket_descriptor"]["size"]
    data = transfer_pages.encode(0xCAFE, [transfer_pages.TransferRange(100, 8)], sender_owns_set=1)
    assert field(data, theirs["xfer_pageset_id"], base) == 0xCAFE
    assert field(data, theirs["sender_owns_set"], base) == 1
    assert field(data, theirs["range_cnt"], base) == 1
    at = theirs["ranges"][0] - base
    ranges = structs["vmtransfer_page_range"]
    assert field(data[at:], ranges["fields"]["byte_count"]) == 100
    assert field(data[at:], ranges["fields"]["byte_offset"]) == 8
    assert len(data) == at + ranges["size"]
