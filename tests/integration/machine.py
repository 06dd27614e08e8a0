"""What the integration tests do from outside: run the command line, look into /proc, talk to sockets, wait."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgpack
import zmq

from guest.programs.checksum import ChecksumWords
from lab import rundir
from lab.memories import Memories
from lab.rundir import VmInfo

ROOT = Path(__file__).parents[2]
DEADLINE = 60.0
"""Seconds after which what a test waits for will not come any more.

A run of the smallest VM takes 2 s of a CPU; where seven others want the same CPU, that was seen to take over 20 s.
"""

T = TypeVar("T")


def wait_for(what: str, look: Callable[[], T | None], deadline: float = DEADLINE) -> T:
    """Look until there is something, and return it."""
    end = time.monotonic() + deadline
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"{what}: not within {deadline} s"
        time.sleep(0.005)


def make_image(path: Path, size: int, seed: int = 1) -> bytes:
    """An image file of random bytes; its content."""
    content = random.Random(seed).randbytes(size)
    path.write_bytes(content)
    return content


# --- the command line -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str

    def complained(self, code: int) -> str:
        """It ended with ``code`` and exactly one line on standard error, which is returned without its prefix."""
        assert self.code == code, self
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("vmbus-lab: "), self.err
        return self.err.removeprefix("vmbus-lab: ").rstrip("\n")


class Command:
    """``python -m lab ...`` as a process of its own, which is not left alone."""

    def __init__(self, directory: Path, *arguments: str | Path) -> None:
        self._files = [directory / f"{id(self):x}.{stream}" for stream in ("out", "err")]
        with self._files[0].open("w") as out, self._files[1].open("w") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lab", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=ROOT,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def finished(self, deadline: float = DEADLINE) -> Finished:
        """Wait for its end."""
        code = self._process.wait(deadline)
        out, err = (file.read_text() for file in self._files)
        assert "Traceback" not in err, err
        return Finished(code, out, err)


# --- a running VM, from outside ---------------------------------------------------------------------------------------


def started(name: str) -> VmInfo:
    """Wait until the VM has started."""

    def look() -> VmInfo | None:
        return next((vm for vm in rundir.running() if vm.name == name), None)

    return wait_for(f"VM {name} has started", look)


def reading(vm: VmInfo) -> None:
    """Wait until the guest is in the middle of reading its disk."""
    memory = Memories(vm).kernel

    def look() -> bool:
        with suppress(LookupError):
            return bool(memory.find(ChecksumWords)[0].done)
        return False

    wait_for("the disk is being read", look)


def ask(vm: VmInfo, who: str, request: bytes) -> list[Any]:
    """Put any bytes to a control socket; the answer."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.rcvtimeo = int(DEADLINE * 1000)
        socket.connect(f"ipc://{vm.directory}/{who}")
        socket.send(request)
        answer: list[Any] = msgpack.unpackb(socket.recv(), strict_map_key=False)
        return answer


def inject(vm: VmInfo, who: str, fault: str, **arguments: Any) -> None:
    """Break something in a running VM on purpose."""
    assert ask(vm, who, msgpack.packb([1, "inject", {"fault": fault, **arguments}])) == [1, True, None]


def open_files(pid: int) -> set[str]:
    """What a process has open."""
    found = set()
    with suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


# --- what a VM must not leave -----------------------------------------------------------------------------------------


def _processes() -> Iterator[int]:
    return (int(entry) for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != os.getpid())


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def leftovers() -> list[str]:
    """Everything that is there of the VMs of this test, none of which may outlive them: processes, files.

    Processes have inherited the test's runtime directory in their environment. Only they can hold a VM's memories.
    """
    mine = f"XDG_RUNTIME_DIR={os.environ['XDG_RUNTIME_DIR']}\0"
    runtime, temporary = Path(os.environ["XDG_RUNTIME_DIR"]), Path(os.environ["TMPDIR"])
    return [
        *(f"process {pid}" for pid in _processes() if mine in _read(f"/proc/{pid}/environ")),
        *(str(path) for path in runtime.iterdir() if path != temporary),
        *(str(path) for path in temporary.iterdir()),
    ]


def nothing_left() -> None:
    """Wait until nothing is left: those that no supervisor watches any more need a moment."""
    end = time.monotonic() + DEADLINE
    while left := leftovers():
        assert time.monotonic() < end, left
        time.sleep(0.01)
