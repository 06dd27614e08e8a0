"""Devices that only Windows guests drive; Linux drops their offers, early (with the RFC's patch 1) or late."""

from collections.abc import Callable
from enum import Enum

from pydantic.dataclasses import dataclass

from host.plain import STRICT
from host.vsp.device import Offer, VspChannel
from host.vsp.kind import Kind, Setting
from protocol.wire.guids import HV_AVMA1_GUID, HV_AVMA2_GUID, HV_IMC_GUID, HV_RDV_GUID


class Purpose(Enum):
    """Automatic activation, old and new; remote desktop; remote desktop control."""

    AVMA1 = "avma1"
    AVMA2 = "avma2"
    RDV = "rdv"
    IMC = "imc"


_CLASSES = {
    Purpose.AVMA1: HV_AVMA1_GUID,
    Purpose.AVMA2: HV_AVMA2_GUID,
    Purpose.RDV: HV_RDV_GUID,
    Purpose.IMC: HV_IMC_GUID,
}


class Unsupported:
    """Nothing is served."""

    def __init__(self, offer: Offer) -> None:
        self.offer = offer

    def open(self, channel: VspChannel, user_data: bytes) -> None:
        """No guest of ours does that."""

    def close(self, done: Callable[[], None]) -> None:
        done()

    def doorbell(self) -> None:
        """Nothing is read."""

    def counts(self) -> dict[str, int]:
        return {}


@dataclass(frozen=True, slots=True, config=STRICT)
class UnsupportedOptions:
    """Which of the four it is."""

    purpose: Purpose = Purpose.AVMA1


def _make(setting: Setting, options: UnsupportedOptions) -> Unsupported:
    return Unsupported(Offer(_CLASSES[options.purpose], setting.instance_id))


UNSUPPORTED = Kind(UnsupportedOptions, _make)
