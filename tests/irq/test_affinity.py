"""Moving IRQs: /proc/irq/N as a user writes it, the hint, and the start-up choice.

Results of the writes were observed on a 6.12 kernel with the twelve patches and 4 possible CPUs.
"""

from __future__ import annotations

import stat
from errno import EINVAL, EIO, EOVERFLOW, ERANGE

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest.fs.node import Directory
from guest.fs.tree import Tree
from guest.irq.affinity import irq_set_affinity, irq_set_affinity_and_hint, irq_update_affinity_hint
from guest.irq.core import IrqCore
from guest.irq.cpumask import format_list, format_mask, parse_list, parse_mask
from guest.irq.desc import IrqTables
from guest.irq.flags import IRQ_NO_BALANCING, IRQD_AFFINITY_SET
from guest.irq.manage import free_irq
from guest.irq.procirq import proc_irq, sys_kernel_irq
from protocol.ids import Irq
from tests.irq.conftest import Machine, MachineCpu

READ_ONLY = ("affinity_hint", "effective_affinity", "effective_affinity_list", "node", "spurious")


@pytest.fixture
def heartbeat(machine: Machine) -> Irq:
    """An open channel on CPU 0: IRQ 24."""
    cpu = machine.cpus[0]
    irq = cpu.map(7)
    cpu.request(irq, "heartbeat")
    irq_set_affinity_and_hint(cpu.core, irq, 1)
    return irq


def tree(tables: IrqTables, core: IrqCore | None = None) -> Tree:
    """The files of the IRQ core, in a root of their own."""
    return Tree(Directory.of({"proc": proc_irq(tables, core), "sys": sys_kernel_irq(tables)}))


def proc_irq_dirs(tables: IrqTables) -> dict[int, str]:
    """The IRQs that have a directory, and the name of the directory in it."""
    files = tree(tables)
    found = {}
    for irq in files.list("/proc"):
        if irq != "default_smp_affinity":
            names = [name for name in files.list(f"/proc/{irq}") if stat.S_ISDIR(files.mode(f"/proc/{irq}/{name}"))]
            found[int(irq)] = "".join(names)
    return found


def texts(tables: IrqTables, directory: str) -> dict[str, str]:
    """The files of a directory."""
    files = tree(tables)
    paths = {name: f"{directory}/{name}" for name in files.list(directory)}
    return {name: files.read(path).decode() for name, path in paths.items() if stat.S_ISREG(files.mode(path))}


def proc_irq_files(tables: IrqTables, irq: Irq) -> dict[str, str]:
    return texts(tables, f"/proc/{irq}")


def sys_kernel_irq_files(tables: IrqTables, irq: Irq) -> dict[str, str]:
    return texts(tables, f"/sys/{irq}")


def write(core: IrqCore, path: str, text: str) -> int:
    """What write(2) returns; nothing of the IRQ core suspends its caller."""
    with pytest.raises(StopIteration) as returned:
        tree(core.tables, core).write(path, text.encode()).send(None)
    result: int = returned.value.value
    return result


def write_proc_irq(core: IrqCore, irq: Irq, file: str, text: str) -> int:
    return write(core, f"/proc/{irq}/{file}", text)


def failure(cpu: MachineCpu, irq: Irq, file: str, text: str) -> int | None:
    with pytest.raises(OSError) as caught:
        write_proc_irq(cpu.core, irq, file, text)
    return caught.value.errno


def test_the_files_of_an_open_channel(machine: Machine, heartbeat: Irq) -> None:
    machine.cpus[0].interrupt(7)
    reader = machine.reader()
    assert proc_irq_dirs(reader) == {heartbeat: "heartbeat"}
    assert proc_irq_files(reader, heartbeat) == {
        "affinity_hint": "1\n",
        "effective_affinity": "1\n",
        "effective_affinity_list": "0\n",
        "node": "0\n",
        "smp_affinity": "1\n",
        "smp_affinity_list": "0\n",
        "spurious": "count 0\nunhandled 0\nlast_unhandled 0 ms\n",
    }
    assert sys_kernel_irq_files(reader, heartbeat) == {
        "actions": "heartbeat\n",
        "chip_name": "VMBus\n",
        "hwirq": "7\n",
        "name": "",
        "per_cpu_count": "1,0,0,0\n",
        "type": "edge\n",
        "wakeup": "disabled\n",
    }


def test_an_unopened_channel_has_no_proc_directory_but_sysfs_files(machine: Machine) -> None:
    irq = machine.cpus[0].map(3)
    assert proc_irq_dirs(machine.reader()) == {}
    files = sys_kernel_irq_files(machine.reader(), irq)
    assert (files["actions"], files["per_cpu_count"], files["hwirq"]) == ("", "0,0,0,0\n", "3\n")


def test_the_proc_directory_outlives_the_action_and_goes_with_the_mapping(machine: Machine, heartbeat: Irq) -> None:
    core = machine.cpus[0].core
    irq_update_affinity_hint(core, heartbeat, 0)
    free_irq(core, heartbeat)
    assert proc_irq_dirs(machine.reader()) == {heartbeat: ""}
    machine.cpus[0].unmap(7)
    assert proc_irq_dirs(machine.reader()) == {}
    assert machine.log == []


def test_a_name_rewritten_after_open_does_not_rename_the_directory(machine: Machine, heartbeat: Irq) -> None:
    machine.tables.descs[heartbeat].action_name = "heartbeat-eth0"
    assert machine.interrupts().splitlines()[1].endswith("  heartbeat-eth0")
    assert proc_irq_dirs(machine.reader()) == {heartbeat: "heartbeat"}


def test_a_mask_is_kept_whole_and_the_current_target_stays_if_it_may(machine: Machine, heartbeat: Irq) -> None:
    seen = []
    for mask in ("2", "f", "6", "c", "e", "3"):
        assert write_proc_irq(machine.cpus[0].core, heartbeat, "smp_affinity", mask + "\n") == 2
        files = proc_irq_files(machine.reader(), heartbeat)
        seen.append((files["smp_affinity"].strip(), files["effective_affinity"].strip()))
    assert seen == [("2", "2"), ("f", "2"), ("6", "2"), ("c", "4"), ("e", "4"), ("3", "1")]
    assert machine.moves == [(7, 1), (7, 2), (7, 4), (7, 1)]
    assert proc_irq_files(machine.reader(), heartbeat)["affinity_hint"] == "1\n"


@pytest.mark.parametrize(
    ("file", "text", "errno"),
    [
        *(("smp_affinity", text, EINVAL) for text in ("0", "zz", "\n", "0x2")),
        *(("smp_affinity", text, EOVERFLOW) for text in ("10", "12", "ffffffff", "123456789", "1,00000001", "0,3")),
        *(("smp_affinity_list", text, ERANGE) for text in ("4", "63", "64", "200")),
        *(("smp_affinity_list", text, EINVAL) for text in ("3-1", "abc", "-1", "")),
        ("smp_affinity_list", "99999999999", EOVERFLOW),
        *((file, "1", EIO) for file in READ_ONLY),
    ],
)
def test_what_a_writer_is_refused(machine: Machine, heartbeat: Irq, file: str, text: str, errno: int) -> None:
    before = bytes(machine.words)
    assert failure(machine.cpus[0], heartbeat, file, text) == errno
    assert bytes(machine.words) == before


def test_with_a_cpu_offline_its_bit_is_kept_but_it_cannot_be_chosen(machine: Machine, heartbeat: Irq) -> None:
    machine.online = 0b1101
    cpu = machine.cpus[0]
    machine.tables.descs[heartbeat].dstate &= ~IRQD_AFFINITY_SET
    assert failure(cpu, heartbeat, "smp_affinity", "2") == EINVAL
    assert not machine.tables.descs[heartbeat].dstate & IRQD_AFFINITY_SET, "not even tried"
    write_proc_irq(cpu.core, heartbeat, "smp_affinity", "6")
    files = proc_irq_files(machine.reader(), heartbeat)
    assert (files["smp_affinity"], files["effective_affinity"]) == ("6\n", "4\n")


def test_a_refusal_of_the_chip_reaches_the_writer_and_changes_nothing_but_the_flag(machine: Machine) -> None:
    cpu = machine.cpus[0]
    irq = cpu.map(7)
    machine.refuse = True
    cpu.request(irq, "heartbeat")
    assert failure(cpu, irq, "smp_affinity", "2") == EIO
    desc = machine.tables.descs[irq]
    assert (desc.affinity, desc.effective_affinity) == (0xF, 0)
    assert desc.dstate & IRQD_AFFINITY_SET


def test_a_channel_whose_cpu_is_isolated_starts_without_an_effective_affinity(machine: Machine) -> None:
    """The chip refuses at start-up and for the hint; both results are ignored, so smp_affinity stays the default."""
    cpu = machine.cpus[0]
    irq = cpu.map(7)
    machine.refuse = True
    cpu.request(irq, "heartbeat")
    irq_set_affinity_and_hint(cpu.core, irq, 1)
    files = proc_irq_files(machine.reader(), irq)
    assert [files[name] for name in ("smp_affinity", "effective_affinity", "affinity_hint")] == ["f\n", "0\n", "1\n"]


def test_the_start_up_choice_follows_the_default_or_a_mask_that_was_set(machine: Machine) -> None:
    cpu = machine.cpus[0]
    machine.tables.shared.default_affinity = 0b0100
    first = cpu.map(7)
    cpu.request(first, "heartbeat")
    assert machine.tables.descs[first].effective_affinity == 0b0100
    irq_set_affinity(cpu.core, first, 0b1010)
    free_irq(cpu.core, first)
    cpu.request(first, "heartbeat")
    assert machine.tables.descs[first].effective_affinity == 0b0010
    free_irq(cpu.core, first)
    machine.online = 0b0101
    cpu.request(first, "heartbeat")
    assert machine.tables.descs[first].affinity == 0b0100, "a mask with no CPU online is given up for the default"
    assert not machine.tables.descs[first].dstate & IRQD_AFFINITY_SET


def test_an_irq_excluded_from_balancing_cannot_be_moved_by_a_user(machine: Machine, heartbeat: Irq) -> None:
    cpu = machine.cpus[0]
    cpu.core.modify_status(heartbeat, set=IRQ_NO_BALANCING)
    assert failure(cpu, heartbeat, "smp_affinity", "2") == EIO
    cpu.core.modify_status(heartbeat, clear=IRQ_NO_BALANCING)
    assert write_proc_irq(cpu.core, heartbeat, "smp_affinity_list", "1-2\n") == 4


def test_freeing_with_the_hint_still_set_is_a_mistake(machine: Machine, heartbeat: Irq) -> None:
    free_irq(machine.cpus[0].core, heartbeat)
    assert machine.log == ["IRQ 24 is freed with its affinity hint still set"]
    assert machine.tables.descs[heartbeat].affinity_hint == 0


def test_the_default_affinity_is_what_irqs_get_that_are_started_later(machine: Machine, heartbeat: Irq) -> None:
    cpu = machine.cpus[0]
    assert tree(machine.reader()).read("/proc/default_smp_affinity") == b"f\n"
    assert write(cpu.core, "/proc/default_smp_affinity", "c\n") == 2
    assert tree(machine.reader()).read("/proc/default_smp_affinity") == b"c\n"
    later = cpu.map(9)
    cpu.request(later, "shutdown")
    assert proc_irq_files(machine.reader(), later)["effective_affinity"] == "4\n"
    assert proc_irq_files(machine.reader(), heartbeat)["effective_affinity"] == "1\n"


@pytest.mark.parametrize(("text", "errno"), [("0", EINVAL), ("10", EOVERFLOW), ("zz", EINVAL)])
def test_the_default_affinity_needs_an_online_cpu(machine: Machine, text: str, errno: int) -> None:
    with pytest.raises(OSError) as caught:
        write(machine.cpus[0].core, "/proc/default_smp_affinity", text)
    assert caught.value.errno == errno


@pytest.mark.parametrize(
    ("mask", "bits", "text"),
    [(0xFF, 8, "ff"), (1, 4, "1"), (0xFF, 64, "00000000,000000ff"), (1 << 33, 36, "2,00000000"), (3, 6, "03")],
)
def test_masks_are_printed_in_groups_of_32_bits(mask: int, bits: int, text: str) -> None:
    assert format_mask(mask, bits) == text


@given(st.integers(1, 64).flatmap(lambda bits: st.tuples(st.just(bits), st.integers(0, (1 << bits) - 1))))
def test_masks_and_lists_read_back(case: tuple[int, int]) -> None:
    bits, mask = case
    assert parse_mask(format_mask(mask, bits) + "\n", bits) == mask
    assert parse_list(format_list(mask) + "\n", bits) == mask
