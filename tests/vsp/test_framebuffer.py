"""Synthetic video of the host: the handshake, the picture, and guests that describe impossible ones."""

from __future__ import annotations

import pytest

from host.vsp.testing import Clock, Loopback
from host.vsp.video.framebuffer import FEATURE_DELAY, MMIO_MEGABYTES, Framebuffer
from protocol.errors import OperatorError
from protocol.ring import PacketType
from protocol.shell.memory import GuestRam
from protocol.wire import synthvid
from protocol.wire.synthvid import (
    WIN10,
    Rectangle,
    Resolution,
    SituationUpdate,
    VersionRequest,
    VidMessage,
    VramLocation,
)

SMALL = Resolution(64, 32)
VRAM = 200 * 4096


class Guest:
    """hyperv_fb."""

    def __init__(self, ram: GuestRam, device: Framebuffer) -> None:
        self.channel = Loopback(ram, range(1, 11), range(11, 21))
        self.channel.open(device)

    def say(self, type: VidMessage, body: bytes) -> None:
        self.channel.send(PacketType.IN_BAND, synthvid.message(type, body))

    def hear(self) -> list[tuple[int, bytes]]:
        messages = [synthvid.parse(packet.payload) for packet in self.channel.receive()]
        return [(header.type, body[: header.size - 8]) for header, body in messages]

    def show(self, situation: SituationUpdate) -> None:
        self.say(VidMessage.VERSION_REQUEST, VersionRequest(WIN10).encode())
        self.say(VidMessage.VRAM_LOCATION, VramLocation(7, 1, VRAM).encode())
        self.say(VidMessage.SITUATION_UPDATE, situation.encode())


def test_each_step_is_answered(ram: GuestRam) -> None:
    device = Framebuffer(Clock())
    guest = Guest(ram, device)
    guest.show(SituationUpdate.of(SMALL))
    version, vram, situation = guest.hear()
    assert version == (VidMessage.VERSION_RESPONSE, synthvid.VersionResponse(WIN10, 1).encode())
    assert vram == (VidMessage.VRAM_LOCATION_ACK, synthvid.Ack(7).encode())
    assert situation == (VidMessage.SITUATION_UPDATE_ACK, synthvid.Ack(0).encode())


def test_the_list_of_resolutions_has_room_for_64(ram: GuestRam) -> None:
    modes = (Resolution(800, 600), Resolution(640, 480))
    guest = Guest(ram, Framebuffer(Clock(), modes))
    guest.say(VidMessage.VERSION_REQUEST, VersionRequest(WIN10).encode())
    guest.say(VidMessage.RESOLUTION_REQUEST, synthvid.ResolutionRequest().encode())
    guest.say(VidMessage.RESOLUTION_REQUEST, synthvid.ResolutionRequest(63).encode())
    _, (_, whole), (_, none) = guest.hear()
    assert len(whole) == 131 + 64 * 4
    assert synthvid.parse_resolutions(whole) == modes
    assert synthvid.parse_resolutions(none) == ()


def test_the_host_wants_to_be_told_of_changes_once_there_is_a_picture(ram: GuestRam) -> None:
    clock = Clock()
    device = Framebuffer(clock)
    guest = Guest(ram, device)
    with pytest.raises(OperatorError, match="hyperv_fb"):
        device.watch()
    guest.show(SituationUpdate.of(SMALL))
    guest.hear()
    clock.advance(FEATURE_DELAY)
    assert guest.hear() == [(VidMessage.FEATURE_CHANGE, synthvid.FeatureChange().encode())]
    guest.say(VidMessage.SITUATION_UPDATE, SituationUpdate.of(SMALL).encode())
    guest.hear()
    clock.advance(60)
    assert guest.hear() == [], "it has said so once"
    guest.say(VidMessage.DIRT, synthvid.dirt([Rectangle(0, 0, 1, 1), Rectangle(0, 0, 64, 16)]))
    assert device.counts()["dirt"] == 1
    assert device.last_dirt == Rectangle(0, 0, 64, 16)


def test_the_picture_is_read_from_the_guests_memory(ram: GuestRam) -> None:
    device = Framebuffer(Clock())
    guest = Guest(ram, device)
    assert device.picture() is None
    guest.show(SituationUpdate(0, 1, 1, 256, 32, 2, 2, 16))
    start = VRAM + 256
    ram.bytes[start : start + 32] = bytes(range(32))
    assert device.picture() == bytes(range(8)) + bytes(range(16, 24))


def test_a_picture_in_address_space_without_memory_is_not_read(ram: GuestRam) -> None:
    device = Framebuffer(Clock())
    guest = Guest(ram, device)
    guest.show(SituationUpdate.of(SMALL))
    guest.say(VidMessage.VRAM_LOCATION, VramLocation(0, 1, 0xC000_0000).encode())
    assert device.picture() is None


@pytest.mark.parametrize(
    "impossible",
    [
        SituationUpdate(0, 1, 1, 0, 32, 64, 32, 64),
        SituationUpdate(0, 1, 1, 0, 32, 64, 32, 0),
        SituationUpdate(0, 1, 1, MMIO_MEGABYTES << 20, 32, 64, 32, 256),
        SituationUpdate(0, 1, 1, 0, 32, 2**32 - 1, 2**32 - 1, 2**32 - 1),
    ],
)
def test_an_impossible_picture_is_complained_about_and_not_shown(ram: GuestRam, impossible: SituationUpdate) -> None:
    clock = Clock()
    device = Framebuffer(clock)
    guest = Guest(ram, device)
    guest.show(impossible)
    assert "is no picture" in str(clock.complaints[0])
    assert device.picture() is None
    guest.say(VidMessage.SITUATION_UPDATE, SituationUpdate.of(SMALL).encode())
    assert device.picture() is not None


@pytest.mark.parametrize(
    ("type", "body"),
    [
        (VidMessage.DIRT, b"\0\5"),
        (VidMessage.VRAM_LOCATION, b"short"),
        (VidMessage.FEATURE_CHANGE, bytes(4)),
        (99, b""),
    ],
)
def test_what_makes_no_sense_is_complained_about(ram: GuestRam, type: VidMessage, body: bytes) -> None:
    clock = Clock()
    guest = Guest(ram, Framebuffer(clock))
    guest.show(SituationUpdate.of(SMALL))
    guest.say(type, body)
    assert len(clock.complaints) == 1


def test_nothing_is_served_before_a_version_is_agreed(ram: GuestRam) -> None:
    clock = Clock()
    guest = Guest(ram, Framebuffer(clock))
    guest.say(VidMessage.VERSION_REQUEST, VersionRequest(synthvid.version(9, 9)).encode())
    assert guest.hear() == [(VidMessage.VERSION_RESPONSE, synthvid.VersionResponse(synthvid.version(9, 9), 0).encode())]
    guest.say(VidMessage.SITUATION_UPDATE, SituationUpdate.of(SMALL).encode())
    assert "before a version is agreed" in str(clock.complaints[1])
    assert guest.hear() == []
