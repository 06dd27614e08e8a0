"""Spin locks with Linux's names, in both shells.

A spin lock excludes the other CPUs (other processes, other greenlets) and is a full fence. It is held neither across
an ``await`` nor while the CPU waits for anything that the host may withhold: whoever blocks in one serves no port, and
that is safe only because of this rule. ``Held`` counts what a CPU holds, so that both shells can assert it.

``SpinLock`` is ``spin_lock()``; ``IrqSpinLock`` is ``spin_lock_irqsave()``: it disables interrupts on this CPU first
and takes what became pending when they are enabled again.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol


class RawLock(Protocol):
    """What a shell provides: an inherited semaphore in processes, a spinning state in the simulation."""

    def acquire(self) -> object: ...
    def release(self) -> object: ...


class LockBank(Protocol):
    """The raw locks of one guest, by name. Equal names are the same lock on every CPU."""

    def raw(self, name: str) -> RawLock: ...


class Interrupts(Protocol):
    """The interrupt flag of one CPU. ``enable`` takes what became pending meanwhile."""

    def disable(self) -> None: ...
    def enable(self) -> None: ...


class Held:
    """How many spin locks this CPU holds now."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class SpinLock:
    """``spin_lock`` / ``spin_unlock``, as a context manager."""

    __slots__ = ("_acquire", "_held", "_release", "name")

    def __init__(self, name: str, raw: RawLock, held: Held) -> None:
        self.name = name
        self._acquire = raw.acquire
        self._release = raw.release
        self._held = held

    def __enter__(self) -> None:
        self._acquire()
        self._held.count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.count -= 1
        self._release()


class IrqSpinLock:
    """``spin_lock_irqsave`` / ``spin_unlock_irqrestore``, as a context manager."""

    __slots__ = ("_acquire", "_disable", "_enable", "_held", "_release", "name")

    def __init__(self, name: str, raw: RawLock, held: Held, interrupts: Interrupts) -> None:
        self.name = name
        self._acquire = raw.acquire
        self._release = raw.release
        self._disable = interrupts.disable
        self._enable = interrupts.enable
        self._held = held

    def __enter__(self) -> None:
        self._disable()
        self._acquire()
        self._held.count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.count -= 1
        self._release()
        self._enable()


class Locks:
    """The locks of one CPU's view: hashed families (``lock("desc", irq)``) keep the number of semaphores bounded."""

    WAYS = 32

    def __init__(self, bank: LockBank, interrupts: Interrupts) -> None:
        self.held = Held()
        self._bank = bank
        self._interrupts = interrupts

    def raw(self, family: str, index: int = 0) -> RawLock:
        """A lock for hard interrupt handlers: they cannot park, so nothing counts what they hold, and it is faster."""
        return self._bank.raw(f"{family}/{index % self.WAYS}")

    def spin(self, family: str, index: int = 0) -> SpinLock:
        """A plain spin lock: for what interrupt handlers never take."""
        name = f"{family}/{index % self.WAYS}"
        return SpinLock(name, self._bank.raw(name), self.held)

    def irqsave(self, family: str, index: int = 0) -> IrqSpinLock:
        """An interrupt-safe spin lock: for what interrupt handlers take too."""
        name = f"{family}/{index % self.WAYS}"
        return IrqSpinLock(name, self._bank.raw(name), self.held, self._interrupts)
