"""Protocol versions and feature flags: together the dialect that two ends speak."""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Self


class Version(IntEnum):
    """Major number in the upper half, minor in the lower (``VERSION_*`` of linux/hyperv.h; 6.0 from OpenVMM).

    The server takes an exact match with its list or refuses; there is no "choose the lower". Linux tries from the
    newest it knows downwards and never below Windows 8.
    """

    WS2008 = 0x0000_000D
    WIN7 = 0x0001_0001
    WIN8 = 0x0002_0004
    WIN8_1 = 0x0003_0000
    WIN10 = 0x0004_0000
    WIN10_RS3 = 0x0004_0001
    V5_0 = 0x0005_0000
    V5_1 = 0x0005_0001
    V5_2 = 0x0005_0002
    V5_3 = 0x0005_0003
    V6_0 = 0x0006_0000

    @property
    def text(self) -> str:
        """As people write it: ``"5.3"``."""
        return f"{self >> 16}.{self & 0xFFFF}"

    @classmethod
    def of(cls, text: str) -> Self:
        """The version that people write as ``text``. Raises ``ValueError`` if there is none."""
        major, _, minor = text.partition(".")
        return cls(int(major) << 16 | int(minor))


class Feature(IntFlag):
    """What 6.0 added: asked for in INITIATE_CONTACT, granted in VERSION_RESPONSE (OpenVMM, ``FeatureFlags``)."""

    GUEST_SPECIFIED_SIGNAL_PARAMETERS = 0x1
    CHANNEL_INTERRUPT_REDIRECTION = 0x2
    MODIFY_CONNECTION = 0x4
    CLIENT_ID = 0x8
    CONFIDENTIAL_CHANNELS = 0x10
    PAUSE_RESUME = 0x20
    SERVER_SPECIFIED_MONITOR_PAGES = 0x40
    GPA_PINNING = 0x80


NO_FEATURE = Feature(0)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What was negotiated. Decides which messages may be sent and which of their forms."""

    version: Version
    features: Feature = NO_FEATURE
