"""A VM whose guest is a real Linux kernel: ``async with LinuxVm(spec) as vm: print(await vm.run("uname -a"))``."""

from __future__ import annotations

import asyncio
import base64
import shlex
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

from lab.control import ControlClient
from lab.failure import VmFailure
from lab.spec import VmSpec
from lab.supervised import SupervisedVm, T
from protocol.errors import ExitCode

MEMORY_MB: Final = 256
BOOT_SECONDS: Final = 60.0
"""Ten times what a boot takes on a busy machine."""
COMMAND_SECONDS: Final = 60.0
READY: Final = b"ready\n"
CHUNK: Final = 1024
"""Bytes of a file that go to the guest in one command."""


class GuestCommandFailed(Exception):
    """A command in the guest has returned something else than 0."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a command in the guest returned and printed."""

    status: int
    output: str


class SerialClient:
    """One serial port of the guest, through the bridge: one reader and one writer at a time."""

    def __init__(self, connect: Callable[[], ControlClient], port: str) -> None:
        self._reading = connect()
        self._writing = connect()
        self._port = port
        self._seen = 0

    async def write(self, data: bytes) -> None:
        """Type."""
        await self._writing.request("write", port=self._port, data=data)

    async def read(self) -> bytes:
        """What the guest has printed since the last time; waits for something."""
        data: bytes = await self._reading.request("read", port=self._port, since=self._seen)
        self._seen += len(data)
        return data


class LinuxVm(SupervisedVm):
    """The guest is a Linux kernel. ``console(text)`` is called with what it prints.

    Every method raises ``VmFailure`` if the VM ends while it waits, and if the guest does not answer in a minute.
    """

    def __init__(self, spec: VmSpec, console: Callable[[str], None] = lambda text: None) -> None:
        super().__init__(spec)
        self.console_text = ""
        self._show = console

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._console = SerialClient(partial(self.connect, "bridge"), "console")
        self._agent = SerialClient(partial(self.connect, "bridge"), "agent")
        self._received = b""
        self._busy = asyncio.Lock()
        self._listening = asyncio.create_task(self._listen_to_console())
        try:
            await self._within(BOOT_SECONDS, self._expect_agent(), "the guest did not come up")
        except BaseException:
            await self.stop()
            raise
        return self

    async def stop(self) -> tuple[ExitCode, str]:
        if hasattr(self, "_listening"):
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening
        return await super().stop()

    # --- the guest's serial ports -----------------------------------------------------------------------------------

    async def _listen_to_console(self) -> None:
        while True:
            text = (await self._console.read()).decode(errors="replace")
            self.console_text += text
            self._show(text)

    async def type(self, text: str) -> None:
        """Type on the console."""
        await self.guard(self._console.write(text.encode()))

    async def _expect_agent(self) -> None:
        while not self._received.endswith(READY):
            self._received += await self._agent.read()
        self._received = b""

    async def attempt(self, command: str, seconds: float = COMMAND_SECONDS) -> Done:
        """Run a shell command in the guest, as root; one at a time."""
        async with self._busy:
            line = base64.b64encode(command.encode()) + b"\n"
            await self.guard(self._agent.write(line))
            return await self._within(seconds, self._answer(), f"the guest did not finish '{command[:60]}'")

    async def run(self, command: str, seconds: float = COMMAND_SECONDS) -> str:
        """Run a shell command in the guest; what it printed. Raises ``GuestCommandFailed``."""
        done = await self.attempt(command, seconds)
        if done.status:
            raise GuestCommandFailed(f"'{command}' returned {done.status}: {done.output.strip()}")
        return done.output

    async def _answer(self) -> Done:
        while b"\n" not in self._received:
            self._received += await self._agent.read()
        head, _, self._received = self._received.partition(b"\n")
        status, size = map(int, head.split())
        while len(self._received) < size:
            self._received += await self._agent.read()
        output, self._received = self._received[:size], self._received[size:]
        return Done(status, output.decode(errors="replace"))

    async def _within(self, seconds: float, work: Coroutine[Any, Any, T], complaint: str) -> T:
        try:
            return await self.guard(asyncio.wait_for(work, seconds))
        except TimeoutError:
            last = self.console_text.rstrip().rpartition("\n")[2]
            raise VmFailure(
                ExitCode.CHECK_FAILED, f"{complaint} in {seconds:.0f} s; its last line: {last or 'none'}"
            ) from None

    # --- files and processes -----------------------------------------------------------------------------------------

    async def write_file(self, path: str, data: bytes) -> None:
        """Put a file into the guest."""
        target = shlex.quote(path)
        await self.run(f": >{target}")
        for start in range(0, len(data), CHUNK):
            chunk = base64.b64encode(data[start : start + CHUNK]).decode()
            await self.run(f"echo {chunk} | base64 -d >>{target}")

    async def read_file(self, path: str) -> str:
        """A text file of the guest, as of /proc and /sys."""
        return await self.run(f"cat {shlex.quote(path)}")

    async def bridge(self, verb: str, **arguments: Any) -> Any:
        """Ask the bridge process."""
        return await self.guard(self._clients["bridge"].request(verb, **arguments))

    async def power_off(self) -> str:
        """Ask the guest to shut down, as the host does, and wait until it has; how it ended."""
        status = await self.host("act", name="shutdown", action="power_off")
        if status:
            raise VmFailure(ExitCode.CHECK_FAILED, f"the guest answers a shutdown request with {status:#x}")
        try:
            code, line = await asyncio.wait_for(asyncio.shield(self.ended), COMMAND_SECONDS)
        except TimeoutError:
            raise VmFailure(ExitCode.CHECK_FAILED, "the guest agreed to shut down and did not") from None
        if code:
            raise VmFailure(code, line)
        return line


def print_console(text: str) -> None:
    """The guest's console on standard output, as it comes."""
    sys.stdout.write(text.replace("\r\n", "\n"))
    sys.stdout.flush()
