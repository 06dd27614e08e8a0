"""How a command that runs a VM ends before its time: Ctrl-C and SIGTERM cancel it, so that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

from lab.failure import VmFailure
from protocol.errors import ExitCode


async def interruptible(work: Awaitable[ExitCode], asked: Callable[[], bool] = lambda: False) -> ExitCode:
    """Await ``work``. ``asked`` is told of a Ctrl-C first; it returns True if the work ends by itself for it.

    Raises ``VmFailure`` when it was interrupted or terminated.
    """
    interrupted = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None

    def on_interrupt() -> None:
        if not asked():
            interrupted.set()
            task.cancel()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, on_interrupt)
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await work
    except asyncio.CancelledError:
        code = ExitCode.INTERRUPTED if interrupted.is_set() else ExitCode.TERMINATED
        raise VmFailure(code, "interrupted" if code == ExitCode.INTERRUPTED else "terminated") from None
