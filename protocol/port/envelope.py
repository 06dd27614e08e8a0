"""The envelopes between the host and a VP port: msgpack arrays with sequence numbers in both directions.

Towards a port an envelope is ``[seq, flags, signals, kind, *fields]`` and towards the host
``[seq, delivered, kind, *fields]``. ``signals`` are the event flags and interrupts that ride along, each one integer;
``delivered`` is the highest sequence number whose signals the port has made visible. Both counters start at 1 and never
restart, so an envelope that is lost, repeated or reordered by a transport is noticed by the next one and named.
All integers are unsigned.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgpack

from protocol.errors import PeerError
from protocol.wire.synic import EVENT_FLAGS, SINT_COUNT

ACKNOWLEDGE = 1
"""Flag of an envelope to a port: say at once how far you have delivered."""

IPI = 1 << 24
"""Signals at and above this number are interrupt vectors (signal - IPI); below it ``sint << 16 | flag``."""
_FLAGS_END = SINT_COUNT << 16
_IPI_END = IPI + 256


class ToPort(IntEnum):
    """What the host says to a VP port, besides the signals that every envelope may carry."""

    SIGNALS = 0
    MESSAGE = 1  # sint, 256-byte message: put it into the slot
    ANSWER = 2  # 64-bit result of the call that the port is in
    FENCE = 3  # nothing but a request to acknowledge
    RESET = 4  # another VP has reset the VM: registers back to their reset values


class ToHost(IntEnum):
    """What a VP port says to the host. Calls stop the VP until they are answered, casts do not."""

    HELLO = 0  # cast: the port is there
    HYPERCALL = 1  # call: control word, rdx, r8
    CAST = 2  # the same without an answer: HvSignalEvent and interrupts, whose results Linux ignores
    REGISTER = 3  # call: SynIC register number, value
    RESET = 4  # call: the VM starts afresh
    TAKEN = 5  # cast: sint; the message is in its slot, or gone with a reset: the next may come. One for each MESSAGE
    ACK = 6  # cast: nothing but ``delivered``
    CRASH = 7  # cast: text; the guest panicked


class EnvelopeError(PeerError):
    """An envelope that the protocol does not allow here."""


class EnvelopeLost(EnvelopeError):
    """A sequence number was skipped."""


class EnvelopeRepeated(EnvelopeError):
    """A sequence number came twice."""


class EnvelopeReordered(EnvelopeError):
    """A sequence number that had been skipped came late."""


class Sequence:
    """The receiving end of one direction."""

    __slots__ = ("_missing", "last")

    def __init__(self) -> None:
        self.last = 0
        self._missing: set[int] = set()

    def check(self, number: int) -> None:
        """Accept the next number; anything else is an error that names what happened to the transport."""
        expected = self.last + 1
        if number == expected:
            self.last = number
            return
        if number > expected:
            self._missing.update(range(expected, min(number, expected + 1024)))
            self.last = number
            raise EnvelopeLost(f"envelope {expected} is missing: {number} came instead")
        if number in self._missing:
            self._missing.discard(number)
            raise EnvelopeReordered(f"envelope {number} came after {self.last}")
        raise EnvelopeRepeated(f"envelope {number} came again after {self.last}")


_pack = msgpack.Packer(use_bin_type=True).pack
_unpack = msgpack.unpackb

_TO_PORT: dict[int, tuple[type, ...]] = {
    ToPort.SIGNALS: (),
    ToPort.MESSAGE: (int, bytes),
    ToPort.ANSWER: (int,),
    ToPort.FENCE: (),
    ToPort.RESET: (),
}
_TO_HOST: dict[int, tuple[type, ...]] = {
    ToHost.HELLO: (),
    ToHost.HYPERCALL: (int, int, int),
    ToHost.CAST: (int, int, int),
    ToHost.REGISTER: (int, int),
    ToHost.RESET: (),
    ToHost.TAKEN: (int,),
    ToHost.ACK: (),
    ToHost.CRASH: (str,),
}


def to_port(number: int, flags: int, signals: list[int], kind: int, *fields: Any) -> bytes:
    """An envelope from the host to a port."""
    data: bytes = _pack((number, flags, signals, kind, *fields))
    return data


def to_host(number: int, delivered: int, kind: int, *fields: Any) -> bytes:
    """An envelope from a port to the host."""
    data: bytes = _pack((number, delivered, kind, *fields))
    return data


def _malformed(data: bytes, what: str) -> EnvelopeError:
    return EnvelopeError(f"{what}: {data[:32]!r}, {len(data)} bytes")


def _array(data: bytes) -> list[Any]:
    try:
        parts = _unpack(data)
    except Exception as error:
        raise _malformed(data, f"not an envelope ({type(error).__name__})") from None
    if type(parts) is not list:
        raise _malformed(data, "not an envelope")
    return parts


def _check_fields(data: bytes, kind: Any, fields: list[Any], table: dict[int, tuple[type, ...]]) -> None:
    types = table.get(kind) if type(kind) is int else None
    if types is None:
        raise _malformed(data, "unknown kind of envelope")
    if tuple(map(type, fields)) != types:
        raise _malformed(data, f"envelope of kind {kind} with other fields")
    for value in fields:
        if type(value) is int and value < 0:
            raise _malformed(data, f"envelope of kind {kind} with a negative number")


def read_to_port(data: bytes) -> list[Any]:
    """``[seq, flags, signals, kind, *fields]``, checked for form. Raises ``EnvelopeError``."""
    parts = _array(data)
    if len(parts) < 4 or type(parts[0]) is not int or type(parts[1]) is not int or type(parts[2]) is not list:
        raise _malformed(data, "malformed envelope to a port")
    for signal in parts[2]:
        if type(signal) is not int or not (
            (0 <= signal < _FLAGS_END and signal & 0xFFFF < EVENT_FLAGS) or IPI <= signal < _IPI_END
        ):
            raise _malformed(data, "envelope with a signal that no SynIC has")
    _check_fields(data, parts[3], parts[4:], _TO_PORT)
    return parts


def read_to_host(data: bytes) -> list[Any]:
    """``[seq, delivered, kind, *fields]``, checked for form. Raises ``EnvelopeError``."""
    parts = _array(data)
    if len(parts) < 3 or type(parts[0]) is not int or type(parts[1]) is not int:
        raise _malformed(data, "malformed envelope to the host")
    _check_fields(data, parts[2], parts[3:], _TO_HOST)
    return parts
