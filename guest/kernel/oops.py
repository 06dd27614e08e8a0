"""Mistakes of modules from outside the tree, and the log of them (``oops_begin``, ``WARN``, kernel/watchdog.c).

In Linux an exception in a driver is an oops. In process context it kills the task, with what that had locked; in an
interrupt it is the end of the machine, and so is a soft lockup under ``softlockup_panic``. Here the mistake of a driver
that somebody brings along costs only the context that made it: it is written down with the driver's line, and the rest
of the guest runs on. A mistake of the tree's own code, on whose stack no such module is, still ends the VM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from types import CodeType
from typing import Final, Protocol

from guest.kernel.locks import Locks
from guest.kernel.memory import KernelMemory, Struct, Table, Text, Word
from protocol.errors import PeerError
from protocol.ids import Cpu

ENTRIES: Final = 64
"""Different lines that are kept; the last one stands for all that come after."""
TEXT_BYTES: Final = 256


class Severity(IntEnum):
    """WARNING: it goes on as if nothing had been. OOPS: its context is dead."""

    WARNING = 1
    OOPS = 2


class OopsEntry(Struct):
    """One line of the log, once however often it is said. ``times`` is 0 while there is none."""

    times = Word("oops lock")
    severity = Word("oops lock")
    cpu = Word("oops lock")
    """Where it was said first."""
    text = Text(TEXT_BYTES, "oops lock")


class SoftLockup(BaseException):
    """A module has kept a CPU to itself for too long. No ``except Exception`` of the module holds it up."""


MISTAKES: Final = (Exception, SystemExit, SoftLockup)
"""What may come out of a module."""


class LockupDetector(Protocol):
    """What a shell provides: a module that stays between ``enter`` and ``leave`` too long gets ``SoftLockup``."""

    def enter(self) -> None: ...
    def leave(self) -> None: ...


class Oops:
    """One CPU's view of the log, and what tells a module's mistake from one of ours.

    ``modules`` are the names of the Python modules that are not of the tree; without any, nothing is contained.
    """

    def __init__(self, cpu: Cpu, memory: KernelMemory, locks: Locks) -> None:
        self.modules: frozenset[str] = frozenset()
        self.lockups: LockupDetector | None = None
        self.printk: Callable[[str], None] = lambda line: None
        self._cpu = cpu
        self._log = memory.table(OopsEntry, ENTRIES)
        self._lock = locks.irqsave("oops")

    def contain(self, error: BaseException, context: str, severity: Severity = Severity.OOPS) -> bool:
        """Write down what came out of ``context``, if a module is to blame. False: none is, so raise it again."""
        what = self.blame(error)
        if what is None:
            return False
        if isinstance(error, PeerError):
            severity = Severity.WARNING  # the host's mistake
        self._say(severity, f"{what} (in {context})")
        return True

    @contextmanager
    def containing(self, context: str) -> Iterator[None]:
        """A call into a driver that need not come back in order."""
        try:
            yield
        except MISTAKES as error:
            if not self.contain(error, context):
                raise

    def warn(self, code: CodeType, line: int, text: str) -> None:
        """``WARN``, about a line of a function."""
        self._say(Severity.WARNING, f"{_place(code, line)} {text}")

    def blame(self, error: BaseException) -> str | None:
        """What was raised, and the innermost line of a module that it has passed. None: it has passed none."""
        found = None
        step = error.__traceback__
        while step is not None:
            if step.tb_frame.f_globals.get("__name__") in self.modules:
                found = _place(step.tb_frame.f_code, step.tb_lineno)
            step = step.tb_next
        return found and f"{found} {type(error).__name__}: {error}"

    def _say(self, severity: Severity, text: str) -> None:
        text = " ".join(text.split()).encode()[: TEXT_BYTES - 1].decode(errors="ignore")
        with self._lock:
            entry = next((each for each in self._log if each.times == 0 or each.text == text), self._log[ENTRIES - 1])
            if entry.times == 0:
                entry.severity, entry.cpu, entry.text = severity, self._cpu, text
            entry.times += 1
            first = entry.times == 1
        if first:
            self.printk(f"{'BUG' if severity is Severity.OOPS else 'WARNING'}: CPU {self._cpu}: {text}")


def _place(code: CodeType, line: int) -> str:
    return f"{code.co_filename}:{line}"


def said(log: Table[OopsEntry]) -> Iterator[tuple[Severity, str]]:
    """What is in the log, in order, for readers outside the guest."""
    for entry in log:
        if entry.times:
            times = f", {entry.times} times" if entry.times > 1 else ""
            yield Severity(entry.severity), f"{entry.text} on CPU {entry.cpu}{times}"
