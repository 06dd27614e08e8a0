"""What a stopped VP of a real guest is answered."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from guest.linux import layout
from guest.linux.mailbox import Kind, Mailbox, State
from guest.linux.msrs import CRASH_MESSAGE, CRASH_NOTIFY, Msr
from guest.linux.port import LinuxPort
from guest.linux.refclock import ReferenceClock
from guest.linux.vp import LinuxVp, Shared, TripleFault
from protocol.ids import PAGE_SIZE, Sint, VpIndex
from protocol.port.envelope import ToHost, ToPort, read_to_host, to_port
from protocol.shell.atomic import AtomicWords
from protocol.shell.fence import full_fence
from protocol.shell.memory import GuestRam
from protocol.wire.hypercall import Code, ControlWord, Status
from protocol.wire.synic import Register

VP = VpIndex(1)
RAM_BYTES = 4 << 20
WORDS = (layout.vp_block(VP) + layout.MAILBOX) // 8
SIEFP_PAGE, CODE_PAGE = 0x300, 0x301


class Guest:
    """The shim's end of a mailbox, and a host that answers every call with SUCCESS."""

    def __init__(self, ram: GuestRam) -> None:
        self.ram = ram
        self.said: list[list[object]] = []
        self.rung: list[Sint] = []
        self._answers = 0
        fetch_or = AtomicWords(ram.bytes).fetch_or
        self.port = LinuxPort(VP, ram, self, fetch_or, full_fence, self.rung.append)
        clock = ReferenceClock(lambda: 1_000, lambda: 2_000_000_000)
        self.vp = LinuxVp(self.port, Mailbox(ram, VP), Shared(ram, clock), None)

    def send(self, data: bytes) -> None:
        self.said.append(read_to_host(data)[2:])

    def wait(self) -> None:
        self.hear(ToPort.ANSWER, 0)

    def hear(self, kind: ToPort, *fields: int, signals: tuple[int, ...] = ()) -> None:
        """An envelope from the host."""
        self._answers += 1
        self.port.receive(to_port(self._answers, 0, list(signals), kind, *fields))

    def stop(self, kind: Kind, *arguments: int, tsc: int = 0) -> tuple[int, bool]:
        """Stop for a reason: the result, and whether the instruction faults."""
        words = self.ram.words
        words[WORDS + 1] = kind
        for number, value in enumerate((*arguments, 0, 0, 0)[:3]):
            words[WORDS + 2 + number] = value
        words[WORDS + 5] = tsc
        words[WORDS] = State.REQUEST
        self.vp.serve()
        assert words[WORDS] == State.ANSWER
        return words[WORDS + 6], bool(words[WORDS + 7])

    def switch_on(self) -> None:
        """Event flags of SINT2, with a vector of the guest's choice."""
        for register, value in ((Register.SIEFP, SIEFP_PAGE * PAGE_SIZE | 1), (Register.SINT2, 0x55)):
            assert self.stop(Kind.MSR_WRITE, register, value) == (0, False)
        assert self.stop(Kind.MSR_WRITE, Register.SCONTROL, 1) == (0, False)


@pytest.fixture
def guest() -> Iterator[Guest]:
    yield Guest(GuestRam.create(RAM_BYTES, "test"))


def test_a_mailbox_without_a_request_is_left_alone(guest: Guest) -> None:
    guest.vp.serve()
    assert guest.ram.words[WORDS] == State.IDLE


def test_a_vp_learns_its_index(guest: Guest) -> None:
    assert guest.stop(Kind.MSR_READ, Msr.VP_INDEX) == (VP, False)


def test_the_hypercall_page_is_a_call_of_the_hypervisor(guest: Guest) -> None:
    guest.stop(Kind.MSR_WRITE, Msr.HYPERCALL, CODE_PAGE * PAGE_SIZE | 1)
    assert guest.ram.page(CODE_PAGE)[:4].tobytes() == bytes.fromhex("0f01d9c3")
    assert guest.stop(Kind.MSR_READ, Msr.HYPERCALL) == (CODE_PAGE * PAGE_SIZE | 1, False)


def test_the_reference_page_tells_the_partitions_time(guest: Guest) -> None:
    guest.stop(Kind.MSR_WRITE, Msr.REFERENCE_TSC, CODE_PAGE * PAGE_SIZE | 1, tsc=4_000_000_000)
    sequence, _, scale, offset = struct.unpack("<IIQq", guest.ram.page(CODE_PAGE)[:24])
    assert sequence == 1
    assert abs((4_000_000_000 * scale >> 64) + offset - 1_000) <= 1
    assert abs((6_000_000_000 * scale >> 64) + offset - 10_001_000) <= 1


@pytest.mark.parametrize("number", [0x4000_00B0, 0x4000_0072, 0x1234_5678])
def test_msrs_that_there_are_not_fault(guest: Guest, number: int) -> None:
    assert guest.stop(Kind.MSR_READ, number)[1]
    assert guest.stop(Kind.MSR_WRITE, number, 1)[1]


def test_a_page_beyond_the_memory_faults(guest: Guest) -> None:
    assert guest.stop(Kind.MSR_WRITE, Msr.HYPERCALL, RAM_BYTES | 1)[1]


def test_synic_registers_are_calls_and_any_vector_is_honoured(guest: Guest) -> None:
    guest.switch_on()
    assert guest.said[-1] == [ToHost.REGISTER, Register.SCONTROL, 1]
    guest.hear(ToPort.SIGNALS, signals=(2 << 16 | 70,))
    assert guest.ram.page(SIEFP_PAGE)[2 * 256 + 8] == 1 << 6
    assert guest.rung == [Sint(2)]


def test_a_flag_that_is_still_set_raises_no_second_interrupt(guest: Guest) -> None:
    guest.switch_on()
    for _ in range(2):
        guest.hear(ToPort.SIGNALS, signals=(2 << 16 | 70,))
    assert guest.rung == [Sint(2)]
    assert guest.port.counts.signals_merged == 1


def test_a_signal_is_answered_at_once_and_forwarded(guest: Guest) -> None:
    control = ControlWord(Code.SIGNAL_EVENT, fast=True).encode()
    assert guest.stop(Kind.HYPERCALL, control, 0x2007) == (Status.SUCCESS, False)
    assert guest.said == [[ToHost.CAST, control, 0x2007, 0]]


def test_a_message_waits_for_the_hosts_status(guest: Guest) -> None:
    control = ControlWord(Code.POST_MESSAGE).encode()
    assert guest.stop(Kind.HYPERCALL, control, 0x5000) == (Status.SUCCESS, False)
    assert guest.said == [[ToHost.HYPERCALL, control, 0x5000, 0]]


def test_a_panic_is_reported_in_the_kernels_words(guest: Guest) -> None:
    log = b"[    1.0] something\n[    2.0] Kernel panic - not syncing: sysrq\n[    2.1] CPU: 0\n"
    guest.ram.bytes[0x2000 : 0x2000 + len(log)] = log
    guest.stop(Kind.MSR_WRITE, Msr.CRASH_P3, 0x2000)
    guest.stop(Kind.MSR_WRITE, Msr.CRASH_P4, len(log))
    guest.stop(Kind.MSR_WRITE, Msr.CRASH_CTL, CRASH_NOTIFY | CRASH_MESSAGE)
    assert guest.said == [[ToHost.CRASH, "Kernel panic - not syncing: sysrq"]]


def test_a_triple_fault_ends_the_vm(guest: Guest) -> None:
    with pytest.raises(TripleFault, match="VP 1"):
        guest.stop(Kind.SHUTDOWN, 0xFFFF)
