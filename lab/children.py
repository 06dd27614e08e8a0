"""The processes of one VM as their supervisor has them: forked, listened to, reaped, and ended.

There is neither a thread nor a loop; everything that happens wakes one ``select``.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import msgpack

from protocol.errors import ExitCode
from protocol.shell.child import explain

STOP_SECONDS = 3.0
"""How long processes may take to end when their life pipe closes; then they are killed."""

PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class Ended(Exception):
    """The VM is over: with which exit code, and the line to print, if any."""

    code: ExitCode
    line: str = ""


Word = tuple[str, str] | tuple[str, str, int, str]
"""What a child says: its name and ``ready``; or its name, ``failed``, an exit code, and why."""


@dataclass(slots=True)
class Process:
    """A child and the pipe on which it talks."""

    name: str
    pid: int
    status: int
    words: msgpack.Unpacker = field(default_factory=msgpack.Unpacker)


class Children:
    """The children that run, by pid. What ends the VM is raised as ``Ended``; signals to us are heard in ``wait``."""

    def __init__(self) -> None:
        self.running: dict[int, Process] = {}
        self._ready = 0
        self._life_read, self._life_write = os.pipe()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        os.set_blocking(self._wake_read, False)
        self._signalled: int | None = None
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def _on_signal(self, number: int, frame: object) -> None:
        self._signalled = number

    def fork(self, name: str, run: Callable[[int, int], int], kill_with_us: bool) -> None:
        """Start a child that runs ``run(life, status)`` and returns its exit code; it may die with us by force."""
        status_read, status_write = os.pipe()
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            os.close(status_write)
            os.set_blocking(status_read, False)
            self.running[pid] = Process(name, pid, status_read)
            return
        code: int = ExitCode.BUG
        try:
            if kill_with_us:
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for fd in (self._life_write, self._wake_read, self._wake_write, status_read):
                os.close(fd)
            for other in self.running.values():
                os.close(other.status)
            _redirect_standard_streams()
            code = run(self._life_read, status_write)
        except BaseException as error:
            code, line = explain(error)
            with suppress(BrokenPipeError):
                os.write(status_write, msgpack.packb((name, "failed", int(code), line)))
        finally:
            os._exit(code)

    def await_ready(self) -> None:
        """Wait until every child has said that it is ready."""
        while self._ready < len(self.running):
            self._ready += sum(word[1] == "ready" for word in self.wait())

    def wait(self) -> list[Word]:
        """Wait for something to happen: words of children; raises ``Ended`` for whatever ends the VM."""
        pipes = {process.status: process for process in self.running.values()}
        ready, _, _ = select.select([0, self._wake_read, *pipes], [], [])
        with suppress(BlockingIOError):
            os.read(self._wake_read, 4096)
        if self._signalled is not None:
            code = ExitCode.INTERRUPTED if self._signalled == signal.SIGINT else ExitCode.TERMINATED
            raise Ended(code, f"the supervisor (pid {os.getpid()}) got {signal.Signals(self._signalled).name}")
        words = [word for fd in ready if fd in pipes for word in self._words(pipes[fd])]
        for word in words:
            _raise_if_failed(word)
        self._reap()
        if 0 in ready and not os.read(0, 4096):
            raise Ended(ExitCode.SUCCESS)
        return words

    def _words(self, process: Process) -> list[Word]:
        with suppress(BlockingIOError):
            process.words.feed(os.read(process.status, 65536))
        return [tuple(word) for word in process.words]

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            process = self.running.pop(pid)
            words = self._words(process)
            os.close(process.status)
            for word in words:
                _raise_if_failed(word)
            code = os.waitstatus_to_exitcode(status)
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
            raise Ended(ExitCode.PROCESS_DIED, f"{process.name} (pid {pid}) {how}; the VM cannot go on without it")

    def end(self) -> None:
        """Close the life pipe, and kill whoever has not ended after ``STOP_SECONDS``."""
        os.close(self._life_write)
        deadline = time.monotonic() + STOP_SECONDS
        while self.running and time.monotonic() < deadline:
            self._collect()
            if self.running:
                select.select([self._wake_read], [], [], 0.05)
                with suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
        for pid in self.running:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while self.running:
            self._collect(block=True)

    def _collect(self, block: bool = False) -> None:
        try:
            pid, _ = os.waitpid(-1, 0 if block else os.WNOHANG)
        except ChildProcessError:
            self.running.clear()
            return
        if pid:
            os.close(self.running.pop(pid).status)


def _raise_if_failed(word: Word) -> None:
    if len(word) == 4:
        raise Ended(ExitCode(word[2]), f"{word[0]}: {word[3]}")


def _redirect_standard_streams() -> None:
    """A child's standard input and output are not the command line's; its standard error is."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
