"""The soft lockup detector: where it breaks in, and where it must not. This file is the module that is watched."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from guest.kernel.oops import SoftLockup
from guest.process.lockup import STUCK_SECONDS, CpuLockups, SoftLockups

LONG = 1.2 * STUCK_SECONDS


@pytest.fixture
def lockups() -> Iterator[CpuLockups]:
    """Those of CPU 5, which is the one that runs."""
    detector = SoftLockups(frozenset({__name__}), lambda: 5)
    detector.start()
    yield detector.of(5)
    detector.stop()


@pytest.fixture
def kernel() -> Callable[[float], None]:
    """A function that is not of the module: it is busy for so many seconds."""
    namespace: dict[str, Any] = {"__name__": "kernel", "now": time.monotonic}
    exec("def busy(seconds):\n  end = now() + seconds\n  while now() < end: pass", namespace)
    function: Callable[[float], None] = namespace["busy"]
    return function


def test_an_endless_loop_gets_it_where_it_is(lockups: CpuLockups) -> None:
    lockups.enter()
    with pytest.raises(SoftLockup, match="CPU 5 was stuck for 1 s"):
        while True:
            pass
    lockups.leave()


def test_a_call_into_the_kernel_comes_back_before_the_module_gets_it(
    lockups: CpuLockups, kernel: Callable[[float], None]
) -> None:
    reached = []

    def callback() -> None:
        kernel(LONG)
        reached.append("the next line")

    began = time.monotonic()
    lockups.enter()
    with pytest.raises(SoftLockup):
        callback()
    lockups.leave()
    assert time.monotonic() - began >= LONG and not reached


def test_a_module_that_has_returned_in_the_meantime_is_left_alone(
    lockups: CpuLockups, kernel: Callable[[float], None]
) -> None:
    lockups.enter()
    (lambda: kernel(LONG))()
    lockups.leave()


def test_an_interrupt_on_top_has_a_time_of_its_own(lockups: CpuLockups, kernel: Callable[[float], None]) -> None:
    lockups.enter()
    lockups.enter()
    time.sleep(0.8 * STUCK_SECONDS)
    lockups.leave()
    with pytest.raises(SoftLockup):
        time.sleep(60)
    lockups.leave()


def test_who_is_not_inside_a_callback_may_take_all_the_time_it_likes(lockups: CpuLockups) -> None:
    lockups.enter()
    lockups.leave()
    time.sleep(LONG)
