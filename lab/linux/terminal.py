"""``--keep``: a person at the guest's console."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lab.linux.vm import LinuxVm

LEAVE: Final = b"\x1d"
"""Ctrl-]"""
INTERRUPT: Final = "\x03"
END_OF_INPUT: Final = "\x04"
SHELL: Final = "setsid cttyhack sh </dev/ttyS0 >/dev/ttyS0 2>&1"
A_DAY: Final = 86400.0


async def terminal(vm: LinuxVm) -> None:
    """A shell on the console, until it exits, Ctrl-] is typed, or standard input ends."""
    print("vmbus-lab: a shell in the guest; 'exit' or Ctrl-] goes on", file=sys.stderr)
    shell = asyncio.ensure_future(vm.attempt(SHELL, seconds=A_DAY))
    typed: asyncio.Queue[bytes] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    with _raw(sys.stdin.fileno()):
        threading.Thread(target=_read, args=(sys.stdin.fileno(), loop, typed), daemon=True).start()
        typing = asyncio.ensure_future(_type(vm, typed))
        await asyncio.wait((shell, typing), return_when=asyncio.FIRST_COMPLETED)
        typing.cancel()
    await shell


def _read(fd: int, loop: asyncio.AbstractEventLoop, typed: asyncio.Queue[bytes]) -> None:
    """A thread of its own, for standard input may be a file, on which no loop can wait."""
    data = b" "
    while data:
        data = os.read(fd, 1024)
        try:
            loop.call_soon_threadsafe(typed.put_nowait, data)
        except RuntimeError:
            return  # the program is about to end


async def _type(vm: LinuxVm, typed: asyncio.Queue[bytes]) -> None:
    """Pass on what is typed; at its end, leave the shell."""
    while (data := await typed.get()) and data != LEAVE:
        await vm.type(data.decode(errors="replace"))
    await vm.type(INTERRUPT + END_OF_INPUT if data else END_OF_INPUT)


@contextmanager
def _raw(fd: int) -> Iterator[None]:
    """Every key goes to the guest as it is, if it is a terminal."""
    if not os.isatty(fd):
        yield
        return
    before = termios.tcgetattr(fd)
    tty.setraw(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
