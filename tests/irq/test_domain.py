"""Which Linux IRQ an hwirq gets, and when a number is free again."""

from __future__ import annotations

import pytest

from guest.irq.alloc import X86_DYNIRQ_BASE, alloc_desc
from guest.irq.desc import NR_IRQS, IrqTables
from guest.irq.domain import DOMAIN_SIZE, IrqDomain
from guest.irq.manage import free_irq
from guest.kernel.memory import KernelMemory
from tests.irq.conftest import Machine

COVER_LETTER_RELIDS = (7, 9, 10, 11, 14, 15, 1, 3, 4, 5, 13, 8, *range(16, 25))


def test_numbers_are_handed_out_from_24_in_offer_order_whatever_the_relid(machine: Machine) -> None:
    """IRQs 24 to 44 of the RFC's cover letter."""
    irqs = [machine.cpus[0].map(relid) for relid in COVER_LETTER_RELIDS]
    assert irqs == list(range(24, 45))
    assert [machine.cpus[3].domain.resolve(relid) for relid in COVER_LETTER_RELIDS] == irqs
    assert machine.cpus[0].domain.mapped == 21


def test_the_lowest_free_number_is_taken_again_after_a_rescind(machine: Machine) -> None:
    cpu = machine.cpus[0]
    for relid in (7, 9, 10, 11):
        cpu.map(relid)
    cpu.unmap(9)
    cpu.unmap(10)
    assert [cpu.map(relid) for relid in (30, 31, 32)] == [25, 26, 28]


def test_counts_restart_when_a_number_is_reused(machine: Machine) -> None:
    cpu = machine.cpus[0]
    irq = cpu.map(7)
    cpu.request(irq, "heartbeat")
    cpu.interrupt(7)
    free_irq(cpu.core, irq)
    cpu.unmap(7)
    assert cpu.map(7) == irq
    cpu.request(irq, "heartbeat")
    cpu.interrupt(7)
    assert machine.tables.kstat[0].counts[irq] == machine.tables.descs[irq].tot_count == 1
    assert machine.tables.cpu_stat[0].irqs_sum == 2, "the total of /proc/stat never goes back"


def test_mapping_twice_gives_the_existing_irq(machine: Machine) -> None:
    """With one domain for two connections, equal relids would therefore share an IRQ."""
    assert machine.cpus[0].domain.create_mapping(5) == machine.cpus[1].domain.create_mapping(5) == X86_DYNIRQ_BASE


def test_two_domains_may_use_the_same_hwirq(machine: Machine) -> None:
    cpu = machine.cpus[0]
    second = IrqDomain(cpu.core, KernelMemory(memoryview(bytearray(8 * 65536)).cast("Q")), "hv-vmbus-1", cpu.chip)
    assert cpu.map(5) == 24
    assert second.create_mapping(5) == 25
    assert machine.tables.descs[24].domain != machine.tables.descs[25].domain


def test_an_hwirq_outside_the_domain_gets_no_irq(machine: Machine) -> None:
    domain = machine.cpus[0].domain
    assert domain.create_mapping(DOMAIN_SIZE) == 0
    assert domain.create_mapping(DOMAIN_SIZE - 1) == 24
    assert domain.resolve(DOMAIN_SIZE) == 0
    assert domain.dispose_mapping(DOMAIN_SIZE) == 0


def test_a_full_domain_fits_and_the_next_number_is_refused(machine: Machine) -> None:
    domain = machine.cpus[0].domain
    irqs = [domain.create_mapping(hwirq) for hwirq in range(DOMAIN_SIZE)]
    assert irqs == list(range(24, 24 + DOMAIN_SIZE))
    assert machine.tables.shared.nr_irqs == 24 + DOMAIN_SIZE
    while alloc_desc(machine.cpus[0].core) is not None:
        pass
    assert len(list(machine.tables.live())) == NR_IRQS - 24
    assert domain.create_mapping(0) == 24, "what is mapped stays mapped"
    machine.cpus[0].domain.dispose_mapping(0)
    assert domain.create_mapping(0) == 0, "no number left: the freed one is not yet out of every CPU's hands"


def test_a_legacy_interrupt_takes_the_number_it_asks_for_once(machine: Machine) -> None:
    core = machine.cpus[0].core
    assert alloc_desc(core, at=8) == 8
    assert alloc_desc(core, at=8) is None


def test_on_arm64_the_search_starts_at_the_hwirq(machine: Machine) -> None:
    cpu = machine.cpus[0]
    machine.tables.shared.nr_irqs = 64
    memory = KernelMemory(memoryview(bytearray(8 * 65536)).cast("Q"))
    domain = IrqDomain(cpu.core, memory, "hv-vmbus", cpu.chip, dynirq_base=0)
    assert [domain.create_mapping(hwirq) for hwirq in (14, 7, 14 + 64, 64, 1)] == [14, 7, 15, 1, 2]


@pytest.mark.parametrize("cpus", [0, 65])
def test_a_mask_is_one_word_so_there_are_at_most_64_cpus(cpus: int) -> None:
    with pytest.raises(ValueError, match="1 to 64"):
        IrqTables.place(KernelMemory(memoryview(bytearray(8 * 65536)).cast("Q")), cpus)
