"""A ring against a deque: any order of operations, any sizes, any place to start."""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from protocol.ids import PAGE_SIZE
from protocol.ring import Packet, RingReader, RingWriter, ring_bytes
from protocol.shell.fence import full_fence
from protocol.shell.memory import GuestRam

SIZE = 3 * PAGE_SIZE


class RingAgainstDeque(RuleBasedStateMachine):
    """What the ring holds was put and is not yet released; each answer and each signal is predicted."""

    @initialize(start=st.integers(0, SIZE // 8 - 1))
    def begin(self, start: int) -> None:
        self.ram = GuestRam.create(SIZE + PAGE_SIZE, "model")
        self.ring = self.ram.ring([2, 0, 3, 1])
        self.ring.init()
        self.ring.control[0] = self.ring.control[1] = start * 8
        self.writer = RingWriter(self.ring, full_fence)
        self.reader = RingReader(self.ring, full_fence)
        self.staged: deque[Packet] = deque()
        self.published: deque[Packet] = deque()
        self.drained: deque[Packet] = deque()
        self.sent = 0
        self.masked = False
        self.wanted = 0

    def teardown(self) -> None:
        self.ram.close()

    @staticmethod
    def bytes_of(packets: deque[Packet]) -> int:
        return sum(ring_bytes(len(packet.header) + len(packet.payload)) for packet in packets)

    def room(self) -> int:
        return SIZE - 8 - self.bytes_of(self.staged) - self.bytes_of(self.published) - self.bytes_of(self.drained)

    @rule(words=st.integers(0, 8) | st.integers(0, 1000), header=st.sampled_from([0, 0, 8, 24]))
    def put(self, words: int, header: int) -> None:
        self.sent += 1
        packet = Packet(9, self.sent % 2, self.sent, bytes(header), bytes([self.sent % 251]) * 8 * words)
        fits = self.bytes_of(deque([packet])) <= self.room()
        assert self.writer.put(9, bytes(packet.payload), self.sent, packet.flags, packet.header) is fits
        if fits:
            self.staged.append(packet)

    @rule()
    def commit(self) -> None:
        was_empty = not self.published and not self.drained
        assert self.writer.commit() is bool(self.staged and was_empty and not self.masked)
        if self.staged:
            self.wanted = 0
        self.published += self.staged
        self.staged.clear()

    @rule(limit=st.none() | st.integers(0, 4), views=st.booleans())
    def drain(self, limit: int | None, views: bool) -> None:
        came: list[Packet] = []
        count = len(self.published) if limit is None else min(limit, len(self.published))
        self.reader.drain(lambda packet: came.append(packet._replace(payload=bytes(packet.payload))), limit, views)
        expected = [self.published.popleft() for _ in range(count)]
        assert came == expected
        self.drained += expected

    @rule()
    def release(self) -> None:
        before = SIZE - 8 - self.bytes_of(self.published) - self.bytes_of(self.drained)
        after = before + self.bytes_of(self.drained)
        assert self.reader.release() is (before < self.wanted <= after)
        self.drained.clear()

    @precondition(lambda self: not self.staged)
    @rule(length=st.integers(1, SIZE - 8))
    def want(self, length: int) -> None:
        there = self.room() >= length
        assert self.writer.want(length) is there
        self.wanted = 0 if there else -(-length // 8) * 8

    @rule()
    def mask(self) -> None:
        self.reader.mask()
        self.masked = True

    @precondition(lambda self: not self.drained)
    @rule()
    def unmask(self) -> None:
        assert self.reader.unmask() is bool(self.published)
        self.masked = False

    @invariant()
    def both_ends_agree_with_the_deque(self) -> None:
        assert self.writer.room() == self.room()
        assert self.reader.available() == self.bytes_of(self.published)


TestRing = RingAgainstDeque.TestCase
TestRing.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
