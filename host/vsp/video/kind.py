"""Synthetic video as a kind of device."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from host.plain import STRICT
from host.vsp.kind import Kind, at_once
from host.vsp.video.framebuffer import RESOLUTIONS, Framebuffer
from protocol.wire.synthvid import MAX_RESOLUTIONS, Resolution

Pixels = Annotated[int, Field(ge=1, le=0xFFFF)]


@dataclass(frozen=True, slots=True, config=STRICT)
class FramebufferOptions:
    """``modes``: width and height of each, the first is the default. ``watched``: somebody looks at the screen."""

    modes: Annotated[tuple[tuple[Pixels, Pixels], ...], Field(min_length=1, max_length=MAX_RESOLUTIONS)] = RESOLUTIONS
    watched: bool = True


FRAMEBUFFER = Kind(
    FramebufferOptions,
    lambda setting, options: Framebuffer(
        setting.services, tuple(Resolution(*mode) for mode in options.modes), options.watched
    ),
    {"watch": at_once(Framebuffer.watch), "picture": at_once(Framebuffer.picture)},
)
