"""The supervisor: starts the processes of one VM, outlives them, and leaves nothing behind.

It never has a thread, a ZeroMQ context or an event loop, so that it can fork; it waits in ``select``. Its standard
input is the life pipe of whoever started it, its standard output carries one JSON line per event. The host is bound
before the first worker is forked.
"""

from __future__ import annotations

import ctypes
import gc
import json
import mmap
import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, NoReturn

import msgpack

from guest.linux.process.bridge import BridgeSpec, run_bridge
from guest.linux.process.qemu import Program
from guest.machine import LOCK_FAMILIES
from guest.process.locks import InheritedLocks
from guest.process.worker import WorkerSpec, run_worker
from host.process.main import HostSpec, run_host
from lab import rundir
from lab.description import opening
from lab.machine import Outside, guest_spec, machine_spec
from lab.spec import LinuxSpec, VmSpec
from protocol.errors import ExitCode, OperatorError
from protocol.journal import merge, pack
from protocol.shell.child import explain
from protocol.shell.journal_file import JournalFile
from protocol.shell.memory import GuestRam

KERNEL_BYTES = 16 << 20
STOP_SECONDS = 3.0
"""How long processes may take to end when their life pipe closes; then they are killed."""

PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class Ended(Exception):
    """The VM is over: with which exit code, and the line to print, if any."""

    code: ExitCode
    line: str = ""


Word = tuple[str, str] | tuple[str, str, int, str]
"""What a child says: its name and ``ready``; or its name, ``failed``, an exit code, and why."""


@dataclass(slots=True)
class Process:
    """A child and the pipe on which it talks."""

    name: str
    pid: int
    status: int
    words: msgpack.Unpacker = field(default_factory=msgpack.Unpacker)


class Supervisor:
    """One VM from fork to clean-up."""

    def __init__(self, spec: VmSpec) -> None:
        self.spec = spec
        self.outside = Outside.of(spec)
        self.ram = GuestRam.create(spec.memory_mb << 20, f"vmbus-lab:{spec.name}:ram")
        self.kernel_fd = os.memfd_create(f"vmbus-lab:{spec.name}:kernel", os.MFD_CLOEXEC)
        os.ftruncate(self.kernel_fd, KERNEL_BYTES)
        self.kernel = memoryview(mmap.mmap(self.kernel_fd, 0)).cast("Q")
        self.locks = InheritedLocks(LOCK_FAMILIES)
        self.epoch = time.monotonic_ns()
        self.children: dict[int, Process] = {}
        self.journals: list[BinaryIO] = []
        self._trace = None if spec.trace is None else _trace_file(spec.trace)
        self._ready = 0
        self._life_read, self._life_write = os.pipe()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        os.set_blocking(self._wake_read, False)
        self._signalled: int | None = None
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self.directory = rundir.create(spec.name)

    def _on_signal(self, number: int, frame: object) -> None:
        self._signalled = number

    # --- children -------------------------------------------------------------------------------------------------

    def _fork(self, name: str, run: Callable[[int, int, JournalFile | None], int], kill_with_us: bool) -> None:
        """Start a child that runs ``run(life, status, journal)``."""
        status_read, status_write = os.pipe()
        journal = self._journal()
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            os.close(status_write)
            os.set_blocking(status_read, False)
            self.children[pid] = Process(name, pid, status_read)
            return
        code: int = ExitCode.BUG
        try:
            if kill_with_us:
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for fd in (self._life_write, self._wake_read, self._wake_write, status_read):
                os.close(fd)
            for other in self.children.values():
                os.close(other.status)
            _redirect_standard_streams()
            code = run(self._life_read, status_write, journal)
        except BaseException as error:
            code, line = explain(error)
            with suppress(BrokenPipeError):
                os.write(status_write, msgpack.packb((name, "failed", int(code), line)))
        finally:
            os._exit(code)

    def _journal(self) -> JournalFile | None:
        """An unnamed file for one process's records: it survives the process, and nothing is left."""
        if self._trace is None:
            return None
        journal = tempfile.TemporaryFile(buffering=0, dir=Path(self._trace.name).resolve().parent)  # noqa: SIM115
        self.journals.append(journal)
        return JournalFile(journal.fileno(), tuple(self.spec.trace_events))

    def start(self) -> None:
        """Start the host, then what runs the guest; each process says when it is ready."""
        spec = self.spec
        # The collector writes to every object that it looks at: what all have inherited would be copied by each.
        gc.collect()
        gc.freeze()
        self._fork("host", partial(self._host, os.getpid()), False)
        self._await_ready(1)
        if spec.linux is None:
            self._start_workers()
        else:
            self._start_bridge(spec.linux)
        self._await_ready(len(self.children))
        rundir.VmInfo(
            name=spec.name,
            supervisor=os.getpid(),
            pids={process.name: process.pid for process in self.children.values()},
            ram_fd=self.ram.fd,
            kernel_fd=self.kernel_fd,
            vcpus=spec.vcpus,
            policy=spec.policy if spec.linux is None else rundir.REAL_KERNEL,
            started=time.time(),
        ).write()
        tell("started")

    def _host(self, supervisor: int, life: int, status: int, journal: JournalFile | None) -> int:
        """The host takes the directory away with it: supervisor and command may both have been killed."""
        spec = HostSpec(str(self.directory), self.epoch, machine_spec(self.spec, self.outside))
        return run_host(spec, self.ram, life, status, journal, partial(rundir.remove, self.spec.name, supervisor))

    def _start_workers(self) -> None:
        """The emulated guest: a process for each vCPU."""
        spec, guest = self.spec, guest_spec(self.spec, self.outside)
        for cpu in range(spec.vcpus):
            worker = WorkerSpec(cpu, spec.vcpus, str(self.directory), guest, self.epoch, spec.seed)
            self._fork(
                f"cpu{cpu}",
                lambda life, status, journal, worker=worker: run_worker(  # type: ignore[misc]
                    worker, self.ram, self.kernel, self.locks, life, status, journal
                ),
                True,
            )

    def _start_bridge(self, linux: LinuxSpec) -> None:
        """The real guest: QEMU, and the bridge that runs its VP ports."""
        bridge = BridgeSpec(
            directory=str(self.directory),
            epoch=self.epoch,
            vcpus=self.spec.vcpus,
            numa=self.spec.numa,
            kernel=linux.kernel,
            initramfs=linux.initramfs,
            command_line=linux.command_line,
            rom=linux.rom,
            qemu=Program(linux.qemu, linux.environment),
        )
        self._fork("bridge", lambda life, status, journal: run_bridge(bridge, self.ram, life, status, journal), True)

    def _await_ready(self, count: int) -> None:
        """Wait until ``count`` children in all have said that they are ready."""
        while self._ready < count:
            self._ready += sum(word[1] == "ready" for word in self._wait())

    # --- waiting --------------------------------------------------------------------------------------------------

    def _wait(self) -> list[Word]:
        """Wait for something to happen: words of children; raises ``Ended`` for whatever ends the VM."""
        pipes = {process.status: process for process in self.children.values()}
        ready, _, _ = select.select([0, self._wake_read, *pipes], [], [])
        with suppress(BlockingIOError):
            os.read(self._wake_read, 4096)
        if self._signalled is not None:
            code = ExitCode.INTERRUPTED if self._signalled == signal.SIGINT else ExitCode.TERMINATED
            raise Ended(code, f"the supervisor (pid {os.getpid()}) got {signal.Signals(self._signalled).name}")
        words = [word for fd in ready if fd in pipes for word in self._words(pipes[fd])]
        for word in words:
            _raise_if_failed(word)
        self._reap()
        if 0 in ready and not os.read(0, 4096):
            raise Ended(ExitCode.SUCCESS)
        return words

    def _words(self, process: Process) -> list[Word]:
        with suppress(BlockingIOError):
            process.words.feed(os.read(process.status, 65536))
        return [tuple(word) for word in process.words]

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            process = self.children.pop(pid)
            words = self._words(process)
            os.close(process.status)
            for word in words:
                _raise_if_failed(word)
            code = os.waitstatus_to_exitcode(status)
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
            raise Ended(ExitCode.PROCESS_DIED, f"{process.name} (pid {pid}) {how}; the VM cannot go on without it")

    def serve(self) -> NoReturn:
        """Until something ends the VM."""
        while True:
            self._wait()

    # --- the end --------------------------------------------------------------------------------------------------

    def clean_up(self) -> None:
        """End every child, write the trace, remove the run directory."""
        os.close(self._life_write)
        deadline = time.monotonic() + STOP_SECONDS
        while self.children and time.monotonic() < deadline:
            self._collect()
            if self.children:
                select.select([self._wake_read], [], [], 0.05)
                with suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
        for pid in self.children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while self.children:
            self._collect(block=True)
        rundir.remove(self.spec.name, os.getpid())
        if self._trace is not None:
            self._write_trace(self._trace)

    def _collect(self, block: bool = False) -> None:
        try:
            pid, _ = os.waitpid(-1, 0 if block else os.WNOHANG)
        except ChildProcessError:
            self.children.clear()
            return
        if pid:
            os.close(self.children.pop(pid).status)

    def _write_trace(self, trace: BinaryIO) -> None:
        parts = []
        for journal in self.journals:
            journal.seek(0)
            parts.append(journal.read())
        with trace:
            trace.write(pack(opening(self.spec)))
            trace.writelines(pack(record) for record in merge(parts))


def _raise_if_failed(word: Word) -> None:
    if len(word) == 4:
        raise Ended(ExitCode(word[2]), f"{word[0]}: {word[3]}")


def _trace_file(path: str) -> BinaryIO:
    """Opened before anything is started, so that a bad path costs nobody a run."""
    try:
        return open(path, "wb")
    except OSError as error:
        raise OperatorError(f"cannot write a trace to {path}: {error.strerror}") from None


def _redirect_standard_streams() -> None:
    """A child's standard input and output are not the command line's; its standard error is."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)


def tell(event: str, **fields: object) -> None:
    """One line to whoever started us, if they are still there."""
    with suppress(OSError):
        os.write(1, json.dumps({"event": event, **fields}).encode() + b"\n")


def supervise(spec: VmSpec) -> tuple[ExitCode, str]:
    """The whole life of a VM: how it ended."""
    try:
        supervisor = Supervisor(spec)
    except Exception as error:
        return explain(error)
    try:
        supervisor.start()
        supervisor.serve()
    except Ended as ended:
        result = ended.code, ended.line
    except Exception as error:
        result = explain(error)
    try:
        supervisor.clean_up()
    except Exception as error:
        return explain(error)
    return result


def main() -> int:
    """Entry point: ``python -m lab.supervisor SPEC`` with the description as JSON."""
    code, line = supervise(VmSpec.from_json(sys.argv[1]))
    tell("ended", code=int(code), line=line)
    return code


if __name__ == "__main__":
    sys.exit(main())
