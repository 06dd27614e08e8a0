"""One CPU's view of a channel: what a driver gets (``struct vmbus_channel`` and its exported functions)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from guest.kernel.memory import Struct
from guest.vmbus import dispatch, gpadl, opening
from guest.vmbus.errors import VmbusError
from guest.vmbus.words import DRIVER_WORDS, CallbackMode, ChannelWords
from protocol.ids import PAGE_SIZE, Cpu, GpadlId, Pfn, Relid
from protocol.ring import Packet, PacketType, RingMemory, RingReader, RingWriter, gpa_direct, ring_bytes
from protocol.wire.gpadl import GpaRange
from protocol.wire.guids import device_type
from protocol.wire.messages import ChannelFlags, OfferChannel, decode
from protocol.wire.offers import USER_DEFINED_BYTES

if TYPE_CHECKING:
    from guest.vmbus.bus import Vmbus
    from guest.vmbus.device import HvDriver, VmbusDevice

S = TypeVar("S", bound=Struct)


class VmbusChannel:
    """Made on a CPU when it first looks the channel up, from words alone, so any CPU can serve it.

    ``words`` is what the CPUs share. ``device`` is that of the primary channel, also for sub-channels.
    """

    def __init__(self, bus: Vmbus, relid: Relid, primary: VmbusChannel | None) -> None:
        core, tables = bus.core, bus.tables
        self.bus: Final = bus
        self.relid: Final = relid
        self.words: Final[ChannelWords] = tables.channels[relid]
        # Where the words are that every packet looks at: a field of a structure takes three times as long.
        self._memory = self.words.memory
        self._senders_waiting = self.words.base + ChannelWords.senders_waiting.offset
        self._intr_out_empty = self.words.base + ChannelWords.intr_out_empty.offset
        self._driver = (primary or self).words.base + ChannelWords.driver.offset
        offer = decode(self.words.offer, bus.poster.dialect)
        assert isinstance(offer, OfferChannel)
        self.offer: Final = offer
        self.type: Final = device_type(offer.class_id, bool(offer.flags & ChannelFlags.TLNPI_PROVIDER_OFFER))
        self.primary: Final = primary
        self.device: VmbusDevice
        self.callback_event: Final = core.tasklet(tables.callback_events[relid], partial(dispatch.vmbus_on_event, self))
        self.rescind_event: Final = core.completion(tables.rescind_events[relid])
        self.sched_lock: Final = core.locks.irqsave("sched_lock", relid)
        self.outbound: Final = core.locks.irqsave("outbound", relid)
        self._reader: RingReader | None = None
        self._writer: RingWriter | None = None
        self.ring_gpadl = GpadlId(0)
        """Of the rings that this CPU has mapped; no two opens have the same."""

    # --- what drivers set before they open --------------------------------------------------------------------------

    def set_read_mode(self, mode: CallbackMode) -> None:
        """``set_channel_read_mode``."""
        self.words.callback_mode = mode

    def set_sc_creation_callback(self) -> None:
        """``vmbus_set_sc_create_callback``: hand new sub-channels to the driver's ``sc_creation_callback``."""
        self.words.sc_creation_callback = 1

    @property
    def sub_channels(self) -> list[VmbusChannel]:
        """``sc_list``."""
        return self.bus.channels.sub_channels(self)

    @property
    def irq_name(self) -> str:
        """The name of the channel's IRQ (RFC patch 3): that of the device type until the driver says better."""
        return self.words.irq_name

    @irq_name.setter
    def irq_name(self, name: str) -> None:
        """Up to 31 characters. After the open it changes /proc/interrupts, but not the directory in /proc/irq/N.

        Raises EINVAL for a name that is no word of one line, which Linux would print as it is.
        """
        if not name.isprintable():
            raise VmbusError(errno.EINVAL, f"{name!r} as the name of an IRQ: use characters that can be printed")
        self.words.irq_name = name
        self.bus.relids.rename(self)

    # --- open and close ---------------------------------------------------------------------------------------------

    async def open(self, send_bytes: int, recv_bytes: int, user_data: bytes = b"") -> None:
        """``vmbus_open``: rings of these sizes (control page included, whole pages), up to 120 bytes for the device.

        Raises EINVAL (open already, or no whole pages), ENOMEM, EDQUOT (GPADL refused), EBUSY (the IRQ is taken),
        ENODEV (rescinded), EAGAIN (the host refused), and what posting raises.
        """
        if len(user_data) > USER_DEFINED_BYTES:
            raise VmbusError(errno.EINVAL, f"{len(user_data)} bytes for the device, at most {USER_DEFINED_BYTES}")
        await opening.vmbus_open(self, send_bytes, recv_bytes, user_data)

    async def close(self) -> None:
        """``vmbus_close``: the sub-channels first. Nothing happens on a sub-channel, or if it is not open."""
        await opening.vmbus_close(self)

    async def close_late(self) -> None:
        """A sub-channel whose open ended after its primary was closed: what that close would have done with it."""
        await opening.close_sub_channel(self)

    async def establish_gpadl(self, first: Pfn, pages: int) -> GpadlId:
        """``vmbus_establish_gpadl``: lend contiguous pages to the host. Raises EDQUOT, ENODEV, and as posting does."""
        return await gpadl.vmbus_establish_gpadl(self, first, pages)

    async def teardown_gpadl(self, handle: GpadlId) -> None:
        """``vmbus_teardown_gpadl``: returns when the host has let go of the pages."""
        await gpadl.vmbus_teardown_gpadl(self, handle)

    # --- packets ----------------------------------------------------------------------------------------------------

    def send_packet(
        self,
        payload: bytes,
        transaction_id: int = 0,
        type: int = PacketType.IN_BAND,
        flags: int = 0,
        header: bytes = b"",
    ) -> bool:
        """``vmbus_sendpacket``: from any CPU, any context. Signals the host if it may be asleep.

        False: the ring is full (EAGAIN in Linux). Then the channel's callback will run when it is worth another try.
        """
        writer, memory = self._outbound_ring, self._memory
        with self.outbound:
            if not writer.put(type, payload, transaction_id, flags, header):
                words = self.words
                words.out_full_total += 1
                if not words.senders_waiting:
                    words.senders_waiting = 1
                    words.out_full_first += 1
                if not writer.want(ring_bytes(len(header) + len(payload))):
                    return False
                writer.put(type, payload, transaction_id, flags, header)
            signal = writer.commit()
            if signal:
                memory[self._intr_out_empty] += 1
            waiting = memory[self._senders_waiting]
            if waiting:
                memory[self._senders_waiting] = 0
        if signal:
            self.bus.hypercalls.hv_signal_event(self.offer.connection_id)
        if waiting:
            # The ring has one pending_send_sz for the senders of all CPUs, and this one may just have cleared it.
            self.callback_event.schedule()
        return True

    def send_gpa_direct(
        self, ranges: Sequence[GpaRange], payload: bytes, transaction_id: int = 0, flags: int = 0
    ) -> bool:
        """``vmbus_sendpacket_mpb_desc``: a packet about guest memory, which the host reads or writes directly."""
        return self.send_packet(payload, transaction_id, PacketType.GPA_DIRECT, flags, gpa_direct.encode(ranges))

    def receive(self, callback: Callable[[Packet], None], limit: int | None = None) -> int:
        """Take packets until there are none, or ``limit``; returns how many. Called from the channel's callback.

        Ends only after a look at the ring that came after the release of its room; without it the host could have
        written between the two and seen no need to signal.
        """
        reader = self.inbound
        taken = 0
        while True:
            taken += reader.drain(callback, None if limit is None else limit - taken)
            if reader.release():
                self._set_event()
            if taken == limit or not reader.available():
                return taken

    @property
    def avail_to_write_percent(self) -> int:
        """``hv_get_avail_to_write_percent`` of the ring to the host; 0 while the channel is closed."""
        return self._outbound_ring.room() * 100 // ((self.words.send_pages - 1) * PAGE_SIZE) if self.mapped else 0

    def map_rings(self) -> tuple[RingMemory, RingMemory]:
        """Map both rings on this CPU: (to the host, from the host). Their contents stay as they are.

        Done by who opens the channel, and on other CPUs at the first look: most CPUs never see most channels' rings.
        """
        core, words, fence = self.bus.core, self.words, self.bus.fence
        middle, end = words.ring_pfn + words.send_pages, words.ring_pfn + words.ring_pages
        to_host = core.ram.ring(range(words.ring_pfn, middle))
        from_host = core.ram.ring(range(middle, end))
        self._writer = RingWriter(to_host, fence, core.point)
        self._reader = RingReader(from_host, fence, core.point)
        self.ring_gpadl = GpadlId(words.gpadl)
        return to_host, from_host

    def unmap_rings(self) -> None:
        self._writer = self._reader = None

    @property
    def mapped(self) -> bool:
        """Whether there are rings. From then on this CPU has them mapped until it takes the call to let go of them."""
        if self._reader is None and self.words.ring_init:
            self.map_rings()
        return self._reader is not None

    @property
    def ring_bytes(self) -> tuple[int, int]:
        """Bytes that this CPU has written and read since it mapped the rings."""
        if self._writer is None or self._reader is None:
            return 0, 0
        return self._writer.written, self._reader.read

    @property
    def inbound(self) -> RingReader:
        """The ring from the host. Raises ENODEV while the channel is closed."""
        if self._reader is None:
            self._look_at_rings()
            assert self._reader is not None
        return self._reader

    @property
    def _outbound_ring(self) -> RingWriter:
        """The ring to the host. Raises ENODEV while the channel is closed."""
        if self._writer is None:
            self._look_at_rings()
            assert self._writer is not None
        return self._writer

    def _look_at_rings(self) -> None:
        if not self.mapped:
            raise VmbusError(errno.ENODEV, f"channel {self.relid} is not open")

    def _set_event(self) -> None:
        """``vmbus_setevent``, for the host that waits for room."""
        with self.outbound:
            self.words.intr_in_full += 1
        self.bus.hypercalls.hv_signal_event(self.offer.connection_id)

    # --- the driver -------------------------------------------------------------------------------------------------

    @property
    def driver(self) -> HvDriver | None:
        """This CPU's instance of the driver that the device is bound to."""
        number = self._memory[self._driver]
        return self.bus.drivers[number - 1] if number else None

    def state(self, struct: type[S]) -> S:
        """The driver's own words of this channel, laid out as ``struct``; zero when the channel was offered."""
        assert struct.size <= DRIVER_WORDS, f"{struct.__name__} is larger than {DRIVER_WORDS} words"
        return struct(self.words.memory, self.words.base + ChannelWords.driver_area.offset)

    @property
    def listed(self) -> bool:
        """Whether it is still the channel of its relid; stable under channel_mutex."""
        return self.bus.channels.get(self.relid) is self

    @property
    def target_cpu(self) -> Cpu:
        return Cpu(self.words.target_cpu)
