"""The frame of a process of the VM: its loop, its life pipe, and its last words.

The supervisor holds the other end of the life pipe: when that closes, for whatever reason, the process ends. A thread
reads the pipe and does nothing else, so neither a loop that sleeps nor a call that blocks can miss it. (It was in the
loop's epoll set, and once a host was found asleep without it there.) What the process says to the supervisor
(``ready``, or why it cannot go on) goes through the status pipe as msgpack arrays.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import msgpack
import uvloop

from protocol.errors import ExitCode, OperatorError, PeerError


def explain(error: BaseException) -> tuple[ExitCode, str]:
    """The exit code and the one line for an error that ends a process."""
    if isinstance(error, PeerError):
        return ExitCode.PEER, f"protocol error: {error}"
    if isinstance(error, OperatorError):
        return error.exit_code, str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {os.path.relpath(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
    return ExitCode.BUG, f"internal error{where}: {error!r}"


def _end_with_supervisor(life: int, last_will: Callable[[], object], ending: threading.Lock) -> None:
    """Nobody ever writes into the life pipe: the read returns when the last end to write into is closed."""
    os.read(life, 1)
    ending.acquire()
    try:
        last_will()
    finally:
        os._exit(ExitCode.SUCCESS)


class Child:
    """One process under the supervisor. ``run`` returns its exit code.

    ``last_will`` is carried out before the process ends with its supervisor, in the thread that learns of it.
    """

    def __init__(self, name: str, life: int, status: int, last_will: Callable[[], object] = lambda: None) -> None:
        self.name = name
        self._status = status
        self._ending = threading.Lock()
        self._failure: BaseException | None = None
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the command line's; the order to stop is the life pipe
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.loop.set_exception_handler(self._unexpected)
        watch = partial(_end_with_supervisor, life, last_will, self._ending)
        threading.Thread(target=watch, name="life", daemon=True).start()

    def _unexpected(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """uvloop logs an exception of a callback and goes on; a kernel that goes on after one is worth nothing."""
        self.fail(context.get("exception") or RuntimeError(context.get("message", "unknown")))

    def fail(self, error: BaseException) -> None:
        """End the process because of ``error``; the first one counts."""
        if self._failure is None:
            self._failure = error
        self.loop.stop()

    def finish(self, line: str) -> None:
        """End the VM: it has done what it was there for, as ``line`` says."""
        self.say("finished", int(ExitCode.SUCCESS), line)
        self.loop.stop()

    def say(self, word: str, *fields: Any) -> None:
        """Tell the supervisor."""
        os.write(self._status, msgpack.packb((self.name, word, *fields)))

    def run(self, make: Callable[[], object]) -> int:
        """Make what the process consists of, say ``ready``, and run until it has finished or something fails.

        It returns only to a process that may end by itself: a last will that has begun is carried out to its end.
        """
        try:
            body = make()
        except Exception as error:
            self._failure = error
        else:
            self.loop.call_soon(self.say, "ready")
            gc.collect()
            gc.freeze()
            self.loop.run_forever()
            del body
        self._ending.acquire()
        if self._failure is None:
            return ExitCode.SUCCESS
        code, line = explain(self._failure)
        self.say("failed", int(code), line)
        if os.environ.get("VMBUS_LAB_TRACEBACK"):
            traceback.print_exception(self._failure)
        return code
