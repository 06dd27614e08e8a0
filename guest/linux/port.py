"""The VP port of a guest that runs beside us, on another processor, while we touch its pages."""

from __future__ import annotations

from collections.abc import Callable

from protocol.ids import Sint, VpIndex
from protocol.port.vp_port import VpPort, Wire
from protocol.ram import Ram
from protocol.ring import Fence

FetchOr = Callable[[int, int], int]
"""Atomic OR of bits into a 64-bit word of guest RAM, by index; its value before."""


class LinuxPort(VpPort):
    """Event flags are set by a locked instruction, and vectors go to the VP's local APIC at once.

    So the guest may clear a flag at any moment, and the rule of the TLFS still holds: an interrupt if it was 0.
    """

    def __init__(
        self,
        vp: VpIndex,
        ram: Ram,
        wire: Wire,
        fetch_or: FetchOr,
        fence: Fence,
        interrupt: Callable[[Sint], None],
    ) -> None:
        super().__init__(vp, ram, wire)
        self._fetch_or = fetch_or
        self._fence = fence
        self._interrupt = interrupt

    def raise_vector(self, vector: int) -> None:
        """Send the vector of a SINT; a local APIC keeps and merges what is pending.

        Raises ValueError for other vectors: this guest is not offered the hypercall that would raise one.
        """
        self._interrupt(Sint(self._vectors.index(vector)))
        self.counts.vectors_raised += 1

    def _set_flag(self, word: int, bit: int) -> bool:
        return not self._fetch_or(word, bit) & bit

    def _full_fence(self) -> None:
        self._fence()
