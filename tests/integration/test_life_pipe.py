"""A process of the VM ends with its supervisor, whatever its main thread is doing."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial

import pytest

from protocol.shell.child import Child

WILL = b"carried out"


def _block() -> None:
    threading.Event().wait()


def _sleep_in_the_loop() -> None:
    pass


_BEGUN = threading.Event()


def _fail_while_the_will_is_carried_out() -> None:
    _BEGUN.wait()
    raise FileNotFoundError("the run directory is being removed")


def _carry_out(say: int) -> None:
    _BEGUN.set()
    threading.Event().wait(0.2)  # time for the main thread to end the process, which it must not
    os.write(say, WILL)


@pytest.mark.parametrize("busy_with", [_block, _sleep_in_the_loop, _fail_while_the_will_is_carried_out])
def test_the_end_of_the_life_pipe_ends_it_and_its_will_is_carried_out(busy_with: Callable[[], None]) -> None:
    life_read, life_write = os.pipe()
    heard, say = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(life_write)
        os.close(heard)
        os._exit(Child("test", life_read, say, partial(_carry_out, say)).run(busy_with))
    os.close(say)
    os.close(life_write)
    words = b""
    while more := os.read(heard, 100):
        words += more
    assert words.endswith(WILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(heard)
    os.close(life_read)
