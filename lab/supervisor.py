"""The supervisor: starts the processes of one VM, outlives them, and leaves nothing behind.

It never has a thread, a ZeroMQ context or an event loop, so that it can fork; it waits in ``select``. Its standard
input is the life pipe of whoever started it, its standard output carries one JSON line per event. The host is bound
before the first worker is forked.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, NoReturn

from guest.linux.process.bridge import BridgeSpec, run_bridge
from guest.linux.process.qemu import Program
from guest.machine import KERNEL_BYTES, LOCK_FAMILIES
from guest.process.locks import InheritedLocks
from guest.process.worker import WorkerSpec, run_worker
from host.process.main import HostSpec, run_host
from lab import rundir
from lab.children import Children, Ended
from lab.description import opening
from lab.machine import Outside, guest_spec, machine_spec
from lab.spec import LinuxSpec, VmSpec
from protocol.errors import ExitCode, OperatorError
from protocol.journal import merge, pack
from protocol.shell.child import explain
from protocol.shell.journal_file import JournalFile
from protocol.shell.memory import GuestRam


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
        self.journals: list[BinaryIO] = []
        self._trace = None if spec.trace is None else _trace_file(spec.trace)
        self.children = Children()
        self.directory = rundir.create(spec.name)

    def _journal(self) -> JournalFile | None:
        """An unnamed file for one process's records: it survives the process, and nothing is left."""
        if self._trace is None:
            return None
        journal = tempfile.TemporaryFile(buffering=0, dir=Path(self._trace.name).resolve().parent)  # noqa: SIM115
        self.journals.append(journal)
        return JournalFile(journal.fileno(), tuple(self.spec.trace_events))

    def _start(self, name: str, run: Callable[[int, int, JournalFile | None], int], kill_with_us: bool) -> None:
        """Fork a child that runs ``run(life, status, journal)``."""
        journal = self._journal()
        self.children.fork(name, lambda life, status: run(life, status, journal), kill_with_us)

    def start(self) -> None:
        """Start the host, then what runs the guest; each process says when it is ready."""
        spec = self.spec
        # The collector writes to every object that it looks at: what all have inherited would be copied by each.
        gc.collect()
        gc.freeze()
        self._start("host", partial(self._host, os.getpid()), False)
        self.children.await_ready()
        if spec.linux is None:
            self._start_workers()
        else:
            self._start_bridge(spec.linux)
        self.children.await_ready()
        rundir.VmInfo(
            name=spec.name,
            supervisor=os.getpid(),
            pids={process.name: process.pid for process in self.children.running.values()},
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
            self._start(
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
        self._start("bridge", lambda life, status, journal: run_bridge(bridge, self.ram, life, status, journal), True)

    def serve(self) -> NoReturn:
        """Until something ends the VM."""
        while True:
            self.children.wait()

    # --- the end --------------------------------------------------------------------------------------------------

    def clean_up(self) -> None:
        """End every child, write the trace, remove the run directory."""
        self.children.end()
        rundir.remove(self.spec.name, os.getpid())
        if self._trace is not None:
            self._write_trace(self._trace)

    def _write_trace(self, trace: BinaryIO) -> None:
        parts = []
        for journal in self.journals:
            journal.seek(0)
            parts.append(journal.read())
        with trace:
            trace.write(pack(opening(self.spec)))
            trace.writelines(pack(record) for record in merge(parts))


def _trace_file(path: str) -> BinaryIO:
    """Opened before anything is started, so that a bad path costs nobody a run."""
    try:
        return open(path, "wb")
    except OSError as error:
        raise OperatorError(f"cannot write a trace to {path}: {error.strerror}") from None


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
