"""A partition and its VP ports in one process. The test decides which envelope arrives when.

Each port has its own two queues: first in, first out each, and in no order to those of the others, as ZeroMQ's sockets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from host.hypervisor.partition import HypervisorOptions, Partition
from protocol.errors import PeerError
from protocol.ids import PAGE_SIZE, ConnectionId, Pfn, Sint, VpIndex
from protocol.port.envelope import ToPort, read_to_port
from protocol.port.vp_port import VpPort
from protocol.shell.memory import GuestRam
from protocol.wire.hypercall import Code, ControlWord, PostMessageInput, SignalEventInput, Status
from protocol.wire.synic import CONTROL_ENABLE, MESSAGE_SINT, Register, SintConfig, SynicMessage, SynicPage

VECTOR = 0xF3
POST = ControlWord(Code.POST_MESSAGE).encode()
SIGNAL = ControlWord(Code.SIGNAL_EVENT, fast=True).encode()
MESSAGES, EVENTS, UNKNOWN = ConnectionId(4), ConnectionId(0x2007), ConnectionId(99)


class Vp:
    """A VP port with its wire, and the guest on it."""

    def __init__(self, machine: Machine, index: int) -> None:
        self.machine = machine
        self.index = VpIndex(index)
        self.to_host: deque[bytes] = deque()
        self.to_port: deque[bytes] = deque()
        self.port = VpPort(self.index, machine.ram, self)
        self.input_page = 1 + 3 * index
        self.during: list[Callable[[], object]] = []
        """What happens while this VP is in its next calls, before the host hears of them."""

    # The wire.

    def send(self, data: bytes) -> None:
        self.to_host.append(data)

    def wait(self) -> None:
        """Whoever else runs, the answer comes after all that was said before."""
        if self.during:
            self.during.pop(0)()
        while self.to_host:
            self.deliver_to_host()
        self.machine.host.flush()
        self.deliver()

    def deliver_to_host(self) -> None:
        self.machine.host.receive(self.index, self.to_host.popleft())

    def deliver(self) -> None:
        self.port.receive(self.to_port.popleft())

    # The guest.

    def enable(self) -> None:
        for register, value in (
            (Register.SIMP, SynicPage(True, Pfn(self.input_page + 1)).encode()),
            (Register.SIEFP, SynicPage(True, Pfn(self.input_page + 2)).encode()),
            (Register.sint(MESSAGE_SINT), SintConfig(VECTOR, masked=False).encode()),
            (Register.SCONTROL, CONTROL_ENABLE),
        ):
            self.port.write_register(register, value)

    def post(self, payload: bytes, connection: int = MESSAGES, message_type: int = 1) -> int:
        """HvPostMessage."""
        request = PostMessageInput(ConnectionId(connection), message_type, payload).encode()
        self.machine.ram.page(self.input_page)[: len(request)] = request
        return self.port.hypercall(POST, self.input_page * PAGE_SIZE)

    def doorbell(self, connection: int = EVENTS, flag: int = 0) -> int:
        """HvSignalEvent, and its result, which Linux does not look at."""
        return self.port.hypercall(SIGNAL, SignalEventInput(ConnectionId(connection), flag).encode())

    def take_message(self) -> bytes | None:
        """What ``vmbus_on_msg_dpc`` does: copy, empty the slot, EOM if another one waits."""
        slot = self.port.message_slot(MESSAGE_SINT)
        assert slot is not None
        message = SynicMessage.decode(slot)
        if not message.message_type:
            return None
        slot.cast("I")[0] = 0
        if slot[5] & 1:
            self.port.write_register(Register.EOM, 0)
        return message.payload

    def flag(self, number: int) -> bool:
        words = self.port.flag_words(MESSAGE_SINT)
        return words is not None and bool(words[number // 64] >> number % 64 & 1)

    def clear_flags(self) -> None:
        words = self.port.flag_words(MESSAGE_SINT)
        assert words is not None
        for index in range(len(words)):
            words[index] = 0


class Machine:
    """``vps`` ports, all with their SynIC on."""

    def __init__(self, vps: int = 2, options: HypervisorOptions | None = None, enabled: bool = True) -> None:
        self.ram = GuestRam.create((1 + 3 * vps) * PAGE_SIZE, "machine")
        self.complaints: list[str] = []
        self.posted: list[tuple[int, bytes]] = []
        self.rung = 0
        self.journal: list[tuple[object, ...]] = []
        self.options = options or HypervisorOptions()
        self.host = Partition(
            vps, self.ram, self._transmit, self.options, lambda *record: self.journal.append(record), self._complain
        )
        self.vps = [Vp(self, index) for index in range(vps)]
        self.host.listen_messages(MESSAGES, lambda vp, payload: self.posted.append((vp, payload)))
        self.host.listen_events(EVENTS, self._ring)
        for vp in self.vps if enabled else ():
            vp.port.hello()
            vp.enable()

    def _transmit(self, vp: VpIndex, data: bytes) -> None:
        self.vps[vp].to_port.append(data)

    def _complain(self, error: PeerError) -> None:
        self.complaints.append(str(error))

    def _ring(self) -> None:
        self.rung += 1

    def signal(self, vp: int, flag: int) -> bool:
        return self.host.signal(VpIndex(vp), MESSAGE_SINT, flag)

    def say(self, vp: int, payload: bytes, after: tuple[int, ...] = (), sint: Sint = MESSAGE_SINT) -> None:
        self.host.post(VpIndex(vp), sint, payload, frozenset(map(VpIndex, after)))

    def on_the_way(self, vp: int) -> list[ToPort]:
        return [ToPort(read_to_port(data)[3]) for data in self.vps[vp].to_port]

    def settle(self) -> None:
        """Everything arrives; the guests say nothing of their own accord."""
        while True:
            self.host.flush()
            for vp in self.vps:
                while vp.to_port:
                    vp.deliver()
            if not any(vp.to_host for vp in self.vps):
                return
            for vp in self.vps:
                while vp.to_host:
                    vp.deliver_to_host()


def status(result: int) -> Status:
    return Status(result & 0xFFFF)
