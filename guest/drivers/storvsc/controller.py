"""One CPU's view of a controller: sending on its channel, and taking what comes back."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import Final

from guest.block.queue import RequestQueue
from guest.drivers.scsi.command import ScsiAddress, ScsiCommand
from guest.drivers.scsi.result import ScsiResult
from guest.drivers.storvsc.srb import LOST, execute_srb, result_of
from guest.drivers.storvsc.words import StorvscWords
from guest.kernel.core import Core, Timer
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.errors import VmbusError
from protocol.errors import PeerError
from protocol.ids import PAGE_SIZE, Cpu, Pfn
from protocol.ring import COMPLETION_REQUESTED, Packet
from protocol.wire.gpadl import GpaRange
from protocol.wire.vstor import PACKET_SIZE, REQUEST_COMPLETION, Operation, VstorPacket

VMBUS_RQST_INIT: Final = (1 << 64) - 3
"""Transaction id of handshake packets. Requests have their unique tag + 1, so 0 is left for the unsolicited."""
STEP_TIMEOUT: Final = 5.0
"""Seconds for each step of the handshake."""
COMMAND_TIMEOUT: Final = 20.0
"""Seconds, ``scsi_inq_timeout``."""
_OPERATION_SIZE: Final = 4
_NEED_A_REQUEST: Final = frozenset({Operation.COMPLETE_IO, Operation.FCHBA_DATA})


class Controller:
    """``storvsc_device``: everything to remember is in ``words``, so any CPU can have one of these at any time.

    ``answered`` is the number of the function that makes a CPU look at its handshake again.

    Simplified: the callback takes all completions; Linux stops after 2 ms and comes again.
    """

    def __init__(self, core: Core, queue: RequestQueue, channel: VmbusChannel, answered: int) -> None:
        self.channel = channel
        self.words = channel.state(StorvscWords)
        self._core = core
        self._queue = queue
        self._answered = answered
        self._room = core.wait_queue(self.words)
        self._timer: Timer

    # --- process context ------------------------------------------------------------------------------------------

    async def exchange(self, packet: VstorPacket) -> VstorPacket:
        """``storvsc_execute_vstor_op``: one step of the handshake. Raises VmbusError: ETIMEDOUT, EAGAIN (ring full)."""
        words = self.words
        words.init_cpu = self._core.cpu
        words.init_done = 0
        payload = VstorPacket(packet.operation, REQUEST_COMPLETION, body=packet.body).encode()
        if not self.channel.send_packet(payload, VMBUS_RQST_INIT, flags=COMPLETION_REQUESTED):
            raise VmbusError(errno.EAGAIN, "storvsc: no room in the ring")
        if not await self._core.wait_until(lambda: words.init_done != 0, STEP_TIMEOUT):
            raise VmbusError(errno.ETIMEDOUT, f"storvsc: no answer to {Operation(packet.operation).name}")
        return VstorPacket.decode(words.init_answer)

    async def execute(
        self,
        address: ScsiAddress,
        command: ScsiCommand,
        tagged: bool,
        alive: Callable[[], bool] | None = None,
    ) -> ScsiResult:
        """``storvsc_queuecommand``: one command to one unit, from any CPU; it fails unsent once it is not ``alive``.

        ``tagged``: the unit queues commands. While units are looked for, alive is what has not been rescinded.
        """
        payload = execute_srb(self.words.host_no, address, command, tagged)
        send = partial(self._send, payload, _ranges(command), alive or self._not_rescinded)
        return result_of(await self._queue.execute(self.channel.relid, send, self._room), command)

    def _not_rescinded(self) -> bool:
        return not self.channel.words.rescind

    def _send(self, payload: bytes, ranges: tuple[GpaRange, ...], alive: Callable[[], bool], tag: int) -> bool:
        """``storvsc_do_io``. False: the ring is full, and the callback will run when it is worth another try."""
        channel = self.channel
        try:
            if alive():
                if ranges:
                    return channel.send_gpa_direct(ranges, payload, tag + 1, COMPLETION_REQUESTED)
                return channel.send_packet(payload, tag + 1, flags=COMPLETION_REQUESTED)
        except PeerError as error:
            channel.bus.printk(f"hv_storvsc: channel {channel.relid}: {error}")
        self._queue.complete(channel.relid, tag, LOST)
        return True

    async def drain(self) -> None:
        """``storvsc_wait_to_drain``. Where no answer can come any more, after a rescind say, the requests fail here."""
        relid, channel = self.channel.relid, self.channel.words
        if channel.rescind or not channel.callback:
            self._fail_in_flight()
        await self._room.wait_event(lambda: not self._queue.in_flight(relid))

    def start_timer(self) -> None:
        """Let ``storvsc_eh_timed_out`` be called while units are looked for, when nobody else ends a command."""
        self._timer = self._core.call_later(COMMAND_TIMEOUT, self._timed_out)

    def stop_timer(self) -> None:
        self._timer.cancel()

    def _timed_out(self) -> None:
        """The host may take as long as it likes, unless it has taken the channel back (Linux would wait even then)."""
        if self.channel.words.rescind:
            self._fail_in_flight()
        self.start_timer()

    def _fail_in_flight(self) -> None:
        relid = self.channel.relid
        for tag in self._queue.in_flight(relid):
            self._queue.complete(relid, tag, LOST)
        self._room.wake_up()

    # --- softirq context, on whatever CPU the channel interrupts --------------------------------------------------

    def on_channel_callback(self) -> None:
        """``storvsc_on_channel_callback``. Whoever waits for room looks again: requests have left the ring."""
        self.channel.receive(self._take)
        self._room.wake_up()

    def _take(self, packet: Packet) -> None:
        """``storvsc_on_receive``. An answer is at least 64 bytes; what came unasked at least names its operation."""
        words, id, payload = self.words, packet.transaction_id, packet.payload
        if len(payload) < (PACKET_SIZE if id else _OPERATION_SIZE):
            words.malformed += 1
        elif id == VMBUS_RQST_INIT:
            words.init_answer = bytes(payload[:PACKET_SIZE])
            words.init_done = 1
            self._core.calls.call(Cpu(words.init_cpu), self._answered, 0)
        elif id:
            if self._queue.complete(self.channel.relid, id - 1, payload[:PACKET_SIZE]):
                words.completions += 1
            else:
                words.unknown += 1
        elif int.from_bytes(payload[:_OPERATION_SIZE], "little") in _NEED_A_REQUEST:
            words.malformed += 1
        else:
            words.unsolicited += 1


def _ranges(command: ScsiCommand) -> tuple[GpaRange, ...]:
    """One range: a list of pages of which only the last may be used in part."""
    if not command.length:
        return ()
    pages = -(-command.length // PAGE_SIZE)
    return (GpaRange(command.length, 0, tuple(map(Pfn, range(command.first, command.first + pages)))),)
