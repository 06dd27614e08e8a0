"""Synthetic video as a kind of device."""

from pydantic.dataclasses import dataclass

from host.plain import STRICT
from host.vsp.kind import Kind, at_once
from host.vsp.video.framebuffer import RESOLUTIONS, Framebuffer
from protocol.wire.synthvid import Resolution


@dataclass(frozen=True, slots=True, config=STRICT)
class FramebufferOptions:
    """``modes``: width and height of each, the first is the default. ``watched``: somebody looks at the screen."""

    modes: tuple[Resolution, ...] = RESOLUTIONS
    watched: bool = True


FRAMEBUFFER = Kind(
    FramebufferOptions,
    lambda setting, options: Framebuffer(setting.services, options.modes, options.watched),
    {"watch": at_once(Framebuffer.watch), "picture": at_once(Framebuffer.picture)},
)
