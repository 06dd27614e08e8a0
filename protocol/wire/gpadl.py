"""A GPADL as ranges of pages, cut into messages of at most 240 bytes and put together again."""

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.errors import PeerError
from protocol.ids import PAGE_SIZE, GpadlId, Pfn, Relid
from protocol.wire.gpadl_messages import GpadlBody, GpadlHeader
from protocol.wire.layout import DoesNotFit

HEADER_WORDS = 27
"""u64 that fit behind the header's fields: one range with up to 26 pages."""
BODY_WORDS = 28
MAX_RANGE_BUFFER = 0xFFF8
"""The largest multiple of 8 that ``range_buflen`` can say: 8190 pages in one range."""


class BadGpadl(PeerError):
    """The range buffer of the peer does not describe memory."""


def pages_of(byte_count: int, byte_offset: int) -> int:
    """How many pages a range touches, and so how many page numbers follow its header."""
    return (byte_offset + byte_count + PAGE_SIZE - 1) // PAGE_SIZE


@dataclass(frozen=True, slots=True)
class GpaRange:
    """Memory that looks contiguous: ``byte_count`` bytes from ``byte_offset`` into the first of the pages."""

    byte_count: int
    byte_offset: int
    pfns: tuple[Pfn, ...]

    @classmethod
    def whole_pages(cls, pfns: Sequence[Pfn]) -> "GpaRange":
        """The only kind that Linux establishes."""
        return cls(len(pfns) * PAGE_SIZE, 0, tuple(pfns))


def split(relid: Relid, gpadl: GpadlId, ranges: Sequence[GpaRange]) -> list[GpadlHeader | GpadlBody]:
    """The messages that lend these ranges, in the order to post them (``create_gpadl_header``).

    Raises DoesNotFit for more than 8190 pages (with several ranges fewer, since their headers count as pages).
    """
    words: list[int] = []
    for each in ranges:
        if len(each.pfns) != pages_of(each.byte_count, each.byte_offset):
            raise DoesNotFit(
                f"GPADL {gpadl:#x}: {each.byte_count} bytes from {each.byte_offset} are not {len(each.pfns)} pages"
            )
        words.append(each.byte_count | each.byte_offset << 32)
        words.extend(each.pfns)
    if len(words) * 8 > MAX_RANGE_BUFFER:
        raise DoesNotFit(
            f"GPADL {gpadl:#x}: {len(words) * 8} bytes of ranges, at most {MAX_RANGE_BUFFER} can be announced"
        )
    header = GpadlHeader(relid, gpadl, len(words) * 8, len(ranges), tuple(words[:HEADER_WORDS]))
    return [
        header,
        # Linux numbers every body 0 and no server looks at the number.
        *(
            GpadlBody(0, gpadl, tuple(words[start : start + BODY_WORDS]))
            for start in range(HEADER_WORDS, len(words), BODY_WORDS)
        ),
    ]


class Assembler:
    """Collects one GPADL from its header and bodies, by order of arrival.

    How much belongs to it is what the header announced: a sender may fill the last message up to 240 bytes (UEFI does).
    The rules for ranges are OpenVMM's (``vmbus_ring::gparange``); page numbers are not looked at here.
    """

    __slots__ = ("_range_count", "_total", "_words", "gpadl", "relid")

    def __init__(self, header: GpadlHeader) -> None:
        """Raises BadGpadl if the announced length is not one of whole words."""
        if header.range_buflen % 8:
            raise BadGpadl(f"GPADL {header.gpadl:#x}: range_buflen {header.range_buflen} is not a multiple of 8")
        self.relid = header.relid
        self.gpadl = header.gpadl
        self._range_count = header.range_count
        self._total = header.range_buflen // 8
        self._words: list[int] = []
        self._take(header.words)

    @property
    def complete(self) -> bool:
        return len(self._words) == self._total

    def add(self, body: GpadlBody) -> bool:
        """Take the next body; returns ``complete``. Raises BadGpadl for a body too many or of another GPADL."""
        if self.complete or body.gpadl != self.gpadl:
            raise BadGpadl(f"GPADL {self.gpadl:#x}: no body of {body.gpadl:#x} is expected")
        self._take(body.words)
        return self.complete

    def _take(self, words: Sequence[int]) -> None:
        self._words.extend(words[: self._total - len(self._words)])

    def ranges(self) -> tuple[GpaRange, ...]:
        """The ranges, once ``complete``. Raises BadGpadl; words behind the last range are allowed and dropped."""
        if not self.complete:
            raise BadGpadl(f"GPADL {self.gpadl:#x}: {len(self._words)} of {self._total} words have come")
        found: list[GpaRange] = []
        at = 0
        for number in range(self._range_count):
            if at >= self._total:
                raise BadGpadl(f"GPADL {self.gpadl:#x}: range {number} of {self._range_count} is missing")
            byte_count, byte_offset = self._words[at] & 0xFFFF_FFFF, self._words[at] >> 32
            end = at + 1 + pages_of(byte_count, byte_offset)
            if byte_count == 0 or byte_offset >= PAGE_SIZE or end > self._total:
                raise BadGpadl(
                    f"GPADL {self.gpadl:#x}: range {number} says {byte_count} bytes from {byte_offset}, "
                    f"with {self._total - at - 1} page numbers left"
                )
            found.append(GpaRange(byte_count, byte_offset, tuple(map(Pfn, self._words[at + 1 : end]))))
            at = end
        return tuple(found)
