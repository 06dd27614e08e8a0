"""The VM of the RFC's cover letter, and what becomes of its table when the host decides otherwise."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from guest.vmbus.words import ChannelWords
from lab import vm_file
from lab.image import disk_for
from lab.simulation.vm import SimulatedVM
from lab.spec import VmSpec
from lab.vm import VM
from protocol.wire.guids import UNSUPPORTED, device_type
from protocol.wire.messages import OfferChannel, decode
from protocol.wire.versions import Dialect, Version
from tests.letter.placement import Offered, cpus, irqs

LETTER = Path(__file__).parents[1] / "data/interrupts_rfc_cover_letter.txt"
CPUS = {14: 0, 15: 1, 13: 2, 16: 3, 17: 4, 18: 5, 19: 6, 20: 7, 21: 0, 22: 1, 23: 2, 24: 3}
"""Of the channels of performance-critical devices, as the letter's columns say; all others are on CPU 0."""


@dataclass(frozen=True)
class Row:
    """A row of /proc/interrupts without its counts."""

    irq: int
    chip: str
    hwirq: int
    name: str


def rows(text: str) -> list[Row]:
    """The rows of channels."""
    found = re.findall(r"^ *(\d+):(?: +\d+)+ +(VMBus) +(\d+)  (\S+)$", text, re.MULTILINE)
    return [Row(int(irq), chip, int(hwirq), name) for irq, chip, hwirq, name in found]


def letter() -> VmSpec:
    return replace(vm_file.load("letter"), name="letter")


def offer(words: ChannelWords) -> OfferChannel:
    message = decode(words.offer, Dialect(Version.V5_3))
    assert isinstance(message, OfferChannel)
    return message


async def test_processes_show_the_table_of_the_letter() -> None:
    with disk_for(letter(), 1 << 20) as spec:
        async with VM(spec) as vm:
            await vm.settled()
            expected = rows(LETTER.read_text())
            assert [row.irq for row in expected] == list(range(24, 45))
            assert rows(vm.files.read("/proc/interrupts").decode()) == expected
            for relid, words in vm.guest.channels():
                assert words.target_cpu == CPUS.get(relid, 0), relid
            assert (await vm.report()).failed == []


async def test_before_the_rfc_the_same_channels_are_on_the_same_cpus_and_have_no_rows() -> None:
    with disk_for(replace(letter(), policy="legacy"), 1 << 20) as spec:
        async with SimulatedVM(spec) as vm:
            await vm.settled()
            assert rows(vm.files.read("/proc/interrupts").decode()) == []
            placed = {relid: words.target_cpu for relid, words in vm.guest.channels()}
            unwanted = {relid for relid, words in vm.guest.channels() if offer(words).class_id in UNSUPPORTED}
            assert unwanted == {2, 6, 12}
            assert placed == {relid: CPUS.get(relid, 0) for relid in range(1, 25)}


SHAPES = [(8, []), (4, []), (8, [[0, 1, 2, 3], [4, 5, 6, 7]]), (4, [[0, 2], [1, 3]]), (5, [[0, 1, 2], [3, 4]])]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("vcpus", "numa"), SHAPES)
async def test_with_other_offers_cpus_and_nodes_the_table_follows_the_rules(
    vcpus: int, numa: list[list[int]], seed: int
) -> None:
    """Offers and relids are shuffled, and nothing says whose sub-channels come first."""
    dice, plain = random.Random(seed), letter()
    relids = dice.sample(range(1, 40), len(plain.devices))
    devices = [replace(device, relid=relid) for device, relid in zip(plain.devices, relids, strict=True)]
    dice.shuffle(devices)
    shuffled = replace(plain, vcpus=vcpus, numa=numa, devices=devices, sub_channel_order=[], seed=seed)
    with disk_for(shuffled, 1 << 18) as spec:
        async with SimulatedVM(spec) as vm:
            await vm.settled()
            offers = _in_order(vm)
            placed = {relid: words.target_cpu for relid, words in vm.guest.channels()}
            assert placed == cpus(offers, numa or [list(range(vcpus))])
            numbers = irqs(offers)
            assert {relid: words.irq for relid, words in vm.guest.channels()} == numbers
            shown = rows(vm.files.read("/proc/interrupts").decode())
            assert [(row.irq, row.hwirq) for row in shown] == sorted((irq, relid) for relid, irq in numbers.items())


def _in_order(vm: SimulatedVM) -> list[Offered]:
    """What the host has offered, in the order of its messages; what patch 1 drops is left out."""
    offers = []
    for record in vm.trace():
        if record.who == "host" and record.event == "message":
            message = decode(record.fields[2], Dialect(Version.V5_3))
            if isinstance(message, OfferChannel) and message.class_id not in UNSUPPORTED:
                perf = device_type(message.class_id).perf
                offers.append(Offered(message.relid, str(message.instance_id), perf, message.sub_channel_index))
    return offers
