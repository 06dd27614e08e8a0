"""Pairs of processes that play round trips: forked, given orders through pipes, gone with whoever forked them."""

from __future__ import annotations

import ctypes
import os
import signal
import tempfile
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import msgpack

from protocol.errors import ExitCode
from protocol.shell.child import explain

PR_SET_PDEATHSIG: Final = 1
STOP_SECONDS: Final = 3.0

Initiator = Callable[[str, int, int, int], int]
"""``(directory, life, orders, status)`` to an exit code: plays as many round trips as each order says."""
Responder = Callable[[str, int, int], int]
"""``(directory, life, status)`` to an exit code."""


class PairFailed(Exception):
    """A process of a measurement has ended, and why."""


class Process:
    """A forked child and the pipe on which it says ``(name, word, *fields)``, as the children of a supervisor do."""

    def __init__(self, name: str, pid: int, status: int) -> None:
        self.name = name
        self.pid = pid
        self.status = status
        self._words = msgpack.Unpacker()

    def expect(self, word: str) -> list[Any]:
        """Wait until the child says ``word``; its fields. Raises ``PairFailed`` if it says or does something else."""
        while True:
            for said in self._words:
                if said[1] == word:
                    return list(said[2:])
                raise PairFailed(f"{self.name}: {said[-1]}")
            data = os.read(self.status, 65536)
            if not data:
                raise PairFailed(f"{self.name} has ended")
            self._words.feed(data)


class Pair:
    """An initiator, a responder, and what they play."""

    def __init__(self, initiator: Process, orders: int) -> None:
        self._initiator = initiator
        self._orders = orders

    def play(self, count: int) -> float:
        """Play ``count`` round trips; the seconds that they took."""
        os.write(self._orders, count.to_bytes(8, "little"))
        (seconds,) = self._initiator.expect("played")
        return float(seconds)


class Pairs:
    """The pairs of one measurement, and a directory for their sockets."""

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="vmbus-lab-bench-")
        self._children: list[Process] = []
        self._life_read, life_write = os.pipe()
        self._ends = [life_write]
        """Our ends of pipes. No child keeps a copy, or the others would never see them close."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fd in self._ends:
            os.close(fd)
        deadline = time.monotonic() + STOP_SECONDS
        for child in self._children:
            while os.waitpid(child.pid, os.WNOHANG) == (0, 0):
                if time.monotonic() > deadline:
                    os.kill(child.pid, signal.SIGKILL)
                time.sleep(0.002)
        os.close(self._life_read)
        self._directory.cleanup()

    def start(self, name: str, initiator: Initiator, responder: Responder) -> Pair:
        """Fork both. The responder starts when the initiator is bound."""
        directory = os.path.join(self._directory.name, name)
        os.mkdir(directory)
        orders_read, orders_write = os.pipe()
        self._ends.append(orders_write)
        first = self._fork(name, lambda status: initiator(directory, self._life_read, orders_read, status))
        os.close(orders_read)
        first.expect("ready")
        second = self._fork(f"{name} peer", lambda status: responder(directory, self._life_read, status))
        second.expect("ready")
        return Pair(first, orders_write)

    def _fork(self, name: str, body: Callable[[int], int]) -> Process:
        status_read, status_write = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid:
            os.close(status_write)
            self._ends.append(status_read)
            self._children.append(child := Process(name, pid, status_read))
            return child
        code: int = ExitCode.BUG
        try:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if os.getppid() == parent:
                for fd in (*self._ends, status_read):
                    os.close(fd)
                code = body(status_write)
        except BaseException as error:
            exit_code, line = explain(error)
            code = exit_code
            os.write(status_write, msgpack.packb((name, "failed", int(exit_code), line)))
        finally:
            os._exit(code)
