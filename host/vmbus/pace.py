"""A slow host: steps that happen later, or when somebody lets them."""

from collections.abc import Callable
from dataclasses import dataclass

from host.vmbus.options import UNTIL_RELEASED, Step
from protocol.ids import Relid

Later = Callable[[float, Callable[[], None]], object]


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A step that has not happened yet."""

    step: Step
    relid: Relid
    resume: Callable[[], None]


class Pace:
    """Keeps the steps that were put off, in the order in which they came up."""

    def __init__(self, clock: Later | None) -> None:
        self._clock = clock
        self._held: list[Held] = []

    def put_off(self, seconds: float, held: Held) -> None:
        """Let ``held`` happen after ``seconds``: 0 is now, UNTIL_RELEASED is not by itself."""
        if not seconds:
            held.resume()
            return
        self._held.append(held)
        if seconds != UNTIL_RELEASED:
            self.call_later(seconds, lambda: self._let(held))

    def call_later(self, seconds: float, fn: Callable[[], None]) -> None:
        """Call ``fn`` after ``seconds``.  Options that need a clock are refused where there is none."""
        assert self._clock is not None, "checked when the options were set"
        self._clock(seconds, fn)

    def release(self, step: Step | None, relid: Relid | None) -> int:
        """Let happen what is held now and matches; a None matches everything.  Returns how many."""
        chosen = [held for held in self._held if step in (None, held.step) and relid in (None, held.relid)]
        for held in chosen:
            self._let(held)
        return len(chosen)

    def _let(self, held: Held) -> None:
        if held in self._held:
            self._held.remove(held)
            held.resume()
