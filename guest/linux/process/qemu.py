"""QEMU as a child: its command line, its life, and what it says about the guest's end."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

PR_SET_PDEATHSIG: Final = 1
NICENESS: Final = 5
"""The host and the bridge come first: a VP that waits for them spins."""


@dataclass(frozen=True, slots=True)
class Program:
    """An executable, and where it finds libraries and data if it is not installed."""

    path: str
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine has; descriptors are inherited."""

    rom: str
    memory: int
    ram: int
    vcpus: int
    vectors: int
    ivshmem: int
    serials: tuple[int, ...]

    def arguments(self, monitor: int) -> list[str]:
        """QEMU's command line.

        ``maxcpus`` is at least 2 although there may be one processor: for a machine that can only have one, TCG leaves
        out memory barriers and locked instructions, and our end of rings and flags is another processor.
        """
        sockets = max(2, self.vcpus)  # one each, so that any of them can be in any NUMA node
        ram = f"memory-backend-file,id=ram,size={self.memory},mem-path=/proc/self/fd/{self.ram},share=on"
        serials = [
            word
            for number, fd in enumerate(self.serials)
            for word in ("-chardev", f"socket,id=serial{number},fd={fd}", "-serial", f"chardev:serial{number}")
        ]
        return [
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-accel", "tcg,thread=multi", "-cpu", "max,la57=off"),
            *("-smp", f"{self.vcpus},maxcpus={sockets},sockets={sockets},cores=1,threads=1"),
            *("-object", ram, "-M", "q35,memory-backend=ram,hpet=off,vmport=off,i8042=off"),
            *("-m", str(self.memory >> 20), "-bios", self.rom),
            *("-chardev", f"socket,id=iv,fd={self.ivshmem}"),
            *("-device", f"ivshmem-doorbell,chardev=iv,vectors={self.vectors}"),
            *("-chardev", f"socket,id=mon,fd={monitor}", "-mon", "chardev=mon,mode=control"),
            *serials,
        ]


class Qemu:
    """A running machine. ``ended(how)`` is called once: ``guest-shutdown``, ``guest-reset``, or what went wrong."""

    def __init__(
        self, program: Program, machine: Machine, loop: asyncio.AbstractEventLoop, ended: Callable[[str], None]
    ) -> None:
        self._loop = loop
        self._ended = ended
        self._monitor, theirs = socket.socketpair()
        self._received = b""
        self._reason = ""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (ours as long as QEMU is)
        inherited = (machine.ram, machine.ivshmem, *machine.serials, theirs.fileno())
        self._process = subprocess.Popen(
            [program.path, *machine.arguments(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            env={**os.environ, **program.environment},
            pass_fds=inherited,
            preexec_fn=_die_with(os.getpid()),
        )
        theirs.close()
        self._pidfd = os.pidfd_open(self._process.pid)
        self._monitor.sendall(b'{"execute": "qmp_capabilities"}\n')
        self._monitor.setblocking(False)
        loop.add_reader(self._monitor.fileno(), self._listen)
        loop.add_reader(self._pidfd, self._reap)

    def _listen(self) -> None:
        """The monitor protocol: one JSON object a line. Only the guest's end is of interest."""
        try:
            data = self._monitor.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self._loop.remove_reader(self._monitor.fileno())
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            event: dict[str, Any] = json.loads(line)
            if event.get("event") == "SHUTDOWN":
                self._reason = event["data"]["reason"]

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        code = self._process.wait()
        self._listen()
        self._errors.seek(0)
        words = self._errors.read().decode(errors="replace").strip()
        self._ended(self._reason if code == 0 and self._reason else f"QEMU ended with {code}: {words or 'no reason'}")

    def kill(self) -> None:
        """End it now, if it has not ended."""
        self._process.kill()
        self._process.wait()


def _die_with(parent: int) -> Callable[[], None]:
    """What the child does before it becomes QEMU: tie its life to ours."""
    prctl = ctypes.CDLL(None).prctl

    def prepare() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        os.nice(NICENESS)

    return prepare
