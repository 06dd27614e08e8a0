"""Kernel memory: structures that every CPU finds at the same place; and the pages of guest RAM."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest.kernel.memory import Array, Bytes, KernelMemory, Struct, Text, Word
from guest.kernel.pages import OutOfPages
from protocol.ids import Pfn
from tests.kernel.machine import WORDS, Machine


class Base(Struct):
    first = Word("test")
    name = Text(16, "test")


class Derived(Base):
    array = Array(3, "test")
    raw = Bytes(8, "test")
    last = Word("test")


def new_words() -> memoryview:
    return memoryview(bytearray(WORDS * 8)).cast("Q")


def test_fields_lie_one_after_the_other_the_bases_first() -> None:
    assert {name: field.offset for name, field in Derived.fields.items()} == {
        "first": 0,
        "name": 1,
        "array": 3,
        "raw": 6,
        "last": 7,
    }
    assert (Base.size, Derived.size) == (3, 8)


def test_two_cpus_that_build_the_same_kernel_share_its_tables() -> None:
    words = new_words()
    one, other = (KernelMemory(words) for _ in range(2))
    for memory in (one, other):
        memory.table(Base, 5)
    mine, theirs = one.table(Derived, 4), other.table(Derived, 4)
    mine[3].last, mine[3].name, mine[3].raw = 7, "name", b"raw"
    mine[3].array[1] = 9
    assert (theirs[3].last, theirs[3].name, theirs[3].raw) == (7, "name", b"raw".ljust(8, b"\0"))
    assert list(theirs[3].array) == [0, 9, 0] and theirs[2].last == 0
    assert KernelMemory(words).find(Derived)[3].last == 7
    with pytest.raises(LookupError):
        KernelMemory(new_words()).find(Base)


def test_a_segment_that_is_too_small_says_for_what() -> None:
    with pytest.raises(MemoryError, match="Derived"):
        KernelMemory(new_words()).table(Derived, WORDS)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_text_that_is_too_long_is_cut_and_stays_text(text: str) -> None:
    at = KernelMemory(new_words()).one(Base)
    at.name = text
    assert text.startswith(at.name)
    assert at.name == text or len(at.name.encode()) > 15 - 4
    assert at.first == 0


class Pages:
    """Two CPUs that allocate and free; the owner of each frame as it must be."""

    def __init__(self) -> None:
        self.allocators = [core.pages for core in Machine(2).cores]
        self.runs: list[tuple[Pfn, int]] = []
        self.all = self.allocators[0].free_pages()

    def taken(self) -> list[int]:
        return [first + n for first, count in self.runs for n in range(count)]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1), st.integers(1, 200), st.integers(0, 99)), max_size=60))
def test_runs_never_overlap_lie_in_memory_and_come_back_whoever_frees_them(
    steps: list[tuple[bool, int, int, int]],
) -> None:
    pages = Pages()
    for free, cpu, count, which in steps:
        allocator = pages.allocators[cpu]
        if free and pages.runs:
            allocator.free(*pages.runs.pop(which % len(pages.runs)))
        elif not free:
            try:
                pages.runs.append((allocator.allocate(count), count))
            except OutOfPages:
                continue
        taken = pages.taken()
        assert len(taken) == len(set(taken)) == pages.all - allocator.free_pages()
        assert all(0 < pfn < 1024 for pfn in taken)
    for first, count in pages.runs:
        pages.allocators[0].free(first, count)
    assert pages.allocators[1].free_pages() == pages.all
    assert pages.allocators[1].allocate(pages.all // 2) > 0, "whole again"


def test_a_cpu_takes_from_its_own_pool_while_it_can() -> None:
    one, other = Pages().allocators
    assert (one.allocate(), other.allocate()) == (1, 512)
    assert (one.allocate(510), other.allocate(510)) == (2, 513)
    with pytest.raises(OutOfPages):
        one.allocate()
    one.free(Pfn(600))
    assert one.allocate() == 600, "the other CPU's"


def test_a_run_that_no_pool_has_is_out_of_pages_though_enough_are_free() -> None:
    pages = Pages()
    with pytest.raises(OutOfPages, match="no 512 contiguous pages"):
        pages.allocators[0].allocate(512)
    assert pages.allocators[0].allocate(511)


@pytest.mark.parametrize(("first", "count"), [(5, 1), (0, 1), (1023, 1), (2000, 1), (1, 3), (1, 0)])
def test_freeing_what_was_not_allocated_is_a_bug(first: int, count: int) -> None:
    pages = Pages()
    assert pages.allocators[0].allocate(2) == 1
    with pytest.raises(AssertionError):
        pages.allocators[0].free(Pfn(first), count)


def test_no_pages_are_not_a_run() -> None:
    with pytest.raises(AssertionError):
        Pages().allocators[0].allocate(0)
