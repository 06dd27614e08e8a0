"""The host's end of synthetic video (OpenVMM uidevices; the guest is hyperv_fb.c)."""

from typing import Final
from uuid import UUID

from host.vsp.device import Offer, Services, Timer, VspChannel
from host.vsp.ic.offers import MESSAGE_PIPE
from host.vsp.single_channel import SingleChannel
from protocol.errors import OperatorError, PeerError
from protocol.ram import Ram
from protocol.wire.guids import HV_SYNTHVID_GUID
from protocol.wire.offers import ChannelFlags
from protocol.wire.synthvid import (
    MAX_RESOLUTIONS,
    VERSIONS,
    Ack,
    FeatureChange,
    Rectangle,
    Resolution,
    ResolutionRequest,
    SituationUpdate,
    VersionRequest,
    VersionResponse,
    VidMessage,
    VramLocation,
    message,
    parse,
    parse_dirt,
    resolutions,
)

INSTANCE: Final = UUID("5620e0c7-8062-4dce-aeb7-520c7ef76171")
MMIO_MEGABYTES: Final = 8
RESOLUTIONS: Final = (Resolution(1024, 768), Resolution(1280, 1024))
FEATURE_DELAY: Final = 0.01
"""Seconds from the first picture to the wish to be told of changes.

So Linux hears of it while its console takes the frame buffer over, and does not answer. That makes six interrupts in
all, as many as the table in the RFC's cover letter shows.
"""


class Framebuffer(SingleChannel):
    """Knows where the frame buffer is and what of it has changed. Its pixels are read when somebody asks.

    With ``watched`` the host asks for changes a moment after the first situation update; without, Linux is silent then.
    """

    name = "framebuffer"

    def __init__(
        self,
        services: Services,
        modes: tuple[Resolution, ...] = RESOLUTIONS,
        watched: bool = True,
    ) -> None:
        flags = ChannelFlags.ENUMERATE_DEVICE_INTERFACE | ChannelFlags.NAMED_PIPE_MODE
        super().__init__(
            services, Offer(HV_SYNTHVID_GUID, INSTANCE, flags, MESSAGE_PIPE, mmio_megabytes=MMIO_MEGABYTES)
        )
        self._modes = modes
        self._watched = watched
        self._timer: Timer | None = None
        self._ram: Ram | None = None
        self._dirt_messages = self._situations = self._pointers = 0
        self.last_dirt: Rectangle | None = None
        self.reset()

    def counts(self) -> dict[str, int]:
        shown = self.situation
        return {
            "dirt": self._dirt_messages,
            "situations": self._situations,
            "pointers": self._pointers,
            "width": shown.width if shown else 0,
            "height": shown.height if shown else 0,
            "vram_gpa": self.vram_gpa or 0,
        }

    def open(self, channel: VspChannel, user_data: bytes) -> None:
        self._ram = channel.ram
        super().open(channel, user_data)

    def reset(self) -> None:
        self.version: int | None = None
        self.vram_gpa: int | None = None
        """Where the guest draws; None until it has said so."""
        self.situation: SituationUpdate | None = None
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def watch(self, dirt: bool = True) -> None:
        """Ask the guest to tell of changes, or not to. It says at once what it shows and where its pointer is.

        Raises OperatorError before the guest shows anything.
        """
        if self.situation is None:
            raise OperatorError("the guest shows no picture: is its hyperv_fb driver loaded?")
        self.post(message(VidMessage.FEATURE_CHANGE, FeatureChange(int(dirt)).encode()))

    def picture(self) -> bytes | None:
        """The pixels, line by line without the ends of longer lines; None if they are not in the guest's memory."""
        shown, ram = self.situation, self._ram
        if shown is None or not shown.active or ram is None or self.vram_gpa is None:
            return None
        start = self.vram_gpa + shown.vram_offset
        if start + shown.pitch * shown.height > len(ram.bytes):
            return None
        lines = range(start, start + shown.pitch * shown.height, shown.pitch)
        return b"".join(bytes(ram.bytes[line : line + shown.width * shown.depth_bits // 8]) for line in lines)

    def receive(self, payload: bytes) -> None:
        header, body = parse(payload)
        if self.version is None and header.type != VidMessage.VERSION_REQUEST:
            raise PeerError(f"framebuffer: message {header.type} before a version is agreed")
        match header.type:
            case VidMessage.VERSION_REQUEST:
                self._agree(VersionRequest.decode(body).version)
            case VidMessage.RESOLUTION_REQUEST:
                self._list_modes(ResolutionRequest.decode(body).maximum_count)
            case VidMessage.VRAM_LOCATION:
                location = VramLocation.decode(body)
                self.vram_gpa = location.vram_gpa if location.is_vram_gpa_specified else None
                self.post(message(VidMessage.VRAM_LOCATION_ACK, Ack(location.user_ctx).encode()))
            case VidMessage.SITUATION_UPDATE:
                self._show(SituationUpdate.decode(body))
            case VidMessage.POINTER_POSITION | VidMessage.POINTER_SHAPE:
                self._pointers += 1
            case VidMessage.DIRT:
                for self.last_dirt in parse_dirt(body):
                    pass
                self._dirt_messages += 1
            case other:
                raise PeerError(f"framebuffer: message {other} from the guest")

    def _agree(self, version: int) -> None:
        self.version = version if version in VERSIONS else None
        answer = VersionResponse(version, int(self.version is not None))
        self.post(message(VidMessage.VERSION_RESPONSE, answer.encode()))
        if self.version is None:
            raise PeerError(f"framebuffer: version {version:#x} from the guest")

    def _list_modes(self, at_most: int) -> None:
        """OpenVMM gives no list to a guest that has no room for all 64."""
        modes = self._modes if at_most >= MAX_RESOLUTIONS else ()
        self.post(message(VidMessage.RESOLUTION_RESPONSE, resolutions(modes)))

    def _show(self, situation: SituationUpdate) -> None:
        size = situation.vram_offset + situation.pitch * situation.height
        self.post(message(VidMessage.SITUATION_UPDATE_ACK, Ack(situation.user_ctx).encode()))
        line = max(1, situation.width * situation.depth_bits // 8)
        if situation.active and (size > MMIO_MEGABYTES << 20 or situation.pitch < line):
            raise PeerError(f"framebuffer: {situation} is no picture in {MMIO_MEGABYTES} MiB")
        first = self.situation is None
        self.situation = situation
        self._situations += 1
        if first and self._watched:
            self._timer = self._services.call_later(FEATURE_DELAY, self.watch)
