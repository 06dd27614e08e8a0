"""Requesting and freeing: states as debugfs shows them, the second open, and unbalanced calls.

State words were read from debugfs of a 6.12 kernel that carried the twelve patches.
"""

from __future__ import annotations

from errno import EBUSY, EINVAL, ENOSYS

import pytest

from guest.irq.alloc import alloc_desc
from guest.irq.chip import IrqChip
from guest.irq.domain import IrqDomain
from guest.irq.flags import IRQD_AFFINITY_SET, IRQD_IRQ_MASKED, IRQS_SYSFS
from guest.irq.manage import disable_irq, enable_irq, free_irq, request_irq
from guest.kernel.memory import KernelMemory
from protocol.ids import Irq
from tests.irq.conftest import Machine


def test_a_channel_that_was_never_opened_is_disabled_and_masked(machine: Machine) -> None:
    desc = machine.tables.descs[machine.cpus[0].map(3)]
    assert (desc.dstate, desc.istate, desc.depth) == (0x00038000, IRQS_SYSFS, 1)
    assert (desc.affinity, desc.effective_affinity) == (0xF, 0)


def test_an_open_channel_is_activated_started_and_has_its_affinity_set(machine: Machine) -> None:
    cpu = machine.cpus[0]
    irq = cpu.map(7)
    cpu.request(irq, "heartbeat")
    desc = machine.tables.descs[irq]
    desc.dstate |= IRQD_AFFINITY_SET
    assert (desc.dstate, desc.istate, desc.depth) == (0x00409200, 0x4000, 0)


def test_a_refused_open_leaves_it_disabled_and_masked_again(machine: Machine) -> None:
    cpu = machine.cpus[0]
    irq = cpu.map(7)
    cpu.request(irq, "heartbeat")
    machine.tables.descs[irq].dstate |= IRQD_AFFINITY_SET
    free_irq(cpu.core, irq)
    assert (machine.tables.descs[irq].dstate, machine.tables.descs[irq].depth) == (0x00039000, 1)
    cpu.request(irq, "heartbeat")
    assert machine.tables.descs[irq].dstate == 0x00409200


def test_a_chip_without_unmask_leaves_the_irq_flagged_as_masked(machine: Machine) -> None:
    """Why the VMBus chip has an empty unmask (RFC patch 7)."""
    core = machine.cpus[0].core
    bare = core.register_chip(IrqChip("bare"))
    domain = IrqDomain(core, KernelMemory(memoryview(bytearray(8 * 65536)).cast("Q")), "bare", bare)
    irq = domain.create_mapping(1)
    request_irq(core, irq, machine.cpus[0].handler, "wire")
    assert machine.tables.descs[irq].dstate & IRQD_IRQ_MASKED


def test_the_second_open_of_a_channel_fails_with_ebusy(machine: Machine) -> None:
    """D1: the series as posted does not free the IRQ at close."""
    cpu = machine.cpus[0]
    irq = cpu.map(7)
    cpu.request(irq, "heartbeat")
    with pytest.raises(OSError, match="requested already") as caught:
        machine.cpus[1].request(irq, "heartbeat")
    assert caught.value.errno == EBUSY
    assert machine.log == ["genirq: Flags mismatch irq 24. 00200000 (heartbeat) vs. 00200000 (heartbeat)"]
    cpu.interrupt(7)
    assert cpu.ran == [(irq, 1000 + irq)], "the first action is untouched"


def test_an_unknown_guid_brings_an_empty_name(machine: Machine) -> None:
    """D8: procfs warns about the directory, and the second open shows two empty pairs of parentheses."""
    cpu = machine.cpus[0]
    irq = cpu.map(20)
    cpu.request(irq, "")
    with pytest.raises(OSError):
        cpu.request(irq, "")
    assert machine.log == ["name len 0", "genirq: Flags mismatch irq 24. 00200000 () vs. 00200000 ()"]


def test_what_cannot_be_requested(machine: Machine) -> None:
    core, handler = machine.cpus[0].core, machine.cpus[0].handler
    with pytest.raises(OSError) as unknown:
        request_irq(core, Irq(99), handler, "x")
    bare = alloc_desc(core)
    assert bare is not None
    with pytest.raises(OSError) as no_chip:
        request_irq(core, bare, handler, "x")
    with pytest.raises(OSError) as no_handler:
        request_irq(core, machine.cpus[0].map(7), 0, "x")
    assert [e.value.errno for e in (unknown, no_chip, no_handler)] == [EINVAL, ENOSYS, EINVAL]


def test_an_irq_whose_mapping_is_going_cannot_be_requested(machine: Machine) -> None:
    first, second = machine.cpus[:2]
    irq = first.map(7)
    errors: list[int | None] = []

    def open_late() -> None:
        with pytest.raises(OSError) as caught:
            second.request(irq, "heartbeat")
        errors.append(caught.value.errno)

    first.at["irq.domain.unhandled"] = open_late
    first.domain.dispose_mapping(7)
    open_late()
    assert errors == [EINVAL, EINVAL]


def test_disabling_nests(machine: Machine) -> None:
    cpu = machine.cpus[0]
    irq = cpu.map(7)
    cpu.request(irq, "heartbeat")
    disable_irq(cpu.core, irq)
    disable_irq(cpu.core, irq)
    enable_irq(cpu.core, irq)
    cpu.interrupt(7)
    assert cpu.ran == []
    enable_irq(cpu.core, irq)
    cpu.run_tasklet()
    assert len(cpu.ran) == 1


def test_mistakes_are_logged_and_change_nothing(machine: Machine) -> None:
    cpu = machine.cpus[0]
    irq = cpu.map(7)
    free_irq(cpu.core, irq)
    cpu.request(irq, "heartbeat")
    enable_irq(cpu.core, irq)
    assert machine.log == ["Trying to free already-free IRQ 24", "Unbalanced enable for IRQ 24"]
    assert machine.tables.descs[irq].depth == 0


def test_no_lock_is_left_held_and_interrupts_are_on(machine: Machine) -> None:
    cpu = machine.cpus[0]
    irq = cpu.map(7)
    cpu.request(irq, "heartbeat")
    with pytest.raises(OSError):
        cpu.request(irq, "again")
    with pytest.raises(OSError):
        cpu.request(Irq(2000), "unknown")
    free_irq(cpu.core, irq)
    cpu.unmap(7)
    assert cpu.flag.off == 0
    assert machine.bank.taken() == []
