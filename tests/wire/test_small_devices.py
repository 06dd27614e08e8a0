"""Layouts of the small synthetic devices: as bytes, as their drivers in Linux 6.1 declare them; and round trips."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import PeerError
from protocol.wire import dynmem, kvp, synthhid, synthkbd, synthvid
from protocol.wire.dynmem import DmType, PageRange
from protocol.wire.layout import DoesNotFit, Layout

U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
RANGES = st.lists(st.builds(PageRange, st.integers(0, 2**40 - 1), st.integers(0, 2**24 - 1)), max_size=510)

SIZES = [
    # drivers/hv/hv_balloon.c, without the dm_header of 8 bytes
    (dynmem.DmHeader.layout, 8),
    (dynmem.VersionRequest.layout, 8),
    (dynmem.Accepted.layout, 8),
    (dynmem.Capabilities.layout, 24),
    (dynmem.Status.layout, 40),
    (dynmem.BalloonRequest.layout, 8),
    (dynmem.MaxPageCount.layout, 24),
    # drivers/input/serio/hyperv-keyboard.c
    (synthkbd.ProtocolRequest.layout, 8),
    (synthkbd.ProtocolResponse.layout, 8),
    (synthkbd.Keystroke.layout, 12),
    # drivers/hid/hid-hyperv.c, without the synthhid_msg_hdr of 8 bytes
    (synthhid.HidHeader.layout, 8),
    (synthhid.ProtocolRequest.layout, 4),
    (synthhid.ProtocolResponse.layout, 5),
    (synthhid.DeviceInfo.layout, 32 + 9),
    (synthhid.DeviceInfoAck.layout, 1),
    (synthhid.MouseReport.layout, 7),
    # drivers/video/fbdev/hyperv_fb.c, without the synthvid_msg_hdr of 8 bytes
    (synthvid.VersionResponse.layout, 6),
    (synthvid.VramLocation.layout, 17),
    (synthvid.SituationUpdate.layout, 8 + 1 + 18 + 4 - 4),
    (synthvid.PointerPosition.layout, 10),
    (synthvid.PointerShape.layout, 22),
    (synthvid.FeatureChange.layout, 4),
    (synthvid.ResolutionHeader.layout, 131),
    (synthvid.DirtHeader.layout, 2),
]


@pytest.mark.parametrize(("layout", "size"), SIZES, ids=[layout.name for layout, _ in SIZES])
def test_structures_are_as_large_as_the_drivers_have_them(layout: Layout, size: int) -> None:
    assert layout.size == size


@given(RANGES, st.booleans())
def test_ranges_round_trip(ranges: list[PageRange], more: bool) -> None:
    for kind in (dynmem.BalloonResponse, dynmem.UnballoonRequest):
        whole = kind(tuple(ranges), more)
        assert kind.decode(whole.encode()) == whole


def test_a_range_has_40_bits_of_frame_and_24_bits_of_pages() -> None:
    body = dynmem.BalloonResponse((PageRange(0x12_3456_789A, 0xBC_DEF0),), more=True).encode()
    assert body == bytes.fromhex("00000000 03000000 9a78563412 f0debc")
    assert dynmem.UnballoonRequest((), more=True).encode() == bytes.fromhex("01000000 00000000")


def test_as_many_ranges_as_are_allowed_fit_into_a_page() -> None:
    full = dynmem.BalloonResponse((PageRange(1, 1),) * dynmem.MAX_RANGES, more=False).encode()
    assert len(dynmem.message(DmType.BALLOON_RESPONSE, full)) == dynmem.MAX_MESSAGE


@given(st.binary(max_size=100), U32, st.integers(0, 7))
def test_dynamic_memory_messages_come_out_without_the_rings_padding(body: bytes, id: int, padding: int) -> None:
    header, found = dynmem.parse(dynmem.message(DmType.STATUS_REPORT, body, id) + bytes(padding))
    assert (header.type, header.transaction, found) == (DmType.STATUS_REPORT, id, body)


@pytest.mark.parametrize("payload", [b"", b"\1\0\7\0\0\0\0\0", b"\1\0\11\0\0\0\0\0"])
def test_a_dynamic_memory_message_that_is_not_all_there_is_refused(payload: bytes) -> None:
    with pytest.raises(PeerError):
        dynmem.parse(payload)


def test_a_key_that_is_let_go_with_its_prefix() -> None:
    stroke = synthkbd.Keystroke(synthkbd.KbdMessage.EVENT, 0x4D, synthkbd.Key.BREAK | synthkbd.Key.E0)
    assert stroke.encode() == bytes.fromhex("03000000 4d00 0000 06000000")


def test_a_report_descriptor_of_five_buttons_two_axes_and_a_wheel() -> None:
    """HID 1.11, 6.2.2: a short item is a byte whose low two bits are the number of bytes that follow (3: four)."""
    items, at, depth, bits = [], 0, 0, 0
    count = size = 0
    data = synthhid.REPORT_DESCRIPTOR
    while at < len(data):
        length = (0, 1, 2, 4)[data[at] & 3]
        tag, value = data[at] & ~3, int.from_bytes(data[at + 1 : at + 1 + length], "little")
        items.append((tag, value))
        at += 1 + length
        depth += (tag == 0xA0) - (tag == 0xC0)
        size = value if tag == 0x74 else size
        count = value if tag == 0x94 else count
        bits += size * count if tag == 0x80 else 0
    assert at == len(data)
    assert depth == 0, "every collection ends"
    assert bits == 8 * synthhid.MouseReport.layout.size
    assert (0x24, synthhid.MAX_AXIS) in items
    assert data[14] == 0x29, "what Linux would otherwise repair (SA-167)"


def test_the_wheel_turns_both_ways() -> None:
    back = synthhid.MouseReport(synthhid.Button.LEFT, 1000, 2000, -3 & 0xFFFF)
    assert back.encode() == bytes.fromhex("01 e803 d007 fdff")


@pytest.mark.parametrize("cut", [b"", b"\1\0\0\0\4\0\0\0abcd", b"\1\0\0\0\x08\0\0\0\0\0\0\0\1\0\0\0"])
def test_a_message_of_the_mouse_that_is_not_all_there_is_refused(cut: bytes) -> None:
    with pytest.raises(PeerError):
        synthhid.parse(cut)


@given(st.lists(st.builds(synthvid.Resolution, U16, U16), max_size=64))
def test_resolutions_round_trip_with_the_default_in_front(modes: list[synthvid.Resolution]) -> None:
    assert synthvid.parse_resolutions(synthvid.resolutions(modes)) == tuple(modes)
    if len(modes) > 1:
        assert synthvid.parse_resolutions(synthvid.resolutions(modes, 1))[0] == modes[1]


@pytest.mark.parametrize(("count", "default", "size"), [(65, 0, 387), (2, 2, 387), (1, 0, 133)])
def test_a_list_of_resolutions_that_cannot_be_is_refused(count: int, default: int, size: int) -> None:
    header = synthvid.ResolutionHeader(count=count, default_index=default).encode()
    with pytest.raises(PeerError, match="resolutions"):
        synthvid.parse_resolutions(header.ljust(size, b"\0")[:size])


def test_dirt_is_two_bytes_and_rectangles_of_signed_numbers() -> None:
    body = synthvid.dirt([synthvid.Rectangle(-1, 0, 640, 480)])
    assert body == bytes.fromhex("00 01 ffffffff 00000000 80020000 e0010000")
    assert synthvid.parse_dirt(body) == (synthvid.Rectangle(-1, 0, 640, 480),)


def test_the_version_of_video_has_its_minor_in_the_upper_half() -> None:
    assert synthvid.VersionRequest(synthvid.WIN10).encode() == bytes.fromhex("0300 0500")


@given(st.text(max_size=200).filter(lambda text: "\0" not in text))
def test_texts_round_trip_in_utf_16(text: str) -> None:
    try:
        data = kvp.utf16(text, kvp.MAX_KEY_SIZE)
    except DoesNotFit:
        assert len(text.encode("utf-16-le")) > kvp.MAX_KEY_SIZE - 2
        return
    assert kvp.from_utf16(data.ljust(kvp.MAX_KEY_SIZE, b"\0"), len(data)) == text
