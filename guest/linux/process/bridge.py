"""The bridge: one process that runs the VP ports of a real guest, beside the QEMU that runs the guest.

To the host it is what the vCPU workers are: one peer per VP on the same bus, the same envelopes. Everything happens in
one loop. A VP that makes a call stops the bridge for the time of the host's answer, which the host never withholds.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import zmq

from guest.linux.image import BootImage
from guest.linux.mailbox import Mailbox
from guest.linux.port import LinuxPort
from guest.linux.process.ivshmem import Doorbells
from guest.linux.process.qemu import Machine, Program, Qemu
from guest.linux.process.serial import SerialPort
from guest.linux.process.tsc import TscRate
from guest.linux.refclock import ReferenceClock
from guest.linux.vp import LinuxVp, Shared
from protocol.errors import ExitCode, OperatorError
from protocol.ids import PAGE_SIZE, VpIndex
from protocol.shell.atomic import AtomicWords
from protocol.shell.child import Child
from protocol.shell.control import ControlServer
from protocol.shell.fence import full_fence
from protocol.shell.journal_file import JournalFile
from protocol.shell.memory import GuestRam
from protocol.shell.port_socket import PortSocket
from protocol.shell.pump import Pump

CONSOLE, AGENT = "console", "agent"
"""The guest's serial ports, in this order."""
ENDS = {"guest-shutdown": "the guest has powered off", "guest-reset": "the guest has restarted"}


@dataclass(frozen=True, slots=True)
class BridgeSpec:
    """``epoch`` is the monotonic clock in ns at the VM's creation; the others are files and what QEMU needs."""

    directory: str
    epoch: int
    vcpus: int
    numa: list[list[int]]
    kernel: str
    initramfs: str
    command_line: str
    rom: str
    qemu: Program


class QemuFailed(OperatorError):
    """QEMU has ended, and it was not the guest's wish."""

    exit_code = ExitCode.PROCESS_DIED


class Bridge:
    """The process."""

    def __init__(self, spec: BridgeSpec, ram: GuestRam, child: Child, journal: JournalFile | None) -> None:
        self.child = child
        self._epoch = spec.epoch
        rate = TscRate()
        image = BootImage(
            Path(spec.kernel).read_bytes(), Path(spec.initramfs).read_bytes(), spec.command_line, spec.vcpus, spec.numa
        )
        for address, content in image.place(ram.pages * PAGE_SIZE).items():
            ram.bytes[address : address + len(content)] = content
        self._doorbells = Doorbells(spec.vcpus)
        self.serials = {name: SerialPort(child.loop) for name in (CONSOLE, AGENT)}
        self.qemu = self._start_qemu(spec, ram)

        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._shared = Shared(ram, ReferenceClock(self._now, rate.hertz))
        fetch_or = AtomicWords(ram.bytes).fetch_or
        self.vps: list[LinuxVp] = []
        for vp in map(VpIndex, range(spec.vcpus)):
            wire = PortSocket(context, spec.directory, vp)
            port = LinuxPort(vp, ram, wire, fetch_or, full_fence, partial(self._doorbells.ring, vp))
            wire.deliver = port.receive
            pump = Pump(child.loop, wire.socket, wire.receive, lambda: False)
            recorder = journal.recorder(f"cpu{vp}", self._now) if journal is not None else None
            self.vps.append(LinuxVp(port, Mailbox(ram, vp), self._shared, recorder))
            child.loop.add_reader(self._doorbells.fds[vp], self._stopped, vp, pump)
            port.hello()
            pump.kick()
        self.control = ControlServer(
            child.loop,
            context,
            f"ipc://{spec.directory}/bridge",
            {
                "read": lambda port, since: self.serials[port].read(since),
                "write": lambda port, data: self.serials[port].write(data),
                "snapshot": self.snapshot,
            },
            lambda: None,
        )

    def _now(self) -> int:
        """Reference time: 100 ns units since the VM was created."""
        return (time.monotonic_ns() - self._epoch) // 100

    def _start_qemu(self, spec: BridgeSpec, ram: GuestRam) -> Qemu:
        ours, theirs = socket.socketpair()
        self._doorbells.greet(ours)  # fits into the socket's buffer; QEMU reads it when it comes to it
        self._ivshmem = ours  # it must stay open, or the device thinks its peers gone
        machine = Machine(
            rom=spec.rom,
            memory=ram.pages * PAGE_SIZE,
            ram=ram.fd,
            vcpus=spec.vcpus,
            vectors=self._doorbells.vectors,
            ivshmem=theirs.fileno(),
            serials=tuple(port.fd for port in self.serials.values()),
        )
        qemu = Qemu(spec.qemu, machine, self.child.loop, self._ended)
        theirs.close()
        for port in self.serials.values():
            port.hand_over()
        return qemu

    def _stopped(self, vp: VpIndex, pump: Pump) -> None:
        """A VP has rung: its guest waits for an answer."""
        self._doorbells.heard(vp)
        self.vps[vp].serve()
        pump.kick()

    def _ended(self, how: str) -> None:
        """The machine is off."""
        if how in ENDS:
            self.child.finish(ENDS[how])
        else:
            self.child.fail(QemuFailed(how))

    def snapshot(self) -> list[dict[str, Any]]:
        """Everything that the ports have counted, by VP."""
        return [vp.snapshot() for vp in self.vps]


def run_bridge(spec: BridgeSpec, ram: GuestRam, life: int, status: int, journal: JournalFile | None) -> int:
    """The body of the bridge process; returns its exit code."""
    bridges: list[Bridge] = []

    def kill_qemu() -> None:
        for bridge in bridges:
            bridge.qemu.kill()

    child = Child("bridge", life, status, kill_qemu)
    try:
        return child.run(lambda: bridges.append(Bridge(spec, ram, child, journal)))
    finally:
        kill_qemu()
