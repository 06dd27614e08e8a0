"""The host process: a ROUTER socket towards the VP ports, a loop, and the machine between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import zmq

from host.faults import break_host
from host.machine import Machine, MachineSpec
from host.operator import VERBS, operate
from host.process.disk import ImageFile
from host.process.services import LoopServices
from host.vsp.kind import Disk
from protocol.ids import VpIndex
from protocol.port.envelope import EnvelopeError
from protocol.shell.child import Child
from protocol.shell.control import ControlServer
from protocol.shell.fence import full_fence
from protocol.shell.journal_file import JournalFile
from protocol.shell.memory import GuestRam
from protocol.shell.pump import Pump, take

_MORE = int(zmq.SNDMORE | zmq.NOBLOCK)


@dataclass(frozen=True, slots=True)
class HostSpec:
    """``epoch`` is the monotonic clock in ns at the VM's creation."""

    directory: str
    epoch: int
    machine: MachineSpec


class Bus:
    """The ROUTER socket: one peer per VP. A peer that is nobody, or that says what nobody says, ends the VM."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], directory: str, vcpus: int) -> None:
        self.socket = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.monitor: zmq.Socket[bytes] = self.socket.get_monitor_socket(zmq.EVENT_ACCEPTED)
        self.socket.bind(f"ipc://{directory}/bus")
        self._names = [f"vp{vp}".encode() for vp in range(vcpus)]
        self._vps = {name: VpIndex(vp) for vp, name in enumerate(self._names)}
        self._connections = 0
        self.deliver: Callable[[VpIndex, bytes], None] = lambda vp, data: None

    def accepted(self) -> bool:
        """Somebody has connected. ZeroMQ ignores whom it does not understand or whose name is taken; a VM must not."""
        if take(self.monitor) is None:
            return False
        self.monitor.recv(zmq.NOBLOCK)  # the address; the event, which is always the same, was in front of it
        self._connections += 1
        if self._connections > len(self._names):
            raise EnvelopeError(
                f"a stranger is on the socket: connection {self._connections} of {len(self._names)} VPs"
            )
        return True

    def transmit(self, vp: VpIndex, data: bytes) -> None:
        """Send to a port; a full queue means that the window has failed to bound it, which is a bug."""
        try:
            self.socket.send(self._names[vp], _MORE)
        except zmq.Again:
            raise RuntimeError(f"the queue to VP {vp} is full, which the protocol forbids") from None
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return  # the port's process has died: the supervisor says so, and ends the VM
        self.socket.send(data, zmq.NOBLOCK)

    def receive(self) -> bool:
        """Take one envelope; False if there is none.

        A part too many is taken for the name of a peer next time, and what follows it for an envelope: it is an error
        then. (To ask ZeroMQ for it each time takes 1 us.)
        """
        name = take(self.socket)
        if name is None:
            return False
        data = take(self.socket)
        vp = self._vps.get(name)
        if vp is None or data is None:
            raise EnvelopeError(f"a stranger is on the socket: peer {name[:16]!r} sent {(data or b'')[:16]!r}")
        try:
            self.deliver(vp, data)
        except EnvelopeError as error:
            raise EnvelopeError(f"VP {vp}: {error}") from None
        return True


class HostProcess:
    """The process."""

    def __init__(self, spec: HostSpec, ram: GuestRam, child: Child, journal: JournalFile | None) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._child = child
        self._bus = Bus(context, spec.directory, spec.machine.vcpus)
        self._services = LoopServices(child.loop, spec.epoch)
        recorder = journal.recorder("host", self._services.now) if journal is not None else None
        self.machine = Machine(
            spec.machine, ram, self._bus.transmit, self._services, self._open_disk, full_fence, recorder
        )
        self.machine.partition.on_crash = self._crashed
        self._bus.deliver = self.machine.partition.receive
        self._pump = Pump(child.loop, self._bus.socket, self._bus.receive, self.machine.partition.flush)
        self._guard = Pump(child.loop, self._bus.monitor, self._bus.accepted, lambda: False)
        self._guard.kick()  # ZeroMQ wakes a socket of this kind only if it has been looked at once
        self._services.after = self._after
        self._control = ControlServer(
            child.loop,
            context,
            f"ipc://{spec.directory}/host",
            {
                "quiesce": self.machine.services.quiesce,
                "resume": self.machine.services.resume,
                "fence": self._fence,
                "snapshot": self.machine.snapshot,
                **{verb: partial(self._operate, verb) for verb in VERBS},
                "inject": lambda fault, **arguments: break_host(self.machine, fault, **arguments),
            },
            self._after,
        )

    def _after(self) -> None:
        self.machine.partition.flush()
        self._pump.kick()

    def _open_disk(self, disk: Disk) -> ImageFile:
        return ImageFile(disk.path, disk.writable, self._services.post)

    def _crashed(self, vp: VpIndex, text: str) -> None:
        self._child.fail(RuntimeError(f"the guest panicked on VP {vp}: {text}"))

    def _fence(self) -> asyncio.Future[None]:
        """Done when every signal raised so far, towards every VP, has been delivered."""
        future: asyncio.Future[None] = self._child.loop.create_future()
        self.machine.partition.when_delivered(self.machine.partition.vps, lambda: future.set_result(None))
        return future

    def _operate(self, verb: str, /, **arguments: Any) -> asyncio.Future[Any]:
        """What an operator asks for; the result."""
        future: asyncio.Future[Any] = self._child.loop.create_future()
        operate(self.machine, verb, future.set_result, **arguments)
        return future


def run_host(
    spec: HostSpec, ram: GuestRam, life: int, status: int, journal: JournalFile | None, last_will: Callable[[], object]
) -> int:
    """The body of the host process; returns its exit code. ``last_will``: what to do when the supervisor is gone."""
    child = Child("host", life, status, last_will)
    return child.run(lambda: HostProcess(spec, ram, child, journal))
