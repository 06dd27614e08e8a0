"""One NIC: what its channels share, between the guest's buffers and the back end."""

from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from host.vsp.net.backend import Backend, Frames
from host.vsp.net.control import Adapter, RndisControl
from host.vsp.net.counts import NicCounts
from host.vsp.net.frames import message_of, wanted
from host.vsp.net.receive_buffer import ReceiveBuffer
from host.vsp.net.rss import ReceiveSideScaling
from host.vsp.net.send_buffer import SendBuffer
from protocol.errors import PeerError
from protocol.ring.transfer_pages import TransferRange
from protocol.wire.nvsp_numbers import MAX_RANGES, ChannelType
from protocol.wire.rndis import IndicateStatus, RndisStatus

PRIMARY: Final = 0
MAX_ANSWERS: Final = 100
"""Control messages that wait for the guest to take those before them (OpenVMM has a limit too); Linux awaits each."""


class Lender(Protocol):
    """An open channel, as the NIC uses it."""

    @property
    def congested(self) -> bool:
        """Packets wait for room in its ring."""

    def lend(self, ranges: Sequence[TransferRange], channel_type: ChannelType) -> None:
        """Tell the guest of messages in the receive buffer."""

    def answer(self, place: TransferRange, message: bytes) -> None:
        """Tell the guest of a control message there."""

    def forget(self) -> None:
        """What was lent is lost: the receive buffer is gone."""


class Nic:
    """A ``Port``. ``channels`` are the open ones, by sub-channel index.

    Frames for the guest are written into the receive buffer in the order in which the back end hands them over, and
    each call makes one packet for each channel that gets some. When the buffer is used up or a ring is full, the back
    end is told to wait; that is the only back pressure there is.
    """

    def __init__(self, adapter: Adapter, backend: Backend) -> None:
        self.adapter = adapter
        self.backend = backend
        self.counts = NicCounts()
        self.channels: dict[int, Lender] = {}
        self.receive_buffer: ReceiveBuffer | None = None
        self.send_buffer: SendBuffer | None = None
        self._starved = False
        self._delivering = False
        self.start_over()
        backend.connect(self)

    def start_over(self) -> None:
        """Nothing of what the guest has set up is left; frames that the back end keeps for it are not wanted."""
        self.receive_buffer = None
        self.send_buffer = None
        for channel in self.channels.values():
            channel.forget()
        self.rss = ReceiveSideScaling()
        self.control = RndisControl(self.adapter, self.rss, self._answer)
        self._answers: deque[bytes] = deque()
        self.relieve()

    # --- frames -------------------------------------------------------------------------------------------------------

    def transmit(self, frames: Frames, index: int) -> None:
        """The guest sent these on a channel."""
        counts = self.counts.of(index)
        counts.transmitted_frames += len(frames)
        counts.transmitted_bytes += sum(map(len, frames))
        self.backend.transmit(frames, index)

    def deliver(self, frames: Frames, queue: int | None = None) -> int:
        """Sending a packet can make the room that was missing (``Endpoint.post``), so that is looked at once more: if
        this returns early, there is no room now, and whatever makes some later calls ``relieve``.
        """
        taken = 0
        self._delivering = True
        while taken < len(frames):
            taken += self._deliver(frames[taken:], queue)
            if self._blocked:
                break
        self._delivering = False
        if taken < len(frames):
            self._starved = True
            self.counts.waits += 1
        return taken

    def _deliver(self, frames: Frames, queue: int | None) -> int:
        """As many as there is room for."""
        buffer = self.receive_buffer
        if buffer is None or not self.control.filter:
            self.counts.unwanted += len(frames)
            return len(frames)
        batches: dict[int, list[TransferRange]] = {}
        taken = 0
        for frame in frames:
            if not self._place(buffer, frame, queue, batches):
                break
            taken += 1
        for index, ranges in batches.items():
            for first in range(0, len(ranges), MAX_RANGES):
                self.channels[index].lend(ranges[first : first + MAX_RANGES], ChannelType.DATA)
        return taken

    def _place(
        self, buffer: ReceiveBuffer, frame: bytes, queue: int | None, batches: dict[int, list[TransferRange]]
    ) -> bool:
        """Write one frame and note it for its channel; or drop it. False: it must wait."""
        if not wanted(frame, self.control.filter, self.adapter.address):
            self.counts.unwanted += 1
            return True
        chosen, value = self.rss.choose(frame)
        index = chosen if queue is None else queue
        if index not in self.channels:
            index = PRIMARY
        message = message_of(frame, value)
        if len(message) > buffer.sub_alloc_size:
            self.counts.too_long += 1
            return True
        if self.channels[index].congested or (place := buffer.put_frame(message)) is None:
            return False
        batches.setdefault(index, []).append(place)
        counts = self.counts.of(index)
        counts.received_frames += 1
        counts.received_bytes += len(frame)
        return True

    def give_back(self, ranges: Sequence[TransferRange]) -> None:
        """The guest has read these, or closed the channel on which it got them."""
        if self.receive_buffer:
            self.receive_buffer.give_back(ranges)
            self._send_answers()
        self.relieve()

    def relieve(self) -> None:
        """Let the back end go on, if it waits and there is room, or nobody left to wait for."""
        if self._starved and not self._delivering and not self._blocked:
            self._starved = False
            self.backend.resume()

    @property
    def _blocked(self) -> bool:
        """No sub-allocation is free, or a ring is full."""
        buffer = self.receive_buffer
        return buffer is not None and (not buffer.free or any(each.congested for each in self.channels.values()))

    # --- control messages ---------------------------------------------------------------------------------------------

    def indicate(self, status: RndisStatus) -> None:
        """Tell the guest of something, if it listens (``netvsc_linkstatus_callback``). PeerError: it takes nothing."""
        if self.receive_buffer:
            self._answer(IndicateStatus(status).with_information(b""))
            self.counts.indications += 1

    def _answer(self, message: bytes) -> None:
        if len(self._answers) == MAX_ANSWERS:
            raise PeerError(f"netvsc: the guest takes none of {MAX_ANSWERS} control messages that wait for it")
        self._answers.append(message)
        self._send_answers()

    def _send_answers(self) -> None:
        """In their order, as far as there are sub-allocations for them."""
        buffer = self.receive_buffer
        while buffer and self._answers and (place := buffer.put_control(self._answers[0])):
            self.channels[PRIMARY].answer(place, self._answers.popleft())
