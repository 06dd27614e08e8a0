"""Sending: one CPU's view of the transmit side of a queue (netvsc.c ``netvsc_send`` to ``netvsc_send_tx_complete``)."""

from __future__ import annotations

from typing import Final

from guest.drivers.netvsc.words import SLOTS, NetvscDeviceWords, NetvscQueueWords
from guest.kernel.core import Core
from guest.kernel.wait import WaitQueue
from guest.net.device import NetQueueWords
from guest.net.frame import HEADROOM, Frame
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.dispatch import give_up
from protocol.errors import PeerError
from protocol.ids import PAGE_SIZE, Pfn
from protocol.ring import COMPLETION_REQUESTED
from protocol.wire.gpadl import GpaRange
from protocol.wire.nvsp import RndisPacket
from protocol.wire.nvsp_numbers import ChannelType
from protocol.wire.rndis_packet import packet_header

IN_PAGES: Final = 1 << 63
"""In a slot: the send is in pages of its own, and the rest of the word says which: first frame << 16 | length."""


class Sends:
    """A send holds a slot, whose number + 1 is the transaction id, and a section of the send buffer or its pages.

    ``lock`` is ``_xmit_lock`` of the queue: senders hold it from the look whether they may to the signal to the host,
    and so does whoever completes; to clear ``epoch`` under it is to know that nobody is about to send.

    Simplified: every frame is a packet of its own (Linux gathers small ones in one section while more are announced),
    and one that fits no free section goes from its pages as a whole (Linux copies the header even so).
    """

    def __init__(
        self,
        core: Core,
        channel: VmbusChannel,
        nic: NetvscDeviceWords,
        words: NetvscQueueWords,
        stats: NetQueueWords,
        woken: WaitQueue,
    ) -> None:
        self._core = core
        self._channel = channel
        self._nic = nic
        self._words = words
        self._stats = stats
        self._woken = woken
        self._slots = Bitmap(words.taken)
        self._sections = Bitmap(words.section_taken)
        self.lock = core.locks.irqsave("xmit", channel.relid)

    def start_xmit(self, frame: Frame, epoch: int) -> bool:
        """``netvsc_start_xmit``. False: no slot or no room in the ring, and the queue is stopped until there is.

        A frame is dropped, and not by the sender's fault, unless the queue is enabled in the ``epoch`` it was made in,
        and if the host has corrupted the ring.
        """
        words, stats = self._words, self._stats
        with self.lock:
            if not words.epoch or words.epoch != epoch or not self._channel.mapped:
                return self._drop(frame)
            slot = self._slots.lowest(SLOTS)
            try:
                if slot is None or not self._send(slot, frame):
                    stats.stopped = 1
                    return False
            except PeerError as error:
                give_up(self._channel, str(error))
                return self._drop(frame)
            self._slots.take(slot)
            words.queue_sends += 1
            stats.tx_frames += 1
            stats.tx_bytes += frame.length
        return True

    def _drop(self, frame: Frame) -> bool:
        self._stats.tx_dropped += 1
        frame.free(self._core.pages)
        return True

    def _send(self, slot: int, frame: Frame) -> bool:
        """``netvsc_send_pkt``: through a section if one is free and large enough. False: no room in the ring."""
        nic, words = self._nic, self._words
        header = packet_header(frame.length)
        size = len(header) + frame.length
        free = self._sections.lowest(words.sections)
        if free is None or size > nic.send_section_size:
            return self._send_pages(slot, frame, header)
        section = words.first_section + free
        start = nic.send_pfn * PAGE_SIZE + section * nic.send_section_size
        ram = self._core.ram
        ram.bytes[start : start + size] = header + frame.data(ram)
        payload = RndisPacket(ChannelType.DATA, section, size).encode()
        if not self._channel.send_packet(payload, slot + 1, flags=COMPLETION_REQUESTED):
            return False
        self._sections.take(free)
        words.slots[slot] = free
        words.sent_in_sections += 1
        frame.free(self._core.pages)
        return True

    def _send_pages(self, slot: int, frame: Frame, header: bytes) -> bool:
        """The header goes into the headroom, so that header and frame are one range."""
        offset = HEADROOM - len(header)
        start = frame.first * PAGE_SIZE + offset
        self._core.ram.bytes[start : start + len(header)] = header
        pfns = tuple(Pfn(frame.first + page) for page in range(frame.pages))
        payload = RndisPacket(ChannelType.DATA).encode()
        ranges = (GpaRange(len(header) + frame.length, offset, pfns),)
        if not self._channel.send_gpa_direct(ranges, payload, slot + 1, COMPLETION_REQUESTED):
            return False
        self._words.slots[slot] = IN_PAGES | frame.first << 16 | frame.length
        self._words.sent_in_pages += 1
        return True

    def complete(self, transaction_id: int) -> bool:
        """``netvsc_send_tx_complete``. False: nothing of that id is under way."""
        slot = transaction_id - 1
        with self.lock:
            if not 0 <= slot < SLOTS or not self._slots.has(slot):
                return False
            self._give_back(slot)
        return True

    def wake(self) -> None:
        """At the end of a poll, when completions or the host's reading may have made room for a stopped queue.

        Linux wakes it where it handles a completion. Here also the signal that a sender asked for, with
        pending_send_sz, when it found the ring full ends in a poll.
        """
        stats = self._stats
        with self.lock:
            if not stats.stopped or self._slots.lowest(SLOTS) is None:
                return
            stats.stopped = 0
        self._woken.wake_up()

    def enable(self, epoch: int) -> None:
        """``netif_tx_start_queue``."""
        with self.lock:
            self._words.epoch = epoch

    def disable(self) -> None:
        """``netif_tx_disable``, for one queue: nobody is sending when this returns. Those who wait find out."""
        with self.lock:
            self._words.epoch = 0
            self._stats.stopped = 0
        self._woken.wake_up()

    def abandon(self) -> None:
        """Take back what the host will never complete: the channel is closed, or never was open."""
        with self.lock:
            for slot in range(SLOTS):
                if self._slots.has(slot):
                    self._give_back(slot)
                    self._stats.tx_abandoned += 1

    def _give_back(self, slot: int) -> None:
        words = self._words
        held = words.slots[slot]
        self._slots.give(slot)
        words.queue_sends -= 1
        if held & IN_PAGES:
            frame = Frame(Pfn((held & ~IN_PAGES) >> 16), held & 0xFFFF)
            frame.free(self._core.pages)
        else:
            self._sections.give(held)


class Bitmap:
    """Words of kernel memory as bits, lowest first. The caller holds the lock of the words."""

    __slots__ = ("_words",)

    def __init__(self, words: memoryview) -> None:
        self._words = words

    def lowest(self, count: int) -> int | None:
        """The lowest of the first ``count`` bits that is clear (``find_first_zero_bit``)."""
        free = ~int.from_bytes(self._words.tobytes(), "little") & (1 << count) - 1
        return (free & -free).bit_length() - 1 if free else None

    def has(self, bit: int) -> bool:
        return bool(self._words[bit >> 6] >> (bit & 63) & 1)

    def take(self, bit: int) -> None:
        self._words[bit >> 6] |= 1 << (bit & 63)

    def give(self, bit: int) -> None:
        self._words[bit >> 6] &= ~(1 << (bit & 63))
