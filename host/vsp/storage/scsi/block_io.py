"""READ, WRITE and SYNCHRONIZE CACHE on a back end, and what its failures are called in SCSI."""

from collections.abc import Callable
from errno import ENOSPC

from host.vsp.storage.backend import BlockBackend
from host.vsp.storage.scsi.buffer import GuestBuffer
from host.vsp.storage.scsi.cdb import BlockRange
from host.vsp.storage.scsi.outcome import CheckCondition, Done, check_condition, good
from host.vsp.storage.scsi.sense import (
    INVALID_FIELD_IN_CDB,
    LBA_OUT_OF_RANGE,
    SPACE_ALLOCATION_FAILED,
    UNRECOVERED_READ_ERROR,
    WRITE_ERROR,
    WRITE_PROTECTED,
)
from protocol.errors import OperatorError


class BlockIo:
    """Moves blocks between guest pages and the back end without a copy.

    All checks are made before the back end hears of the command: the range in 64-bit arithmetic against the
    capacity, the byte count against the guest's buffer. A CheckCondition is raised by the call, everything later
    comes through ``done``.
    """

    def __init__(self, backend: BlockBackend, block_size: int, complain: Callable[[OperatorError], None]) -> None:
        self._backend = backend
        self._block_size = block_size
        self._complain = complain

    @property
    def blocks(self) -> int:
        """Capacity now; a tail shorter than a block is out of reach."""
        return self._backend.size // self._block_size

    def check(self, blocks: BlockRange) -> None:
        """Refuse what lies beyond the end. A range of no blocks may begin there."""
        if blocks.lba + blocks.count > self.blocks:
            raise CheckCondition(LBA_OUT_OF_RANGE)

    def read(self, blocks: BlockRange, data: GuestBuffer, done: Done) -> None:
        """READ. FUA is satisfied by any read, since reader and writer share the image's cache."""
        self.check(blocks)
        views = self._views(blocks, data, to_guest=True)
        wanted = blocks.count * self._block_size

        def finish(moved: int | OSError) -> None:
            if moved == wanted:
                done(good(wanted))
                return
            if not isinstance(moved, OSError):
                self._complain(
                    OperatorError(
                        f"a disk image ends {wanted - moved} bytes before the end of a read at byte "
                        f"{blocks.lba * self._block_size}: do not shrink it while it is attached"
                    )
                )
            done(check_condition(UNRECOVERED_READ_ERROR))

        self._backend.read(blocks.lba * self._block_size, views, finish)

    def write(self, blocks: BlockRange, data: GuestBuffer, done: Done, *, fua: bool) -> None:
        """WRITE; with ``fua`` the answer waits for a flush."""
        if self._backend.read_only:
            raise CheckCondition(WRITE_PROTECTED)
        self.check(blocks)
        views = self._views(blocks, data, to_guest=False)
        wanted = blocks.count * self._block_size

        def finish(moved: int | OSError) -> None:
            if moved != wanted:
                full = isinstance(moved, OSError) and moved.errno == ENOSPC
                done(check_condition(SPACE_ALLOCATION_FAILED if full else WRITE_ERROR))
            elif fua:
                self._flush(wanted, done)
            else:
                done(good(wanted))

        self._backend.write(blocks.lba * self._block_size, views, finish)

    def flush(self, done: Done) -> None:
        """SYNCHRONIZE CACHE: always the whole disk, which a range does not forbid."""
        self._flush(0, done)

    def _flush(self, transferred: int, done: Done) -> None:
        def finish(result: int | OSError) -> None:
            failed = isinstance(result, OSError)
            done(check_condition(WRITE_ERROR) if failed else good(transferred))

        self._backend.flush(finish)

    def _views(self, blocks: BlockRange, data: GuestBuffer, *, to_guest: bool) -> list[memoryview]:
        count = blocks.count * self._block_size
        if count > data.length or (count and data.to_guest != to_guest):
            raise CheckCondition(INVALID_FIELD_IN_CDB)
        return data.first(count)
