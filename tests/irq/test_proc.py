"""/proc/interrupts and /proc/stat against tables that real kernels printed.

Each table in tests/data is read, its numbers are put into kernel memory, and the renderer must print the same bytes:

* the RFC's cover letter (6.10-rc2 with the patches, 8 CPUs, Generation 2), edited by its author as ``restored`` undoes;
* a 6.12 kernel with the patches and 4 CPUs after boot, and rows of it once the numbers had grown to four digits;
* a 6.1 kernel without them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guest.irq.alloc import alloc_desc, set_chip_and_handler
from guest.irq.chip import IrqChip
from guest.irq.desc import IrqTables
from guest.irq.flags import IRQ_HIDDEN, IRQ_PER_CPU
from guest.irq.flow import Flow
from guest.irq.manage import free_irq
from guest.irq.parse import Interrupts, parse_interrupts
from guest.irq.proc import GuestProfile, number_width, show_interrupts, show_stat_intr, x86_nr_irqs
from guest.irq.x86_rows import IN_PROC_STAT, ORDER, SINGLE_ROWS
from guest.kernel.memory import KernelMemory
from protocol.ids import Irq
from tests.irq.conftest import Machine

DATA = Path(__file__).parent.parent / "data"
CUT = len("  8:          0          0 ")


def table(name: str) -> str:
    return (DATA / f"interrupts_{name}.txt").read_text()


def restored(cut: str) -> str:
    """The cover letter's table with columns for CPU 2 to 5 again.

    Whoever cut them out left one blank too many there, and trailing blanks of the header were lost.
    """
    lines = cut.splitlines()
    header = "".ljust(11) + "".join(f"CPU{cpu:<8d}" for cpu in range(8))
    zeros = "0 ".rjust(11) * 4
    return "\n".join([header, *(wide(line, zeros) for line in lines[1:])]) + "\n"


def wide(line: str, zeros: str) -> str:
    if len(line) <= CUT:
        return line
    assert line[CUT] == " "
    return line[:CUT] + zeros + line[CUT + 1 :]


def without_middle(rendered: str) -> str:
    """The author's edit: CPU 2 to 5 cut out, one blank more, no blanks at the end of the header."""
    header, *rows = rendered.splitlines()
    short = [line if len(line) <= CUT else line[:CUT] + " " + line[CUT + 44 :] for line in (header, *rows)]
    return "\n".join([short[0].rstrip(), *short[1:]]) + "\n"


def load(machine: Machine, parsed: Interrupts) -> GuestProfile:
    """Put a table's numbers into kernel memory; the profile has its tail."""
    core, tables = machine.cpus[0].core, machine.tables
    flows = {name: core.register_chip(IrqChip(name)) for name in {row.chip for row in parsed.rows} - {"VMBus"}}
    flows["VMBus"] = machine.cpus[0].chip
    for row in parsed.rows:
        irq = alloc_desc(core, at=row.irq)
        assert irq is not None
        set_chip_and_handler(core, irq, flows[row.chip], Flow.SIMPLE, row.flow)
        desc = tables.descs[irq]
        desc.hwirq, desc.domain = row.hwirq or 0, row.hwirq is not None
        if row.action is not None:
            desc.action, desc.action_name = machine.cpus[0].handler, row.action
        desc.tot_count = sum(row.counts)
        for cpu, count in zip(parsed.cpus, row.counts, strict=True):
            tables.kstat[cpu].counts[irq] = count
            tables.cpu_stat[cpu].irqs_sum += count
    for label, counts in parsed.tail.items():
        if label in SINGLE_ROWS:
            setattr(tables.shared, label.lower(), counts[0])
        else:
            for cpu, count in zip(parsed.cpus, counts, strict=True):
                setattr(tables.arch_stat[cpu], label.lower(), count)
    return GuestProfile(tail=frozenset(parsed.tail))


def test_the_cover_letters_table_comes_back_byte_for_byte() -> None:
    letter = table("rfc_cover_letter")
    machine = Machine(8)
    machine.tables.shared.nr_irqs = x86_nr_irqs(8)
    profile = load(machine, parse_interrupts(restored(letter)))
    assert profile == GuestProfile(), "its rows are the default profile"
    assert without_middle(machine.interrupts()) == letter


@pytest.mark.parametrize("name", ["rfc_4_cpus", "rfc_4_digits", "legacy_4_cpus"])
def test_a_real_kernels_table_comes_back_byte_for_byte(name: str) -> None:
    printed = table(name)
    machine = Machine(4)
    profile = load(machine, parse_interrupts(printed))
    assert machine.interrupts(profile) == printed
    assert machine.interrupts(GuestProfile(profile.tail, counts_outlive_action=False)) == printed


def test_the_header_keeps_the_blanks_behind_the_last_cpu(machine: Machine) -> None:
    assert machine.interrupts().splitlines()[0] == "           CPU0       CPU1       CPU2       CPU3       "
    header = Machine(12).interrupts().splitlines()[0]
    assert header.endswith("CPU9       CPU10      CPU11      ")


def test_only_online_cpus_have_columns_but_all_are_in_proc_stat(machine: Machine) -> None:
    cpu = machine.cpus[1]
    irq = cpu.map(7)
    cpu.request(irq, "heartbeat")
    cpu.interrupt(7)
    machine.online = 0b1101
    header, row, *_ = machine.interrupts().splitlines()
    assert header.split() == ["CPU0", "CPU2", "CPU3"]
    assert row == " 24:          0          0          0     VMBus   7  heartbeat"
    assert show_stat_intr(machine.reader()).startswith("intr 1 ")


def test_a_channel_has_no_row_before_its_first_open(machine: Machine) -> None:
    machine.cpus[0].map(3)
    assert parse_interrupts(machine.interrupts()).rows == ()


def test_the_row_of_a_freed_irq_stays_with_its_counts_in_6_10_and_goes_in_6_12(machine: Machine) -> None:
    cpu = machine.cpus[0]
    irq, idle = cpu.map(7), cpu.map(9)
    for each, name in ((irq, "heartbeat"), (idle, "shutdown")):
        cpu.request(each, name)
    cpu.interrupt(7)
    free_irq(cpu.core, irq)
    free_irq(cpu.core, idle)
    assert machine.interrupts().splitlines()[1] == " 24:          1          0          0          0     VMBus   7"
    assert [row.irq for row in parse_interrupts(machine.interrupts()).rows] == [irq]
    assert parse_interrupts(machine.interrupts(GuestProfile(counts_outlive_action=False))).rows == ()


def test_rows_for_hidden_irqs_are_left_out_but_counted_in_proc_stat(machine: Machine) -> None:
    cpu = machine.cpus[0]
    irq = cpu.map(7)
    cpu.request(irq, "control")
    cpu.interrupt(7)
    cpu.core.modify_status(irq, set=IRQ_HIDDEN)
    assert parse_interrupts(machine.interrupts()).rows == ()
    assert show_stat_intr(machine.reader()).split()[1 + 1 + irq] == "1"


def test_an_empty_action_name_ends_the_row_in_two_blanks(machine: Machine) -> None:
    irq = machine.cpus[0].map(20)
    machine.cpus[0].request(irq, "")
    assert machine.interrupts().splitlines()[1].endswith("     VMBus  20  ")
    assert parse_interrupts(machine.interrupts()).row(irq).action == ""


def test_an_hwirq_wider_than_its_column_pushes_the_rest(machine: Machine) -> None:
    irq = machine.cpus[0].map(2047)
    machine.cpus[0].request(irq, "vss")
    assert machine.interrupts().splitlines()[1].endswith("     VMBus 2047  vss")


def test_counts_wrap_at_32_bits(machine: Machine) -> None:
    irq = machine.cpus[0].map(7)
    machine.cpus[0].request(irq, "heartbeat")
    machine.tables.kstat[0].counts[irq] = (1 << 32) + 5
    assert parse_interrupts(machine.interrupts()).row(irq).counts[0] == 5


def test_the_table_grows_to_four_digits_with_the_highest_number_ever_taken(machine: Machine) -> None:
    for hwirq in range(1, 1038):
        machine.cpus[0].domain.create_mapping(hwirq)
    assert machine.tables.shared.nr_irqs == 1061
    assert parse_interrupts(machine.interrupts()).width == 4
    assert "\n NMI:          0" in machine.interrupts()
    assert len(show_stat_intr(machine.reader()).split()) == 2 + 1061


@pytest.mark.parametrize(
    ("cpus", "legacy_pic", "nr_irqs"),
    [(4, True, 456), (8, False, 472), (8, True, 488), (73, False, 992), (74, False, 1000), (72, True, 1000)],
)
def test_nr_irqs_at_boot_follows_the_number_of_possible_cpus(cpus: int, legacy_pic: bool, nr_irqs: int) -> None:
    assert x86_nr_irqs(cpus, legacy_pic=legacy_pic) == nr_irqs
    assert number_width(nr_irqs) == (4 if nr_irqs >= 1000 else 3)


def test_one_cpu_is_limited_by_its_256_vectors() -> None:
    assert x86_nr_irqs(1) == 256


def test_the_total_of_proc_stat_is_the_sum_of_all_rows_but_tlb(machine: Machine) -> None:
    """Observed to the unit: on 6.12 TLB shootdowns are the only rows of that table that are not in the total."""
    parsed = parse_interrupts(table("rfc_4_cpus"))
    machine.tables.shared.nr_irqs = x86_nr_irqs(4, legacy_pic=True)
    load(machine, parsed)
    rows = sum(sum(row.counts) for row in parsed.rows) + sum(map(sum, parsed.tail.values()))
    total, *per_irq = map(int, show_stat_intr(machine.reader()).split()[1:])
    assert total == rows - sum(parsed.tail["TLB"])
    assert len(per_irq) == 456
    assert {irq: count for irq, count in enumerate(per_irq) if count} == {
        row.irq: sum(row.counts) for row in parsed.rows if any(row.counts)
    }


def test_a_per_cpu_irq_has_no_total_of_its_own_and_is_summed(machine: Machine) -> None:
    core = machine.cpus[0].core
    assert alloc_desc(core, at=18) == 18
    core.modify_status(Irq(18), set=IRQ_PER_CPU)
    for column in machine.tables.kstat:
        column.counts[18] = 2
    assert show_stat_intr(machine.reader()).split()[2 + 18] == "8"


def test_every_row_of_the_tail_has_its_place_and_its_counter(machine: Machine) -> None:
    everything = GuestProfile(tail=frozenset(ORDER))
    assert tuple(parse_interrupts(machine.interrupts(everything)).tail) == ORDER
    assert set(SINGLE_ROWS) | IN_PROC_STAT < set(ORDER)


def test_a_line_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="not a line of /proc/interrupts: 'NMI'"):
        parse_interrupts("           CPU0       \nNMI\n")


counts = st.integers(0, (1 << 32) - 1)
names = st.text("abcdefgh@:0123", min_size=1, max_size=31)


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.integers(1, 2047), st.tuples(names, st.lists(counts, min_size=4, max_size=4)), max_size=8))
def test_a_table_parses_back_to_the_state_it_was_rendered_from(channels: dict[int, tuple[str, list[int]]]) -> None:
    """I27, in both directions: memory to text to memory to the same text."""
    machine = Machine(4)
    for relid, (name, columns) in channels.items():
        irq = machine.cpus[0].map(relid)
        machine.cpus[0].request(irq, name)
        for cpu, count in enumerate(columns):
            machine.tables.kstat[cpu].counts[irq] = count
    text = machine.interrupts()
    parsed = parse_interrupts(text)
    assert {row.hwirq: (row.action, list(row.counts)) for row in parsed.rows} == channels
    copy = Machine(4)
    assert copy.interrupts(load(copy, parsed)) == text


def test_a_reader_without_a_guest_is_told_so() -> None:
    with pytest.raises(LookupError):
        show_interrupts(IrqTables.find(KernelMemory(memoryview(bytearray(8 * 65536)).cast("Q"))), 1)
