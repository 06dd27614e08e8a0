"""``--keep``: a person at the guest's console."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lab.linux.vm import LinuxVm

LEAVE: Final = b"\x1d"
"""Ctrl-]"""
SHELL: Final = "setsid cttyhack sh </dev/ttyS0 >/dev/ttyS0 2>&1; echo shell-has-ended >/tmp/ended"


async def terminal(vm: LinuxVm) -> None:
    """A shell on the console, until it exits, Ctrl-] is typed, or standard input ends."""
    print("vmbus-lab: a shell in the guest; 'exit' or Ctrl-] goes on", file=sys.stderr)
    shell = asyncio.ensure_future(vm.run(SHELL, seconds=86400))
    typed: asyncio.Queue[bytes] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    with _raw(sys.stdin.fileno()):
        loop.add_reader(sys.stdin.fileno(), lambda: typed.put_nowait(os.read(sys.stdin.fileno(), 1024)))
        try:
            typing = asyncio.ensure_future(_type(vm, typed))
            await asyncio.wait((shell, typing), return_when=asyncio.FIRST_COMPLETED)
            typing.cancel()
        finally:
            loop.remove_reader(sys.stdin.fileno())
    if not shell.done():
        await vm.type("\x03\x04")  # whatever runs, and then the shell
    await shell


async def _type(vm: LinuxVm, typed: asyncio.Queue[bytes]) -> None:
    while (data := await typed.get()) and data != LEAVE:
        await vm.type(data.decode(errors="replace"))


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
