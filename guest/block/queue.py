"""Requests of all CPUs in one table of kernel memory, and one CPU's software queue on it (blk-mq).

A request is a slot (CPU, tag). Its CPU owns it before it is sent and after it is done; in between it belongs to
the device, and whichever CPU the interrupt comes to fills in the answer. The submitter learns of it as in Linux
(``blk_mq_complete_request_remote``): on its own CPU directly, on another by a function call interrupt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from guest.kernel.core import Core
from guest.kernel.memory import Bytes, Struct, Word
from guest.kernel.sched import Task, park
from guest.kernel.wait import WaitQueue
from protocol.ids import Cpu, Relid

UNIQUE_TAG_BITS: Final = 16
"""``BLK_MQ_UNIQUE_TAG_BITS``: a tag that is unique in the VM is CPU << 16 | tag."""
DEFAULT_DEPTH: Final = 32
"""Requests that one CPU may have under way."""
MAX_DEPTH: Final = 64
"""The tags of a CPU are the bits of one word."""
ANSWER_SIZE: Final = 64

IDLE: Final = 0
IN_FLIGHT: Final = 1
COMPLETE: Final = 2


class BlockRequestWords(Struct):
    """``struct request``: a slot."""

    state = Word("submitting CPU; while IN_FLIGHT whoever completes it")
    """IDLE, IN_FLIGHT or COMPLETE."""
    relid = Word("submitting CPU")
    """The primary channel of its controller. Any channel of the controller may complete it."""
    sent_on = Word("submitting CPU")
    """The channel that it was sent on; 0: none yet."""
    answer = Bytes(ANSWER_SIZE, "whoever completes it")
    """What the device answered, as it came."""


class BlockQueueWords(Struct):
    """``blk_mq_hw_ctx`` of one CPU and its counts; one writer, the CPU."""

    tags = Word("its CPU")
    """Bit n set: tag n is taken."""
    submitted = Word("its CPU")
    completed_here = Word("its CPU")
    """Answers taken by this CPU for requests of its own."""
    completed_for_others = Word("its CPU")
    """Answers taken by this CPU and passed on by interrupt."""
    waited_for_room = Word("its CPU")
    """Requests that the device had no room for at first."""
    waited_for_tag = Word("its CPU")


class RequestQueue:
    """One CPU's view. Made once on every CPU, at the same place of start-up.

    Simplified: one table for all disks and controllers, where Linux has a tag set for each controller.
    """

    def __init__(self, core: Core, depth: int = DEFAULT_DEPTH) -> None:
        assert 0 < depth <= MAX_DEPTH
        self.depth = depth
        self._core = core
        self._slots = core.memory.table(BlockRequestWords, core.cpus * depth)
        self.counts = core.memory.table(BlockQueueWords, core.cpus)
        self._own = self.counts[core.cpu]
        self._submitters: list[Task | None] = [None] * depth
        self._tagless: dict[Task, None] = {}
        self._done = core.calls.register(self._wake_submitter)

    async def execute(self, relid: Relid, send: Callable[[int], bool], room: WaitQueue) -> bytes:
        """Carry one request to controller ``relid`` through: ANSWER_SIZE bytes, as the device sent them.

        ``send(unique_tag)`` puts it on its way or returns False; then it waits and tries again whenever ``room`` is
        woken. Nothing ends the wait for the answer but the answer: the guest has no time-out for a request.
        """
        tag = await self._get_tag()
        slot = self._slots[self._core.cpu * self.depth + tag]
        slot.relid, slot.sent_on = relid, 0
        slot.state = IN_FLIGHT
        self._submitters[tag] = self._current()
        unique_tag = self._core.cpu << UNIQUE_TAG_BITS | tag
        self._own.submitted += 1
        if not send(unique_tag):
            self._own.waited_for_room += 1
            await room.wait_event(lambda: slot.state == COMPLETE or send(unique_tag))
        while slot.state != COMPLETE:
            await park()
        self._submitters[tag] = None
        answer = slot.answer
        slot.state = IDLE
        self._put_tag(tag)
        return answer

    def complete(self, relid: Relid, unique_tag: int, answer: bytes | memoryview) -> bool:
        """Controller ``relid`` answered ``unique_tag``; on any CPU, in softirq context.

        False: no such request is under way there, and nothing has changed.
        """
        cpu, tag = unique_tag >> UNIQUE_TAG_BITS, unique_tag & (1 << UNIQUE_TAG_BITS) - 1
        if cpu >= self._core.cpus or tag >= self.depth:
            return False
        slot = self._slots[cpu * self.depth + tag]
        if slot.state != IN_FLIGHT or slot.relid != relid:
            return False
        slot.answer = bytes(answer)
        slot.state = COMPLETE
        if cpu == self._core.cpu:
            self._own.completed_here += 1
        else:
            self._own.completed_for_others += 1
        self._core.calls.call(Cpu(cpu), self._done, tag)
        return True

    def sent_on(self, unique_tag: int, relid: Relid) -> None:
        """A request of this CPU is about to be sent on channel ``relid``."""
        self._slots[self._core.cpu * self.depth + (unique_tag & (1 << UNIQUE_TAG_BITS) - 1)].sent_on = relid

    def in_flight(self, relid: Relid, sent_on: Relid | None = None) -> list[int]:
        """Unique tags of the requests that controller ``relid`` has not answered; on one of its channels, or on all."""
        depth = self.depth
        return [
            index // depth << UNIQUE_TAG_BITS | index % depth
            for index, slot in enumerate(self._slots)
            if slot.state == IN_FLIGHT and slot.relid == relid and sent_on in (None, slot.sent_on)
        ]

    def _wake_submitter(self, tag: int) -> None:
        task = self._submitters[tag]
        if task is not None:
            task.wake()

    def _current(self) -> Task:
        task = self._core.sched.current
        assert task is not None, "only a task can wait for a request"
        return task

    async def _get_tag(self) -> int:
        """``blk_mq_get_tag``: the lowest free one, or wait until this CPU has one."""
        own, every = self._own, (1 << self.depth) - 1
        if own.tags == every:
            own.waited_for_tag += 1
            while own.tags == every:
                self._tagless[self._current()] = None
                await park()
        tag = (~own.tags & every & -(~own.tags & every)).bit_length() - 1
        own.tags |= 1 << tag
        return tag

    def _put_tag(self, tag: int) -> None:
        self._own.tags &= ~(1 << tag)
        if self._tagless:
            waiter = next(iter(self._tagless))
            del self._tagless[waiter]
            waiter.wake()
