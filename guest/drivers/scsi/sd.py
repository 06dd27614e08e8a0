"""sd: the disk driver. What a found unit is like (``sd_revalidate_disk``), and requests as READ, WRITE and FLUSH."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from guest.block.disk import BlockError, Disk, DiskGone
from guest.drivers.scsi import command
from guest.drivers.scsi.command import ScsiCommand
from guest.drivers.scsi.result import Disposition, HostByte, ScsiResult
from guest.drivers.scsi.scan import Scanner, Unit
from guest.kernel.core import Core
from protocol.ids import PAGE_SIZE, Pfn

ExecuteOn = Callable[[Disk, ScsiCommand], Awaitable[ScsiResult]]

SD_MAX_RETRIES: Final = 5
SPINUP_TRIES: Final = 3
BUSY_DELAY: Final = 0.003
"""Seconds, ``SCSI_QUEUE_DELAY``."""
SPC_3: Final = 5
ALL_PAGES: Final = 0x3F
CACHING_PAGE: Final = 0x08
WRITE_PROTECT: Final = 0x80
WRITE_CACHE_ENABLED: Final = 0x04


class Sd:
    """One CPU's disk driver for all disks; ``execute`` carries a command to a disk's controller."""

    def __init__(self, core: Core, execute: ExecuteOn) -> None:
        self._core = core
        self._execute = execute

    async def transfer(self, disk: Disk, lba: int, blocks: int, first: Pfn, write: bool) -> None:
        """READ or WRITE(10), or (16) beyond 2**32 blocks."""
        words = disk.words
        length = blocks * words.block_size
        what = f"{'write' if write else 'read'} of {blocks} blocks at LBA {lba}"
        if disk.live and (blocks <= 0 or lba < 0 or lba + blocks > words.blocks or length > words.max_transfer):
            raise BlockError(
                f"{disk.name}: {what}: it has {words.blocks} blocks, a request moves {words.max_transfer} bytes"
            )
        await self._carry_out(disk, command.transfer(lba, blocks, length, first, write), what)

    async def flush(self, disk: Disk) -> None:
        """SYNCHRONIZE CACHE, if there is a cache that may lose something."""
        if disk.words.write_cache:
            await self._carry_out(disk, command.synchronize_cache(), "flush")

    async def _carry_out(self, disk: Disk, request: ScsiCommand, what: str) -> None:
        """Send it until it succeeds, fails for good or has been tried ``SD_MAX_RETRIES`` times more."""
        for _ in range(1 + SD_MAX_RETRIES):
            if not disk.live:
                raise DiskGone(f"{disk.name}: {what} failed: the disk is gone")
            result = await self._execute(disk, request)
            match result.disposition:
                case Disposition.SUCCESS if result.transferred == request.length:
                    return
                case Disposition.SUCCESS:
                    raise BlockError(f"{disk.name}: {what} moved {result.transferred} of {request.length} bytes")
                case Disposition.FAIL:
                    break
                case Disposition.RETRY_LATER:
                    await self._core.sleep(BUSY_DELAY)
        failure = DiskGone if result.host is HostByte.NO_CONNECT else BlockError
        raise failure(f"{disk.name}: {what} failed: {result}")

    async def probe(self, disk: Disk, unit: Unit, ask: Scanner, max_transfer: int) -> bool:
        """``sd_probe``: find out size, write protection and cache, and fill in the disk. False: it has no capacity.

        ``max_transfer`` is the controller's limit in bytes. The caller adds the disk.
        """
        for _ in range(SPINUP_TRIES):
            ready = await ask.execute(unit.address, command.test_unit_ready())
            if ready.disposition is Disposition.SUCCESS:
                break
        capacity = await _capacity(ask, unit)
        if capacity is None:
            return False
        words = disk.words
        words.blocks, words.block_size = capacity
        words.tagged_supported = int(unit.tagged_supported)
        words.channel, words.target, words.lun = unit.address.channel, unit.address.target, unit.address.lun
        header = await ask.data(unit.address, command.mode_sense(ask.buffer, ALL_PAGES, 4)) or bytes(4)
        words.read_only = int(len(header) > 2 and bool(header[2] & WRITE_PROTECT))
        words.write_cache = int(await _write_cache(ask, unit))
        words.max_transfer = _limit(unit, max_transfer, words.block_size)
        words.vendor = unit.inquiry[8:16].decode("ascii", "replace").strip()
        words.model = unit.inquiry[16:32].decode("ascii", "replace").strip()
        words.serial = unit.vpd.get(0x80, b"")[4:].decode("ascii", "replace").strip()
        return True


async def _capacity(ask: Scanner, unit: Unit) -> tuple[int, int] | None:
    """Blocks and block size: (16) first from SPC-3 on, else (10), which says 2**32 - 1 if it cannot say."""
    long, short = command.read_capacity_16(ask.buffer), command.read_capacity_10(ask.buffer)
    for request in (long, short) if unit.inquiry[2] >= SPC_3 else (short, long):
        half = 8 if request is long else 4
        data = await ask.data(unit.address, request) or b""
        last, size = int.from_bytes(data[:half], "big"), int.from_bytes(data[half : half + 4], "big")
        if len(data) < half + 4 or (request is short and last == 0xFFFF_FFFF):
            continue
        if size < 512 or size > PAGE_SIZE or size & (size - 1):
            return None
        return last + 1, size
    return None


async def _write_cache(ask: Scanner, unit: Unit) -> bool:
    """Bit WCE of the caching page, behind the header and its block descriptors: first how long, then all of it."""
    header = await ask.data(unit.address, command.mode_sense(ask.buffer, CACHING_PAGE, 4)) or b""
    if len(header) < 4:
        return False
    data = await ask.data(unit.address, command.mode_sense(ask.buffer, CACHING_PAGE, min(255, header[0] + 1))) or b""
    page = data[4 + header[3] :]
    return len(page) > 2 and page[0] & 0x3F == CACHING_PAGE and bool(page[2] & WRITE_CACHE_ENABLED)


def _limit(unit: Unit, max_transfer: int, block_size: int) -> int:
    """The controller's limit, made smaller by the block limits page (B0), in whole blocks."""
    blocks = max_transfer // block_size
    own = int.from_bytes(unit.vpd.get(0xB0, b"")[8:12], "big")
    return (min(blocks, own) if own else blocks) * block_size
