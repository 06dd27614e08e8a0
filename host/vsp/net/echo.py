"""A back end that sends everything back, so that a guest's network can be judged by the guest alone."""

from collections import deque
from collections.abc import Callable
from itertools import groupby, islice
from operator import itemgetter
from typing import Final

from host.vsp.net.backend import Frames, Port

HELD: Final = 4096
"""Frames that are kept while the guest has no receive buffers; further ones are dropped."""

BURST: Final = 64

Answer = Callable[[bytes], bytes | None]
"""The frame to send back for a frame, or None."""


def mirrored(frame: bytes) -> bytes | None:
    """The frame with its addresses exchanged; no answer to what is for many, which no host would answer so."""
    if frame[0] & 1:
        return None
    return frame[6:12] + frame[:6] + frame[12:]


class Echo:
    """A ``Backend``. ``answers`` are asked in turn; the first that has one is taken.

    Answers go out on the channel on which the frame came in, or, with ``by_rss``, on that of the guest's RSS table.
    """

    def __init__(self, answers: tuple[Answer, ...] = (mirrored,), by_rss: bool = True) -> None:
        self._answers = answers
        self._by_rss = by_rss
        self._held: deque[tuple[bytes, int | None]] = deque()
        self._dropped = 0
        self._ignored = 0
        self._port: Port | None = None

    def connect(self, port: Port) -> None:
        self._port = port

    def transmit(self, frames: Frames, queue: int) -> None:
        assert self._port is not None
        replies = [reply for frame in frames if (reply := self._answer(frame)) is not None]
        self._ignored += len(frames) - len(replies)
        chosen = None if self._by_rss else queue
        sent = 0 if self._held else self._port.deliver(replies, chosen)
        room = HELD - len(self._held)
        waiting = replies[sent:]
        self._held.extend((reply, chosen) for reply in waiting[:room])
        self._dropped += len(waiting[room:])

    def resume(self) -> None:
        """Those held, in their order, a burst at a time."""
        assert self._port is not None
        while self._held:
            chosen, stretch = next(groupby(islice(self._held, BURST), itemgetter(1)))
            frames = [frame for frame, _ in stretch]
            sent = self._port.deliver(frames, chosen)
            for _ in range(sent):
                self._held.popleft()
            if sent < len(frames):
                return

    def counts(self) -> dict[str, int]:
        return {"echo_ignored": self._ignored, "echo_dropped": self._dropped, "echo_held": len(self._held)}

    def _answer(self, frame: bytes) -> bytes | None:
        return next((reply for answer in self._answers if (reply := answer(frame)) is not None), None)
