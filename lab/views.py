"""Files of the guest's /proc, rendered from kernel memory."""

from __future__ import annotations

from collections.abc import Callable

from guest.irq.proc import show_interrupts, show_stat_intr
from lab.guest_view import GuestView
from protocol.errors import OperatorError


class Views:
    """The files that can be read in a running VM."""

    def __init__(self, guest: GuestView) -> None:
        self._files: dict[str, Callable[[], str]] = {
            "/proc/interrupts": lambda: show_interrupts(guest.irq, guest.online),
            "/proc/stat": lambda: show_stat_intr(guest.irq),
        }

    def paths(self) -> list[str]:
        """What there is to read."""
        return list(self._files)

    def cat(self, path: str) -> str:
        """The text of a file. Raises ``OperatorError`` for a path that is not there."""
        file = self._files.get(path)
        if file is None:
            raise OperatorError(f"{path} is not in this VM: there are {', '.join(self._files)}")
        return file()
