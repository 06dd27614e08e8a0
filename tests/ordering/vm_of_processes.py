"""Real processes that measure one thing: can a promise of the host overtake a signal that it sent before?

A host process (the project's hypervisor and VMBus server behind a ROUTER socket) and worker processes (the project's
VP ports behind DEALER sockets). The guest is a script: VP 0 moves channels round the other VPs with MODIFYCHANNEL, and
each time the device has signalled the old VP just before the host hears of the move. The response promises that the
old VP gets no more interrupts of that channel, so it must not be seen before the flag is set there.

How VP 0 judges, from shared memory alone: the host stores ``raised`` before it signals; the old VP's handler stores
``handled`` before it clears the flag. VP 0 loads the flag first and ``handled`` second. If the flag is 0 and the signal
is not handled either, the flag had not been set when VP 0 looked: a violation, whatever the timing. A channel's next
trial waits until the signal of the last one is handled, so ``handled`` never stands for another signal.

    python -m tests.ordering.vm_of_processes TRIALS [no-fences]     prints {"violations": ..., "seconds": ...}
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgpack
import zmq

from host.hypervisor.partition import HypervisorOptions, Partition
from host.process.main import Bus
from host.vmbus.options import HostOptions
from host.vmbus.server import VmbusServer
from host.vsp.device import Offer, VspChannel
from protocol.ids import PAGE_SIZE, GpadlId, Pfn, Relid, Sint, VpIndex
from protocol.port.vp_port import VpPort
from protocol.shell.child import Child
from protocol.shell.fence import full_fence
from protocol.shell.memory import GuestRam
from protocol.shell.port_socket import PortSocket
from protocol.shell.pump import Pump
from protocol.wire.gpadl import GpaRange, split
from protocol.wire.guids import HV_SCSI_GUID
from protocol.wire.hypercall import (
    MESSAGE_CONNECTION,
    MULTI_CLIENT_CONNECTION,
    Code,
    ControlWord,
    PostMessageInput,
    Status,
)
from protocol.wire.messages import (
    AllOffersDelivered,
    ControlMessage,
    GpadlCreated,
    InitiateContact,
    ModifyChannel,
    ModifyChannelResponse,
    OfferChannel,
    OpenChannel,
    OpenChannelResult,
    RequestOffers,
    VersionResponse,
    decode,
    encode,
)
from protocol.wire.synic import (
    HYPERVISOR_CALLBACK_VECTOR,
    MESSAGE_SINT,
    VMBUS_MESSAGE_TYPE,
    Register,
    SintConfig,
    SynicMessage,
    SynicPage,
    event_flag_word,
)
from protocol.wire.versions import Dialect, Version

VPS = 8
CHANNELS = 2
RINGS = 4
"""Pages of both rings of a channel."""
DIALECT = Dialect(Version.V5_3)
SINT = Sint(MESSAGE_SINT)
POST = ControlWord(Code.POST_MESSAGE).encode()
INPUT = Pfn(1)
"""The page through which VP 0 posts."""


def message_page(vp: int) -> Pfn:
    return Pfn(2 + 2 * vp)


def event_page(vp: int) -> Pfn:
    return Pfn(3 + 2 * vp)


def ring_pages(relid: int) -> tuple[Pfn, ...]:
    first = 2 + 2 * VPS + (relid - 1) * RINGS
    return tuple(Pfn(pfn) for pfn in range(first, first + RINGS))


class Shared:
    """What the processes write for VP 0 to judge by; one writer to a word."""

    def __init__(self) -> None:
        self.ram = GuestRam.create((2 + 2 * VPS + CHANNELS * RINGS) * PAGE_SIZE, "vmbus-lab:ordering")
        words = memoryview(mmap.mmap(-1, PAGE_SIZE)).cast("Q")
        self.raised = words[:64]
        self.handled = words[64:128]


# --- the host -----------------------------------------------------------------------------------------------------


class Bell:
    """A device that signals when it is told to."""

    def __init__(self, number: int) -> None:
        self.offer = Offer(HV_SCSI_GUID, UUID(int=number))
        self.channel: VspChannel

    def open(self, channel: VspChannel, user_data: bytes) -> None:
        self.channel = channel

    def close(self, done: Callable[[], None]) -> None:
        done()

    def doorbell(self) -> None:
        """Nobody rings."""

    def counts(self) -> dict[str, int]:
        return {}


class Host:
    """Hypervisor and VMBus server behind the ROUTER socket."""

    def __init__(self, directory: str, shared: Shared, fences: bool, child: Child) -> None:
        bus = Bus(zmq.Context(), directory, VPS)
        partition = Partition(VPS, shared.ram, bus.transmit, HypervisorOptions(delivery_fences=fences))
        bus.deliver = partition.receive
        server = VmbusServer(partition, HostOptions(), child.fail, fence=full_fence)
        bells = {relid: Bell(relid) for relid in range(1, CHANNELS + 1)}
        for relid, bell in bells.items():
            server.offer(bell, Relid(relid))

        def hear(vp: VpIndex, payload: bytes) -> None:
            """The device signals, the signal leaves, and then the server hears of the move."""
            message = decode(payload, DIALECT)
            if isinstance(message, ModifyChannel):
                shared.raised[message.relid] += 1
                bells[message.relid].channel.signal()
                partition.flush()
            server.receive(payload)

        partition.listen_messages(MESSAGE_CONNECTION, hear)

        def work() -> bool:
            partition.flush()
            return False

        self._pump = Pump(child.loop, bus.socket, bus.receive, work)


# --- the guest ----------------------------------------------------------------------------------------------------


class Vp:
    """A VP with its SynIC on. Its interrupt handler notes which signals it has seen."""

    def __init__(self, vp: int, directory: str, shared: Shared, child: Child) -> None:
        wire = PortSocket(zmq.Context(), directory, VpIndex(vp))
        self.shared = shared
        self.port = VpPort(VpIndex(vp), shared.ram, wire)
        wire.deliver = self.port.receive
        self.wait = wire.wait
        self.port.hello()
        sint = SintConfig(HYPERVISOR_CALLBACK_VECTOR, masked=False, auto_eoi=True)
        for register, value in (
            (Register.SIMP, SynicPage(True, message_page(vp)).encode()),
            (Register.SIEFP, SynicPage(True, event_page(vp)).encode()),
            (Register.sint(SINT), sint.encode()),
            (Register.SCONTROL, 1),
        ):
            self.port.write_register(register, value)
        self.pump = Pump(child.loop, wire.socket, wire.receive, self.work)
        self.pump.kick()

    def work(self) -> bool:
        """The interrupt: every flag that is set, and the message slot."""
        while self.port.pending:
            self.port.take_vector()
        flags = self.port.flag_words(SINT)
        assert flags is not None
        while flags[0]:
            bit = flags[0] & -flags[0]
            relid = bit.bit_length() - 1
            self.shared.handled[relid] = self.shared.raised[relid]
            full_fence()
            flags[0] ^= bit
        return False


@dataclass(slots=True)
class Bound:
    """A channel as VP 0 knows it."""

    target: int = 1
    trial: int = 0


class Judge(Vp):
    """VP 0: opens the channels, moves them round the other VPs, and judges each response."""

    def __init__(self, directory: str, shared: Shared, trials: int, child: Child) -> None:
        super().__init__(0, directory, shared, child)
        self._child = child
        self._left = trials
        self._violations = 0
        self._input = shared.ram.page(INPUT)
        self._channels: dict[int, Bound] = {}
        self._resting: deque[int] = deque()
        self._connection = MULTI_CLIENT_CONNECTION
        self._post(InitiateContact(Version.V5_3, VpIndex(0), sint=SINT))

    def work(self) -> bool:
        super().work()
        while (message := self._take()) is not None:
            self._hear(message)
        for _ in range(len(self._resting)):
            self._next_trial(self._resting.popleft())
        return bool(self._resting)

    def _take(self) -> ControlMessage | None:
        slot = self.port.message_slot(SINT)
        assert slot is not None
        words = slot.cast("Q")
        if not words[0] & 0xFFFFFFFF:
            return None
        message = decode(SynicMessage.decode(slot).payload, DIALECT)
        words[0] = 0
        self.port.write_register(Register.EOM, 0)
        return message

    def _hear(self, message: ControlMessage) -> None:
        match message:
            case ModifyChannelResponse(relid, status):
                assert not status
                self._judge(relid)
            case VersionResponse():
                assert message.supported
                self._connection = MESSAGE_CONNECTION
                self._post(RequestOffers())
            case OfferChannel():
                self._channels[message.relid] = Bound()
            case AllOffersDelivered():
                for number in self._channels:
                    pages = GpaRange.whole_pages(ring_pages(number))
                    for part in split(Relid(number), GpadlId(number), [pages]):
                        self._post(part)
            case GpadlCreated(relid):
                self._post(OpenChannel(relid, 0, GpadlId(relid), VpIndex(1), RINGS // 2, b""))
            case OpenChannelResult(relid, _, status):
                assert not status
                self._next_trial(relid)
            case _:
                raise AssertionError(f"unexpected {message}")

    def _next_trial(self, relid: int) -> None:
        """Move it on, unless the signal of the last trial is still to be handled."""
        channel = self._channels[relid]
        if self.shared.handled[relid] != channel.trial:
            self._resting.append(relid)
            return
        channel.trial += 1
        self._post(ModifyChannel(Relid(relid), VpIndex(channel.target % (VPS - 1) + 1)))

    def _judge(self, relid: int) -> None:
        channel, ram = self._channels[relid], self.shared.ram
        word, bit = event_flag_word(SINT, relid)
        flag = ram.words[event_page(channel.target) * PAGE_SIZE // 8 + word] & bit
        full_fence()
        if not flag and self.shared.handled[relid] != channel.trial:
            self._violations += 1
        channel.target = channel.target % (VPS - 1) + 1
        self._left -= 1
        if self._left == 0:
            self._child.say("judged", self._violations)
        elif self._left >= CHANNELS:  # the other channels have a trial under way each
            self._next_trial(relid)

    def _post(self, message: ControlMessage) -> None:
        data = PostMessageInput(self._connection, VMBUS_MESSAGE_TYPE, encode(message, DIALECT)).encode()
        self._input[: len(data)] = data
        assert self.port.hypercall(POST, INPUT * PAGE_SIZE) == Status.SUCCESS
        self.pump.kick()


# --- the processes ------------------------------------------------------------------------------------------------


def measure(trials: int, fences: bool) -> dict[str, Any]:
    """Run the VM until ``trials`` responses are judged. Raises ``RuntimeError`` with why a process could not go on."""
    shared = Shared()
    life_read, life_write = os.pipe()
    status_read, status_write = os.pipe()
    words = msgpack.Unpacker()
    children = []

    def fork(name: str, make: Callable[[Child], object]) -> None:
        if pid := os.fork():
            children.append(pid)
            return
        os.close(life_write)
        child = Child(name, life_read, status_write)
        os._exit(child.run(lambda: make(child)))

    def next_word(wanted: str) -> Any:
        while True:
            for name, word, *fields in words:
                if word == "failed":
                    raise RuntimeError(f"{name}: {fields[1]}")
                if word == wanted:
                    return fields
            words.feed(os.read(status_read, 4096))

    with tempfile.TemporaryDirectory() as directory:
        try:
            fork("host", lambda child: Host(directory, shared, fences, child))
            next_word("ready")
            for vp in range(1, VPS):
                fork(f"vp{vp}", lambda child, vp=vp: Vp(vp, directory, shared, child))  # type: ignore[misc]
            for _ in range(1, VPS):
                next_word("ready")  # a signal to a VP whose SynIC is off would be lost
            began = time.monotonic()
            fork("vp0", lambda child: Judge(directory, shared, trials, child))
            (violations,) = next_word("judged")
            return {"violations": violations, "seconds": time.monotonic() - began}
        finally:
            os.close(life_write)
            for pid in children:
                os.waitpid(pid, 0)


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), "no-fences" not in sys.argv)))
