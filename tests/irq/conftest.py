"""A machine with nothing but an IRQ core: kernel memory, locks, some CPUs, and a controller whose hwirqs are wires."""

from __future__ import annotations

import threading
from collections.abc import Callable
from errno import EIO

import pytest

from guest.irq.alloc import free_desc
from guest.irq.chip import IrqChip
from guest.irq.core import IrqCore
from guest.irq.desc import IrqDesc, IrqTables
from guest.irq.domain import IrqDomain
from guest.irq.flags import IRQ_MOVE_PCNTXT
from guest.irq.manage import request_irq
from guest.irq.proc import COVER_LETTER, GuestProfile, show_interrupts, x86_nr_irqs
from guest.irq.startup import resend_irqs
from guest.kernel.locks import Locks, RawLock
from guest.kernel.memory import KernelMemory
from protocol.ids import Cpu, Irq

MEMORY_WORDS = 512 * 1024


class LockBank:
    """Locks of one process; ``threading.Lock`` is not re-entrant, so a lock taken twice by one CPU hangs visibly."""

    def __init__(self) -> None:
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def raw(self, name: str) -> RawLock:
        with self._guard:
            return self._locks.setdefault(name, threading.Lock())

    def taken(self) -> list[str]:
        return [name for name, lock in self._locks.items() if lock.locked()]


class InterruptFlag:
    """A CPU's interrupt flag that only counts."""

    def __init__(self) -> None:
        self.off = 0

    def disable(self) -> None:
        self.off += 1

    def enable(self) -> None:
        self.off -= 1


class MachineCpu:
    """One CPU with its IRQ core, its domain, and what its handler ran."""

    def __init__(self, machine: Machine, number: int) -> None:
        self.machine = machine
        self.flag = InterruptFlag()
        self.at: dict[str, Callable[[], None]] = {}
        self.ran: list[tuple[Irq, int]] = []
        self.tasklet_due = False
        memory = KernelMemory(machine.words)
        self.core = IrqCore(
            IrqTables.place(memory, machine.cpus_possible),
            Cpu(number),
            Locks(machine.bank, self.flag),
            self.flag,
            online=lambda: machine.online,
            schedule_resend=self._schedule,
            relax=self._relax,
            log=machine.log.append,
            point=self._point,
        )
        self.chip = self.core.register_chip(IrqChip("VMBus", mask=_ignore, unmask=_ignore, set_affinity=machine.move))
        self.handler = self.core.register_handler(self._run)
        self.domain = IrqDomain(self.core, memory, "hv-vmbus", self.chip)

    def _run(self, irq: Irq, dev_id: int) -> bool:
        self.ran.append((irq, dev_id))
        return True

    def _schedule(self) -> None:
        self.tasklet_due = True

    def _relax(self) -> None:
        self._point("relax")

    def _point(self, name: str) -> None:
        """Do once what the test asked for at this point."""
        action = self.at.pop(name, None)
        if action:
            action()

    def map(self, hwirq: int) -> Irq:
        """What VMBus does with a new channel."""
        irq = self.domain.create_mapping(hwirq)
        self.core.set_handler_data(irq, hwirq)
        self.core.modify_status(irq, set=IRQ_MOVE_PCNTXT)
        return irq

    def unmap(self, hwirq: int) -> None:
        free_desc(self.core, self.domain.dispose_mapping(hwirq))

    def request(self, irq: Irq, name: str) -> None:
        """Request with the handler that notes what ran, and run the tasklet that this may schedule."""
        request_irq(self.core, irq, self.handler, name, dev_id=1000 + irq)
        self.run_tasklet()

    def run_tasklet(self) -> None:
        if self.tasklet_due:
            self.tasklet_due = False
            resend_irqs(self.core)

    def interrupt(self, hwirq: int) -> None:
        """What the scan does with one cleared bit."""
        irq = self.domain.resolve(hwirq)
        if irq:
            self.core.generic_handle_irq_desc(irq)


class Machine:
    """CPUs over one kernel memory. ``target`` is where the controller delivers; ``refuse`` makes it refuse moves."""

    def __init__(self, cpus: int) -> None:
        self.words = memoryview(bytearray(8 * MEMORY_WORDS)).cast("Q")
        self.bank = LockBank()
        self.cpus_possible = cpus
        self.online = (1 << cpus) - 1
        self.log: list[str] = []
        self.moves: list[tuple[int, int]] = []
        self.refuse = False
        self.cpus = [MachineCpu(self, cpu) for cpu in range(cpus)]
        self.tables = self.cpus[0].core.tables
        self.tables.early_irq_init(x86_nr_irqs(cpus))

    def move(self, desc: IrqDesc, mask: int) -> int:
        """The chip: keep the target if it may stay, else the lowest CPU allowed."""
        if self.refuse:
            raise OSError(EIO, "refused")
        if not desc.effective_affinity & mask:
            self.moves.append((desc.handler_data, mask & -mask))
            return mask & -mask
        return desc.effective_affinity

    def reader(self) -> IrqTables:
        """The tables as a process sees them that only mapped the memory, read-only."""
        return IrqTables.find(KernelMemory(self.words.toreadonly()))

    def interrupts(self, profile: GuestProfile = COVER_LETTER) -> str:
        return show_interrupts(self.reader(), self.online, profile)


def _ignore(desc: IrqDesc) -> None:
    return


@pytest.fixture
def machine() -> Machine:
    """Four CPUs."""
    return Machine(4)
