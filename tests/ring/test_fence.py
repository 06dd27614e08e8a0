"""Each machine gets a real fence or is told that it has none."""

import ctypes
import platform
import sys

import pytest

from protocol.errors import OperatorError
from protocol.shell import fence


def test_the_fence_of_this_machine_can_be_called() -> None:
    fence.full_fence()


def test_without_libatomic_x86_64_takes_a_locked_instruction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "libatomic_fence", lambda: None)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    fence.choose_fence()()


def test_without_libatomic_other_machines_are_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "libatomic_fence", lambda: None)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(OperatorError, match="aarch64: install libatomic"):
        fence.choose_fence()


@pytest.mark.skipif(sys.platform != "linux", reason="libatomic.so.1 is a Linux name")
def test_a_machine_without_the_library_has_no_libatomic_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "PyDLL", missing)
    assert fence.libatomic_fence() is None
