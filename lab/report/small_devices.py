"""Keyboard, mouse and balloon: what the host counted against what the driver did (L7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from guest.drivers.hid_hyperv.driver import MouseWords
from guest.drivers.hv_balloon.words import BalloonWords
from guest.drivers.hyperv_keyboard.driver import KeyboardWords
from guest.kernel.memory import Struct
from lab.report.check import Check
from lab.report.cut import Cut

COUNTED: Final[Mapping[str, tuple[type[Struct], Mapping[str, Callable[[Any], int]]]]] = {
    "keyboard": (KeyboardWords, {"events": lambda words: words.makes + words.breaks}),
    "mouse": (MouseWords, {"reports": lambda words: words.reports}),
    "balloon": (
        BalloonWords,
        {
            "ballooned_pages": lambda words: words.num_pages_ballooned,
            "status_reports": lambda words: words.status_reports,
        },
    ),
}
"""By kind of device: where its driver counts, and what is to be equal to which of the host's counts."""


def checks(cut: Cut) -> Iterator[Check]:
    """Of channels that were opened once: what is on its way may die with its channel."""
    once = cut.opened_once()
    for name, kind, counts in cut.devices(*COUNTED):
        if name not in once:
            continue
        struct, equal = COUNTED[kind]
        words = cut.guest.driver_words(once[name], struct)
        for what, of_guest in equal.items():
            yield Check(f"{name} {what}", "host", counts[what], "guest", of_guest(words), "L7")
