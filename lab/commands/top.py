"""``top``: a running VM's interrupts as they happen."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click
from rich.live import Live

from lab.attached import AttachedVm
from lab.commands import options
from lab.console import Output
from lab.top import CPU_WIDTH, FIXED_WIDTH, Look, frame


@click.command()
@click.option("--interval", type=options.Number(0.1), default=1.0, show_default=True, help="Seconds a frame.")
@click.option("--count", type=click.IntRange(1), help="End after so many frames.")
@click.option("--name", help="Which VM, if several are running.")
def command(interval: float, count: int | None, name: str | None) -> None:
    """Watch the interrupts of the running VM by IRQ and CPU.

    The busiest VMBus channels come first. `q` ends it.
    """
    vm = AttachedVm(name)
    out = Output(highlight=False)
    width = out.width if out.is_terminal else FIXED_WIDTH + CPU_WIDTH * vm.info.vcpus
    out.width = width
    before = Look.at(time.monotonic(), vm.guest, vm.files)
    with suppress(KeyboardInterrupt), _keys() as typing, Live(console=out, auto_refresh=False) as live:
        for _ in range(count or sys.maxsize):
            if _quit(interval, typing) or not vm.info.alive:
                return
            now = Look.at(time.monotonic(), vm.guest, vm.files)
            if out.is_terminal:
                live.update(frame(before, now, width), refresh=True)
            else:
                out.print(frame(before, now, width))
            before = now


@contextmanager
def _keys() -> Iterator[bool]:
    """A terminal that hands over each key at once. Whether there is one."""
    if not sys.stdin.isatty():
        yield False
        return
    saved = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield True
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)


def _quit(seconds: float, typing: bool) -> bool:
    """Wait so long, or until ``q`` is typed."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([sys.stdin] if typing else [], [], [], left)[0] and os.read(sys.stdin.fileno(), 1) in b"qQ":
            return True
    return False
