"""hyperv_fb: tells the host where the picture is. Here nobody draws, so the host is never told of a change."""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import Final

from guest.drivers.conversation import ConversationWords, ConversingDriver, answer, answered, opened, send
from guest.kernel.memory import Word
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.device import VmbusDevice
from guest.vmbus.errors import VmbusError
from protocol.wire.guids import HV_SYNTHVID_GUID
from protocol.wire.layout import Readable
from protocol.wire.synthvid import (
    VERSIONS,
    WIN10,
    Ack,
    FeatureChange,
    PointerPosition,
    PointerShape,
    Resolution,
    ResolutionRequest,
    SituationUpdate,
    VersionRequest,
    VersionResponse,
    VidMessage,
    VramLocation,
    message,
    parse,
    parse_resolutions,
)

RING_SIZE: Final = 256 * 1024
"""``RING_BUFSIZE``, each way."""
TIMEOUT: Final = 10.0
"""``VSP_TIMEOUT``, for each answer."""
DEFAULT: Final = Resolution(1152, 864)
"""``HVFB_WIDTH`` and ``HVFB_HEIGHT``, if the host has no list."""
FBCON_DELAY: Final = 0.1
"""Seconds until the console has taken the frame buffer over and set its mode again (``hvfb_set_par``)."""
LOW_MMIO: Final = 0xC000_0000
"""Where ``vmbus_allocate_mmio`` would find room; nothing is behind it."""


class FramebufferWords(ConversationWords):
    """``struct hvfb_par``."""

    answers = Word("probing CPU before it asks, channel callback after")
    """``wait``: answers to a version, to a request for resolutions, or to the place of the frame buffer."""
    synthvid_version = Word("probing CPU")
    is_accepted = Word("channel callback")
    width = Word("channel callback; probing CPU")
    height = Word("channel callback; probing CPU")
    vram_ack = Word("channel callback")
    fb_ready = Word("probing CPU")
    update = Word("channel callback")
    """The host wants to be told of changes."""
    feature_changes = Word("channel callback")
    situation_acks = Word("channel callback")


class HypervFb(ConversingDriver[FramebufferWords]):
    """``hvfb_drv`` on a Generation 2 VM."""

    name = "hyperv_fb"
    id_table = (HV_SYNTHVID_GUID,)
    words = FramebufferWords

    async def probe(self, device: VmbusDevice) -> None:
        """``hvfb_probe``. Raises ETIMEDOUT, or ENODEV if the host accepts no version."""
        channel = device.channel
        words = channel.state(FramebufferWords)
        words.fb_ready = 0
        async with opened(channel, RING_SIZE):
            await self._negotiate(channel, words)
            words.width, words.height = DEFAULT
            if words.synthvid_version == WIN10:
                request = ResolutionRequest().encode()
                await self._ask(channel, words, VidMessage.RESOLUTION_REQUEST, request)
            size = channel.offer.mmio_megabytes << 20
            self.bus.printk(
                f"hyperv_fb: Screen resolution: {words.width}x{words.height}, Color depth: 32, "
                f"Frame buffer size: {size}"
            )
            location = VramLocation(LOW_MMIO, 1, LOW_MMIO).encode()
            await self._ask(channel, words, VidMessage.VRAM_LOCATION, location)
            if words.vram_ack != LOW_MMIO:
                self.bus.printk("hyperv_fb: Unable to set VRAM location")
                raise VmbusError(errno.ENODEV, "the host acknowledges another place")
            self._show(channel, words)
            await self.core.sleep(FBCON_DELAY)
            self._show_situation(channel, words)
        words.fb_ready = 1

    async def remove(self, device: VmbusDevice) -> None:
        """``hvfb_remove``."""
        device.channel.state(FramebufferWords).fb_ready = 0
        await super().remove(device)

    async def _negotiate(self, channel: VmbusChannel, words: FramebufferWords) -> None:
        """``synthvid_connect_vsp``: the newest version, then the next; a silent host is not asked twice."""
        for version in VERSIONS:
            await self._ask(channel, words, VidMessage.VERSION_REQUEST, VersionRequest(version).encode())
            if words.is_accepted:
                words.synthvid_version = version
                major, minor = version & 0xFFFF, version >> 16
                self.bus.printk(f"hyperv_fb: Synthvid Version major {major}, minor {minor}")
                return
        self.bus.printk("hyperv_fb: Synthetic video device version not accepted")
        raise VmbusError(errno.ENODEV, "the host accepts no version of synthetic video")

    @staticmethod
    async def _ask(channel: VmbusChannel, words: FramebufferWords, type: VidMessage, body: bytes) -> None:
        words.answers = 0
        send(channel, message(type, body))
        await answer(channel, words, lambda: words.answers != 0, TIMEOUT)

    @staticmethod
    def _show(channel: VmbusChannel, words: FramebufferWords) -> None:
        """``synthvid_send_ptr`` and ``synthvid_send_situ``: what does not fit into the ring is not sent."""
        channel.send_packet(message(VidMessage.POINTER_POSITION, PointerPosition().encode()))
        channel.send_packet(message(VidMessage.POINTER_SHAPE, PointerShape().encode()))
        HypervFb._show_situation(channel, words)

    @staticmethod
    def _show_situation(channel: VmbusChannel, words: FramebufferWords) -> None:
        situation = SituationUpdate.of(Resolution(words.width, words.height))
        channel.send_packet(message(VidMessage.SITUATION_UPDATE, situation.encode()))

    def receive(self, channel: VmbusChannel, words: FramebufferWords, payload: Readable) -> None:
        """``synthvid_recv_sub``. Linux reads an answer when it wakes up, here what matters of it is kept."""
        header, body = parse(payload)
        match header.type:
            case VidMessage.VERSION_RESPONSE:
                words.is_accepted = VersionResponse.decode(body).is_accepted
            case VidMessage.RESOLUTION_RESPONSE:
                with suppress(IndexError):  # "No supported resolutions": the default stays
                    words.width, words.height = parse_resolutions(body)[0]
            case VidMessage.VRAM_LOCATION_ACK:
                words.vram_ack = Ack.decode(body).user_ctx
            case VidMessage.FEATURE_CHANGE:
                words.update = FeatureChange.decode(body).dirt
                words.feature_changes += 1
                if words.fb_ready:
                    self._show(channel, words)
                return
            case VidMessage.SITUATION_UPDATE_ACK:
                words.situation_acks += 1
                return
            case _:
                words.illegal += 1
                return
        words.answers += 1
        answered(channel, words)
