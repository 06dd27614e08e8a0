"""Keyboard and mouse as kinds of devices."""

from host.vsp.input.keyboard import Keyboard
from host.vsp.input.mouse import Mouse
from host.vsp.kind import Kind, at_once
from host.vsp.periodic import Repeated

KEYBOARD = Kind(
    Repeated,
    lambda setting, options: Keyboard(setting.services, options.every / setting.time_scale),
    {"type_text": at_once(Keyboard.type_text), "press": at_once(Keyboard.press)},
)
MOUSE = Kind(
    Repeated,
    lambda setting, options: Mouse(setting.services, options.every / setting.time_scale),
    {"move": at_once(Mouse.move), "click": at_once(Mouse.click)},
)
