"""The offers of sub-channels: at once, or in an order of primaries that the host has decided on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from host.vsp.device import Device


class SubChannelOffers:
    """``offer(name, device)`` and ``rescind(name)`` are the machine's.

    The devices of ``order`` (names of offers) get theirs in this order: whoever asks early waits for those in front,
    until they have asked too or are closed. Everybody else is served at once, and so is whoever asks again.
    """

    def __init__(
        self, order: Sequence[str], offer: Callable[[str, Device], None], rescind: Callable[[str], None]
    ) -> None:
        self._order = tuple(order)
        self._offer = offer
        self._rescind = rescind
        self._offered: dict[str, list[str]] = {}
        self._held: dict[str, Sequence[Device]] = {}
        self._served: set[str] = set()

    def of(self, primary: str) -> PrimarysSubChannels:
        """What the device of that name is given."""
        return PrimarysSubChannels(self, primary)

    def ask(self, primary: str, devices: Sequence[Device]) -> None:
        """The guest wants these."""
        if primary in self._served or primary not in self._order:
            self._serve(primary, devices)
        else:
            self._held[primary] = devices
            self._advance()

    def withdraw(self, primary: str) -> None:
        """The primary is closed; its sub-channels go with it, and nobody waits for it any longer."""
        self._held.pop(primary, None)
        for name in self._offered.pop(primary, ()):
            self._rescind(name)
        self._served.add(primary)
        self._advance()

    def start_over(self) -> None:
        """The guest starts anew, and so does the order."""
        self._held.clear()
        self._served.clear()

    def _advance(self) -> None:
        for primary in self._order:
            if primary not in self._served:
                devices = self._held.pop(primary, None)
                if devices is None:
                    return
                self._served.add(primary)
                self._serve(primary, devices)

    def _serve(self, primary: str, devices: Sequence[Device]) -> None:
        names = self._offered.setdefault(primary, [])
        for device in devices:
            name = f"{primary}.{device.offer.sub_channel_index}"
            names.append(name)
            self._offer(name, device)


@dataclass(frozen=True, slots=True)
class PrimarysSubChannels:
    """A ``SubChannels``: what one primary can ask for."""

    offers: SubChannelOffers
    primary: str

    def offer(self, devices: Sequence[Device]) -> None:
        self.offers.ask(self.primary, devices)

    def withdraw(self) -> None:
        self.offers.withdraw(self.primary)
