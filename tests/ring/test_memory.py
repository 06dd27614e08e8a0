"""Guest RAM in one memfd: pages, ranges, rings mapped twice, and processes that share it."""

import gc
import os
from collections.abc import Iterator

import pytest

from protocol.errors import OperatorError
from protocol.ids import PAGE_SIZE, Pfn
from protocol.ram import BadPage, Ram
from protocol.shell.memory import GuestRam
from protocol.wire.gpadl import GpaRange


@pytest.fixture
def ram() -> Iterator[GuestRam]:
    ram = GuestRam.create(16 * PAGE_SIZE, "test-ram")
    yield ram
    ram.close()


def test_it_is_what_the_cores_call_ram(ram: GuestRam) -> None:
    as_cores_see_it: Ram = ram
    assert as_cores_see_it.pages == 16


def test_pages_bytes_and_words_are_the_same_memory(ram: GuestRam) -> None:
    ram.words[512] = 0x1122334455667788
    assert ram.page(1)[0] == ram.bytes[4096] == 0x88
    assert len(ram.page(15)) == PAGE_SIZE


@pytest.mark.parametrize("pfns", [[3, 4, 5], [5, 4, 3], [9, 1, 2, 7], [15, 0]])
def test_a_rings_data_pages_follow_each_other_twice_wherever_they_are(ram: GuestRam, pfns: list[int]) -> None:
    ring = ram.ring(pfns)
    assert ring.size == (len(pfns) - 1) * PAGE_SIZE
    assert len(ring.data) == 2 * ring.size
    ring.control[0] = 77
    assert ram.page(pfns[0])[0] == 77
    for number, pfn in enumerate(pfns[1:]):
        ram.page(pfn)[:4] = bytes([pfn]) * 4
        at = number * PAGE_SIZE
        assert (
            bytes(ring.data[at : at + 4]) == bytes(ring.data[at + ring.size : at + ring.size + 4]) == bytes([pfn]) * 4
        )
    ring.data[ring.size - 2 : ring.size + 2] = b"wrap"
    assert bytes(ram.page(pfns[-1])[-2:]) + bytes(ram.page(pfns[1])[:2]) == b"wrap"


@pytest.mark.parametrize("pfns", [[0, 16], [16, 0], [0, -1], [0, 2**52]])
def test_a_ring_of_pages_that_the_guest_does_not_have_is_refused(ram: GuestRam, pfns: list[int]) -> None:
    """To map beyond the end of the memfd works, and the first access kills the process (SIGBUS)."""
    with pytest.raises(BadPage, match="in a guest of 16 pages"):
        ram.ring(pfns)


@pytest.mark.parametrize("pfns", [[], [3]])
def test_a_ring_needs_a_control_page_and_a_data_page(ram: GuestRam, pfns: list[int]) -> None:
    with pytest.raises(BadPage, match="at least one data page"):
        ram.ring(pfns)


def test_a_page_that_the_guest_does_not_have_is_refused(ram: GuestRam) -> None:
    for pfn in (16, -1):
        with pytest.raises(BadPage):
            ram.page(pfn)


def gpa(count: int, offset: int, *pfns: int) -> GpaRange:
    return GpaRange(count, offset, tuple(Pfn(pfn) for pfn in pfns))


def test_a_range_is_one_view_for_each_run_of_adjacent_pages(ram: GuestRam) -> None:
    for pfn in range(16):
        ram.page(pfn)[:] = bytes([pfn]) * PAGE_SIZE
    views = ram.views(gpa(3 * PAGE_SIZE, 4090, 2, 3, 7, 8))
    assert [len(view) for view in views] == [6 + 4096, 4096 + 4090]
    assert b"".join(views) == bytes([2]) * 6 + bytes([3]) * 4096 + bytes([7]) * 4096 + bytes([8]) * 4090
    [view] = ram.views(gpa(10, 100, 2, 9))
    view[:] = b"0123456789"
    assert bytes(ram.page(2)[100:110]) == b"0123456789"


def test_a_range_that_its_pages_do_not_cover_is_refused(ram: GuestRam) -> None:
    for bad in (gpa(4097, 0, 1), gpa(10, 4090, 1), gpa(1, 4096, 1, 2), gpa(1, 0), gpa(8, 0, 16)):
        with pytest.raises(BadPage):
            ram.views(bad)
    assert ram.views(gpa(0, 0)) == []


def test_memory_of_half_a_page_is_the_operators_mistake() -> None:
    for size in (0, -4096, 4095, 6000):
        with pytest.raises(OperatorError, match="multiple of 4096"):
            GuestRam.create(size, "half")


def test_nobody_can_shrink_the_memory_under_the_others(ram: GuestRam) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(ram.fd, PAGE_SIZE)


def test_whoever_gets_the_descriptor_attaches_to_the_same_memory(ram: GuestRam) -> None:
    other = GuestRam.attach(ram.fd)
    assert other.pages == ram.pages
    ram.ring([4, 6, 5]).data[PAGE_SIZE] = 42
    assert other.page(5)[0] == 42
    other.close()
    ram.page(5)[0] = 43


def test_a_ring_mapped_before_the_fork_is_shared_with_the_child(ram: GuestRam) -> None:
    ring = ram.ring([8, 10, 9])
    child = os.fork()
    if not child:
        ring.control[0] = 8
        ring.data[ring.size] = 99
        ram.ring([1, 2]).control[3] = 7
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert ring.control[0] == 8
    assert ram.page(10)[0] == 99
    assert ram.words[513] >> 32 == 7


def test_views_outlive_the_memory_they_came_from() -> None:
    ram = GuestRam.create(4 * PAGE_SIZE, "short-lived")
    page, ring = ram.page(1), ram.ring([2, 3])
    ram.close()
    del ram
    gc.collect()
    page[0] = ring.data[4096] = 5
    assert page[0] == ring.data[0] == 5


def test_a_ring_nobody_uses_is_unmapped(ram: GuestRam) -> None:
    def mappings() -> int:
        with open("/proc/self/maps") as maps:
            return sum("test-ram" in line for line in maps)

    before = mappings()
    ring = ram.ring([0, 2, 4])
    assert mappings() > before
    del ring
    gc.collect()
    assert mappings() == before
