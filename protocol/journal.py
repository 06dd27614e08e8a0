"""Journal records: what happened, in order, as both shells write it.

A record is ``(time, who, event, fields)``: time in units of 100 ns of the VM's reference clock, who is ``host`` or
``cpu<n>``, the event a short word, the fields plain integers, texts and bytes. The journal of a process is a stream of
msgpack arrays; the journals of a run, merged by time, are its trace. The same records of a simulated run, in their
order, give its trace hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

import msgpack

from protocol.errors import OperatorError

Journal = Callable[..., None]
"""``journal(event, *fields)``, as cores are given it; a core without one writes nothing down."""


class Record(NamedTuple):
    """One event."""

    time: int
    who: str
    event: str
    fields: tuple[Any, ...]


_LARGEST_RECORD = 2**31 - 1
_LONGEST_ARRAY = 1 << 16
"""msgpack makes room for an array before it reads it, so bytes that are no journal must not name its length."""

_pack = msgpack.Packer(use_bin_type=True).pack


def pack(record: Record) -> bytes:
    """The bytes of one record."""
    data: bytes = _pack(tuple(record))
    return data


def unpack(data: bytes) -> Iterator[Record]:
    """The records in a byte string; a last record cut off by a sudden end is left out."""
    unpacker = msgpack.Unpacker(
        use_list=False, raw=False, max_buffer_size=max(len(data), _LARGEST_RECORD), max_array_len=_LONGEST_ARRAY
    )
    unpacker.feed(data)
    try:
        for item in unpacker:
            if type(item) is not tuple or tuple(map(type, item)) != (int, str, str, tuple):
                raise ValueError(item)
            yield Record(*item)
    except (msgpack.exceptions.UnpackException, TypeError, ValueError):
        raise OperatorError("this is not a journal: give a file that --trace wrote") from None


def merge(journals: Iterable[bytes]) -> list[Record]:
    """The records of several processes in one order. Equal times keep the order of their process."""
    return sorted((record for data in journals for record in unpack(data)), key=lambda record: record.time)


class Recorder:
    """Writes the records of one participant through ``write``; this is the ``journal`` that cores are given.

    With ``only``, events of other kinds are left out.
    """

    __slots__ = ("_now", "_only", "_who", "_write")

    def __init__(
        self, who: str, now: Callable[[], int], write: Callable[[bytes], object], only: Collection[str] = ()
    ) -> None:
        self._who = who
        self._now = now
        self._write = write
        self._only = frozenset(only)

    def __call__(self, event: str, *fields: Any) -> None:
        if not self._only or event in self._only:
            self._write(pack(Record(self._now(), self._who, event, fields)))


def digest(records: Iterable[Record]) -> str:
    """The trace hash: SHA-256 over the records in their order."""
    state = hashlib.sha256()
    for record in records:
        state.update(pack(record))
    return state.hexdigest()
