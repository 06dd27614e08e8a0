"""One CPU's view of a controller: sending on its channels, and taking what comes back on any of them."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from guest.block.queue import RequestQueue
from guest.drivers.scsi.command import ScsiAddress, ScsiCommand
from guest.drivers.scsi.result import ScsiResult
from guest.drivers.storvsc.channels import OutgoingChannels
from guest.drivers.storvsc.srb import ABANDONED, LOST, execute_srb, result_of
from guest.drivers.storvsc.words import StorChannelWords, StorvscDevice
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.errors import VmbusError
from protocol.errors import PeerError
from protocol.ids import PAGE_SIZE, Cpu, Pfn, Relid
from protocol.ring import COMPLETION_REQUESTED, Packet
from protocol.wire.gpadl import GpaRange
from protocol.wire.vstor import PACKET_SIZE, REQUEST_COMPLETION, Operation, VstorPacket

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus

VMBUS_RQST_INIT: Final = (1 << 64) - 3
"""Transaction id of handshake packets. Requests have their unique tag + 1, so 0 is left for the unsolicited."""
STEP_TIMEOUT: Final = 5.0
"""Seconds for each step of the handshake."""
COMMAND_TIMEOUT: Final = 20.0
"""Seconds, ``scsi_inq_timeout``."""
_OPERATION_SIZE: Final = 4
_NEED_A_REQUEST: Final = frozenset({Operation.COMPLETE_IO, Operation.FCHBA_DATA})
_SCAN: Final = frozenset({Operation.ENUMERATE_BUS, Operation.REMOVE_DEVICE})


class Controller:
    """``storvsc_device``: everything to remember is in ``words``, so any CPU can have one of these at any time.

    ``answered`` is the number of the function that makes a CPU look at its handshake again, ``scan`` asks for a scan.

    Simplified: the callback takes all completions; Linux stops after 2 ms and comes again.
    """

    def __init__(
        self,
        bus: Vmbus,
        queue: RequestQueue,
        channel: VmbusChannel,
        words: StorvscDevice,
        answered: int,
        scan: Callable[[int], None],
    ) -> None:
        core = bus.core
        self.channel = channel
        self.words = words
        self.host_no = channel.state(StorChannelWords).host_no
        self.channels = OutgoingChannels(bus, words, channel, core.locks.irqsave("stor_device", self.host_no))
        self._bus = bus
        self._core = core
        self._queue = queue
        self._answered = answered
        self._scan = scan
        self._room = core.wait_queue(words)

    # --- process context ------------------------------------------------------------------------------------------

    async def exchange(self, packet: VstorPacket, timeout: float = STEP_TIMEOUT) -> VstorPacket:
        """``storvsc_execute_vstor_op``: one step of the handshake.

        Raises VmbusError: ETIMEDOUT, EAGAIN (ring full), ENODEV (rescinded; Linux waits for the time-out).
        """
        words = self.words
        words.init_cpu = self._core.cpu
        words.init_done = 0
        payload = VstorPacket(packet.operation, REQUEST_COMPLETION, body=packet.body).encode()
        if not self.channel.send_packet(payload, VMBUS_RQST_INIT, flags=COMPLETION_REQUESTED):
            raise VmbusError(errno.EAGAIN, "storvsc: no room in the ring")
        channel = self.channel.words
        if not await self._core.wait_until(lambda: bool(words.init_done or channel.rescind), timeout):
            raise VmbusError(errno.ETIMEDOUT, f"storvsc: no answer to {Operation(packet.operation).name}")
        if channel.rescind:
            raise VmbusError(errno.ENODEV, f"storvsc: channel {self.channel.relid} was rescinded")
        return VstorPacket.decode(words.init_answer)

    async def execute(
        self,
        address: ScsiAddress,
        command: ScsiCommand,
        tagged: bool,
        alive: Callable[[], bool] | None = None,
    ) -> ScsiResult:
        """``storvsc_queuecommand``: one command to one unit, from any CPU; it fails unsent once it is not ``alive``.

        ``tagged``: the unit queues commands. While units are looked for, alive is what is not being removed.
        """
        payload = execute_srb(self.host_no, address, command, tagged)
        send = partial(self._send, payload, _ranges(command), alive or (lambda: True))
        return result_of(await self._queue.execute(self.channel.relid, send, self._room), command)

    @property
    def alive(self) -> bool:
        """Requests may be sent."""
        return not (self.words.destroy or self.channel.words.rescind)

    def _send(self, payload: bytes, ranges: tuple[GpaRange, ...], alive: Callable[[], bool], tag: int) -> bool:
        """``storvsc_do_io``. False: the ring is full, and the callback will run when it is worth another try."""
        try:
            if self.alive and alive():
                channel = self.channels.choose(self._core.cpu)
                self._queue.sent_on(tag, channel.relid)
                if ranges:
                    return channel.send_gpa_direct(ranges, payload, tag + 1, COMPLETION_REQUESTED)
                return channel.send_packet(payload, tag + 1, flags=COMPLETION_REQUESTED)
        except PeerError as error:
            self._bus.printk(f"hv_storvsc: channel {self.channel.relid}: {error}")
        self._queue.complete(self.channel.relid, tag, LOST)
        return True

    async def drain(self) -> None:
        """``storvsc_wait_to_drain``. Where no answer can come any more, after a rescind say, the requests fail here."""
        relid, channel = self.channel.relid, self.channel.words
        if channel.rescind or not channel.callback:
            self._end_in_flight(LOST)
        await self._room.wait_event(lambda: not self._queue.in_flight(relid))

    @contextmanager
    def timing_out(self) -> Iterator[None]:
        """Around commands that nobody else ends: let ``storvsc_eh_timed_out`` be called now and then.

        The host may take as long as it likes, unless it has taken the channel back (Linux would wait even then).
        """
        timer = self._core.call_later(COMMAND_TIMEOUT, lambda: expire())

        def expire() -> None:
            nonlocal timer
            if self.channel.words.rescind:
                self._end_in_flight(LOST)
            timer = self._core.call_later(COMMAND_TIMEOUT, expire)

        try:
            yield
        finally:
            timer.cancel()

    def lost(self) -> None:
        """No answer can come on any channel. (Linux goes on to wait for them.)"""
        self._end_in_flight(LOST)
        self._core.wake_parked()

    def sub_channel_lost(self, channel: VmbusChannel) -> None:
        """What was sent on it is sent again on another: no answer can come."""
        self.channels.lost(channel)
        self._end_in_flight(ABANDONED, channel.relid)

    def _end_in_flight(self, answer: bytes, sent_on: Relid | None = None) -> None:
        relid = self.channel.relid
        for tag in self._queue.in_flight(relid, sent_on):
            self._queue.complete(relid, tag, answer)
        self._room.wake_up()

    # --- softirq context, on whatever CPU a channel interrupts ------------------------------------------------------

    def on_channel_callback(self, channel: VmbusChannel) -> None:
        """``storvsc_on_channel_callback``. Whoever waits for room looks again: requests have left the ring."""
        counts = channel.state(StorChannelWords)
        channel.receive(lambda packet: self._take(counts, packet))
        self._room.wake_up()

    def _take(self, counts: StorChannelWords, packet: Packet) -> None:
        """``storvsc_on_receive``. An answer is at least 64 bytes; what came unasked at least names its operation."""
        words, id, payload = self.words, packet.transaction_id, packet.payload
        if len(payload) < (PACKET_SIZE if id else _OPERATION_SIZE):
            counts.malformed += 1
        elif id == VMBUS_RQST_INIT:
            words.init_answer = bytes(payload[:PACKET_SIZE])
            words.init_done = 1
            self._core.calls.call(Cpu(words.init_cpu), self._answered, 0)
        elif id:
            if self._queue.complete(self.channel.relid, id - 1, payload[:PACKET_SIZE]):
                counts.completions += 1
            else:
                counts.unknown += 1
        else:
            self._take_unsolicited(counts, int.from_bytes(payload[:_OPERATION_SIZE], "little"))

    def _take_unsolicited(self, counts: StorChannelWords, operation: int) -> None:
        if operation in _NEED_A_REQUEST:
            counts.malformed += 1
            return
        counts.unsolicited += 1
        if operation in _SCAN:
            self.want_scan()

    def want_scan(self) -> None:
        """``queue_work(handle_error_wq, host_scan_work)``: from any CPU; once for all who ask before it begins."""
        if not self.words.scan_wanted:
            self.words.scan_wanted = 1
            self._scan(self.host_no)


def _ranges(command: ScsiCommand) -> tuple[GpaRange, ...]:
    """One range: a list of pages of which only the last may be used in part."""
    if not command.length:
        return ()
    pages = -(-command.length // PAGE_SIZE)
    return (GpaRange(command.length, 0, tuple(map(Pfn, range(command.first, command.first + pages)))),)
