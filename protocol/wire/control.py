"""Control messages: the registry, the 8-byte header, and which form of a message a dialect has.

A control message is the payload of a SynIC message of type 1 (host to guest) or of HvPostMessage (guest to host), at
most 240 bytes. Receivers take longer messages than they know (UEFI guests post 240 bytes for everything) and refuse
shorter ones, as ``vmbus_on_msg_dpc`` and OpenVMM's ``Message::parse`` do.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

from protocol.errors import PeerError
from protocol.wire.fields import Field, bit0, guid, raw, u8, u16, u32, u64, words
from protocol.wire.layout import DoesNotFit, Layout, Readable, ShortMessage, specs_of
from protocol.wire.versions import NO_FEATURE, Dialect, Feature, Version

HEADER_SIZE = 8
_HEADER = struct.Struct("<I4x")

REGISTRY: "dict[int, type[ControlMessage]]" = {}
"""Message number (``CHANNELMSG_*``) to class."""


class UnknownMessage(PeerError):
    """A message number that no version of the protocol has."""

    def __init__(self, number: int) -> None:
        super().__init__(f"control message {number} does not exist")
        self.number = number


class ControlMessage:
    """Base of the 29 messages. The class attributes are what the protocol says about the message as such."""

    __slots__ = ()
    number: ClassVar[int]
    name: ClassVar[str]
    to_host: ClassVar[bool]
    since: ClassVar[Version]
    feature: ClassVar[Feature]
    disconnected: ClassVar[bool]
    specs: ClassVar[dict[str, Field]]
    layouts: ClassVar[dict[tuple[str, ...], Layout]]

    def form_to_send(self, dialect: Dialect) -> tuple[int, int]:
        """(version, features) that decide which fields this message carries."""
        return dialect.version, dialect.features

    @classmethod
    def form_received(cls, data: Readable, dialect: Dialect) -> tuple[int, int]:
        """The same for a message that came in."""
        return dialect.version, dialect.features

    @classmethod
    def layout(cls, version: int, features: int = 0) -> Layout:
        """The layout of the form that this version with these features has."""
        present = {field: spec for field, spec in cls.specs.items() if spec.exists_in(version, features)}
        key = tuple(present)
        if key not in cls.layouts:
            cls.layouts[key] = Layout(cls.name, present, start=HEADER_SIZE)
        return cls.layouts[key]

    def values(self, layout: Layout) -> tuple[Any, ...]:
        """Attributes in layout order. A value that this form has no room for is refused, not lost."""
        defaults = type(self).__dataclass_fields__  # type: ignore[attr-defined]
        for field in self.specs.keys() - layout.fields.keys():
            if getattr(self, field) != defaults[field].default:
                raise DoesNotFit(f"{self.name}.{field}: this dialect has no such field")
        return layout.values_of(self)

    @classmethod
    def built(cls, layout: Layout, data: Readable) -> Self:
        return cls(**dict(zip(layout.fields, layout.unpack(data), strict=True)))


M = TypeVar("M", bound=ControlMessage)


@dataclass_transform(frozen_default=True, field_specifiers=(u8, u16, u32, u64, bit0, guid, raw, words))
def message(
    number: int,
    name: str,
    *,
    to_host: bool,
    since: Version = Version.WS2008,
    feature: Feature = NO_FEATURE,
    disconnected: bool = False,
) -> Callable[[type[M]], type[M]]:
    """Declare a control message: its number, the kernel's name for it, who sends it, and from which dialect on."""

    def declare(cls: type[M]) -> type[M]:
        made = dataclass(frozen=True, slots=True)(cls)
        made.number, made.name, made.to_host = number, name, to_host
        made.since, made.feature, made.disconnected = since, feature, disconnected
        made.specs, made.layouts = specs_of(made), {}
        REGISTRY[number] = made
        return made

    return declare


def may_send(kind: type[ControlMessage], dialect: Dialect | None) -> bool:
    """Whether the message exists in this dialect; ``None`` is the state before a version is agreed on."""
    if dialect is None:
        return kind.disconnected
    return dialect.version >= kind.since and dialect.features & kind.feature == kind.feature


def encode(message: ControlMessage, dialect: Dialect) -> bytes:
    """The whole message, header included. Raises DoesNotFit."""
    layout = message.layout(*message.form_to_send(dialect))
    return _HEADER.pack(message.number) + layout.pack(*message.values(layout))


def decode(data: Readable, dialect: Dialect) -> ControlMessage:
    """The message that the peer sent. INITIATE_CONTACT carries its own version; for it ``dialect`` does not matter.

    Raises ShortMessage and UnknownMessage. Whether it may be sent now is the receiver's question (``may_send``).
    """
    if len(data) < HEADER_SIZE:
        raise ShortMessage("control message", "header", HEADER_SIZE, len(data))
    (number,) = _HEADER.unpack_from(data)
    kind = REGISTRY.get(number)
    if kind is None:
        raise UnknownMessage(number)
    return kind.built(kind.layout(*kind.form_received(data, dialect)), data)
