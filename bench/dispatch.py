"""What the IRQ layer costs in the interrupt alone: scan and dispatch of 1, 8 or 64 event flags, legacy against rfc.

One process, no transport: the flags are set by hand, the top-level handler of the guest runs, and the drivers'
callbacks, called inside the interrupt, do nothing. Processor time, so a neighbour on a shared machine does not count.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from bench.echo import RING_BYTES, EchoDriver, EchoVsp
from bench.inline import InlineVm
from bench.rounds import Progress, fastest
from guest.vmbus.channel import VmbusChannel
from guest.vmbus.policy import Policy
from protocol.ring import Packet
from protocol.wire.synic import HYPERVISOR_CALLBACK_VECTOR, MESSAGE_SINT

CHANNELS = 64
SLICES = 10
RAM_MB = 16
AT_ONCE = 200
"""Devices whose probes overlap: each waits for an answer, and the guest has a place for 256."""


@dataclass(frozen=True, slots=True)
class DispatchRounds:
    """ns per flag, one entry for each round."""

    legacy: list[float] = field(default_factory=list)
    rfc: list[float] = field(default_factory=list)


class IdleDriver(EchoDriver):
    """A driver whose callback counts itself and does nothing."""

    calls: ClassVar[int] = 0

    def onchannel_callback(self, channel: VmbusChannel) -> None:
        IdleDriver.calls += 1


class Dispatcher:
    """A guest with as many open channels."""

    def __init__(self, policy: Policy, channels: int = CHANNELS) -> None:
        opened: list[int] = []
        devices = [EchoVsp(n, lambda: opened.append(1), _unexpected) for n in range(channels)]
        self._vm = InlineVm(policy, (), (IdleDriver,), RAM_MB + channels * RING_BYTES // 2**19)
        for first in range(0, channels, AT_ONCE):
            self._vm.offer(devices[first : first + AT_ONCE])
        if len(opened) != channels:
            raise RuntimeError(f"{len(opened)} of {channels} channels are open")
        self._relids = [handle.relid or 0 for handle in self._vm.handles]

    def seconds(self, pending: int, interrupts: int) -> float:
        """Take ``interrupts`` interrupts with ``pending`` flags set each; the processor seconds that they took.

        The flags are spread evenly over those of all channels.
        """
        words = self._vm.port.flag_words(MESSAGE_SINT)
        assert words is not None
        mask = sum(1 << relid for relid in self._relids[:: len(self._relids) // pending][:pending])
        stores = [(word, mask >> 64 * word & (1 << 64) - 1) for word in range(len(words)) if mask >> 64 * word]
        handler = self._vm.core.vectors[HYPERVISOR_CALLBACK_VECTOR]
        before = IdleDriver.calls
        start = time.process_time()
        for _ in range(interrupts):
            for word, bits in stores:
                words[word] = bits
            handler()
        seconds = time.process_time() - start
        if IdleDriver.calls - before != pending * interrupts:
            raise RuntimeError(f"{IdleDriver.calls - before} callbacks for {pending * interrupts} flags")
        return seconds


def measure(
    rounds: int, flags: int, progress: Progress, pending: Sequence[int] = (1, 8, 64)
) -> dict[int, DispatchRounds]:
    """Per number of pending flags, ns per flag in each round, of which each takes ``flags`` flags."""
    guests = {policy: Dispatcher(policy) for policy in (Policy.LEGACY, Policy.RFC)}
    result = {bits: DispatchRounds() for bits in pending}
    for number in range(rounds):
        progress("IRQ layer", number, rounds)
        for bits in pending:
            interrupts = max(1, flags // bits // SLICES)
            best = fastest(
                {policy: partial(guest.seconds, bits, interrupts) for policy, guest in guests.items()}, SLICES
            )
            result[bits].legacy.append(best[Policy.LEGACY] / interrupts / bits * 1e9)
            result[bits].rfc.append(best[Policy.RFC] / interrupts / bits * 1e9)
    return result


def measure_mapped(
    rounds: int, flags: int, progress: Progress, channels: Sequence[int], pending: int = 8
) -> dict[int, list[float]]:
    """Per number of channels that a guest under policy rfc has open, ns per flag in each round."""
    guests = {count: Dispatcher(Policy.RFC, count) for count in channels}
    result: dict[int, list[float]] = {count: [] for count in channels}
    interrupts = max(1, flags // pending // SLICES)
    for number in range(rounds):
        progress("IRQ layer, many channels", number, rounds)
        best = fastest({count: partial(guest.seconds, pending, interrupts) for count, guest in guests.items()}, SLICES)
        for count, seconds in best.items():
            result[count].append(seconds / interrupts / pending * 1e9)
    return result


def _unexpected(packet: Packet) -> None:
    raise RuntimeError(f"nobody sends packets here: {packet!r:.80}")
