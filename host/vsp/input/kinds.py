"""Keyboard and mouse as kinds of devices."""

from pydantic.dataclasses import dataclass

from host.plain import STRICT
from host.vsp.input.keyboard import Keyboard
from host.vsp.input.mouse import Mouse
from host.vsp.kind import Kind, at_once


@dataclass(frozen=True, slots=True, config=STRICT)
class InputOptions:
    """``every``: seconds between keys, or moves, that nobody makes; 0: there are none."""

    every: float = 0.0


KEYBOARD = Kind(
    InputOptions,
    lambda setting, options: Keyboard(setting.services, options.every / setting.time_scale),
    {"type_text": at_once(Keyboard.type_text), "press": at_once(Keyboard.press)},
)
MOUSE = Kind(
    InputOptions,
    lambda setting, options: Mouse(setting.services, options.every / setting.time_scale),
    {"move": at_once(Mouse.move), "click": at_once(Mouse.click)},
)
