"""Finding the logical units of a controller, as Linux does (drivers/scsi/scsi_scan.c).

INQUIRY to LUN 0 of every target, then REPORT LUNS to each target that answered, then INQUIRY to the other LUNs. A
qualifier of 3 means "the target answers, no unit here": such a target is still asked for its list.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from guest.drivers.scsi import command
from guest.drivers.scsi.command import ScsiAddress, ScsiCommand
from guest.drivers.scsi.result import Disposition, ScsiResult
from protocol.ids import PAGE_SIZE, Pfn

Execute = Callable[[ScsiAddress, ScsiCommand, bool], Awaitable[ScsiResult]]
"""A command to a unit, and whether the unit is known to queue commands (``tagged_supported``)."""

FIRST_INQUIRY: Final = 36
REPORT_LUNS_SIZE: Final = 4096
"""Room for 511 units, as ``scsi_report_lun_scan`` asks first."""
VPD_HEADER_SIZE: Final = 4
VPD_LIST_SIZE: Final = 36
"""Room for the list of pages (``SCSI_VPD_LIST_SIZE``)."""
VPD_PAGES: Final = frozenset({0x00, 0x80, 0x83, 0x89, 0xB0, 0xB1, 0xB2})
"""Kept if page 0 lists them (``scsi_attach_vpd``)."""
SCSI_2: Final = 2
COMMAND_QUEUEING: Final = 0x02
"""CMDQUE, in byte 7 of INQUIRY data."""
TRIES: Final = 3
TYPE_DISK: Final = 0
"""Peripheral device type of a direct-access block device."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A logical unit that is there: its standard INQUIRY data and its pages of vital product data by number."""

    address: ScsiAddress
    inquiry: bytes
    vpd: dict[int, bytes] = field(default_factory=dict)

    @property
    def device_type(self) -> int:
        return self.inquiry[0] & 0x1F

    @property
    def tagged_supported(self) -> bool:
        """``scsi_add_lun``: it queues commands, and has done so since SCSI-2."""
        return self.inquiry[2] & 7 >= SCSI_2 and bool(self.inquiry[7] & COMMAND_QUEUEING)


class Scanner:
    """One scan, and the questions that sd asks about what it found.

    ``buffer`` is a page for what the device returns, ``page`` its bytes. The units ``known`` from an earlier scan are
    passed over.
    """

    def __init__(self, execute: Execute, buffer: Pfn, page: memoryview, known: Collection[ScsiAddress] = ()) -> None:
        self._execute = execute
        self._known = known
        self._tagged: set[ScsiAddress] = set()
        self.buffer = buffer
        self._page = page

    async def execute(self, address: ScsiAddress, request: ScsiCommand) -> ScsiResult:
        """One command to what may be a unit."""
        return await self._execute(address, request, address in self._tagged)

    async def scan_host(self, channels: int, targets: int, max_lun: int) -> list[Unit]:
        """``scsi_scan_host``: every unit on channels 0.. and targets 0.., in the order in which Linux finds them."""
        units: list[Unit] = []
        for channel in range(channels):
            for target in range(targets):
                units += await self._scan_target(channel, target, max_lun)
        return units

    async def _scan_target(self, channel: int, target: int, max_lun: int) -> list[Unit]:
        units: list[Unit] = []
        zero = ScsiAddress(channel, target, 0)
        if zero not in self._known:
            standard = await self._inquire(zero)
            if standard is None:
                return units
            if _is_unit(standard):
                units.append(await self._attach(zero, standard))
        for lun in await self._report_luns(zero):
            address = ScsiAddress(channel, target, lun)
            if not 0 < lun <= max_lun or address in self._known:
                continue
            standard = await self._inquire(address)
            if standard is not None and _is_unit(standard):
                units.append(await self._attach(address, standard))
        return units

    async def _inquire(self, address: ScsiAddress) -> bytes | None:
        """``scsi_probe_lun``: 36 bytes, then all that there are. None: nothing answers."""
        data = await self.data(address, command.inquiry(self.buffer, FIRST_INQUIRY))
        if data is None or len(data) < 5:
            return None
        length = data[4] + 5
        if length > FIRST_INQUIRY:
            data = await self.data(address, command.inquiry(self.buffer, length)) or data
        return data

    async def _report_luns(self, address: ScsiAddress) -> list[int]:
        """Simplified: where the list cannot be had, Linux tries one LUN after the other."""
        data = await self.data(address, command.report_luns(self.buffer, REPORT_LUNS_SIZE))
        if data is None or len(data) < 8:
            return []
        end = min(len(data), 8 + int.from_bytes(data[:4], "big"))
        return [int.from_bytes(data[at : at + 2], "big") & 0x3FFF for at in range(8, end - 7, 8)]

    async def _attach(self, address: ScsiAddress, standard: bytes) -> Unit:
        """``scsi_add_lun``: what can be known of a unit before its driver looks at it."""
        unit = Unit(address, standard)
        if unit.tagged_supported:
            self._tagged.add(address)
        for page in (await self._vpd(address, 0))[VPD_HEADER_SIZE:]:
            if page in VPD_PAGES and (data := await self._vpd(address, page)):
                unit.vpd[page] = data
        return unit

    async def _vpd(self, address: ScsiAddress, page: int) -> bytes:
        """``scsi_get_vpd_buf``: asked for only if page 0 lists it, first how long it is, then all of it.

        Empty: it is not there.
        """
        if page and page not in (await self._vpd_inquiry(address, 0, VPD_LIST_SIZE))[VPD_HEADER_SIZE:]:
            return b""
        header = await self._vpd_inquiry(address, page, VPD_HEADER_SIZE)
        return await self._vpd_inquiry(address, page, _vpd_length(header)) if header else b""

    async def _vpd_inquiry(self, address: ScsiAddress, page: int, length: int) -> bytes:
        """``scsi_vpd_inquiry``. An answer of another page is none: storvsc hides errors of INQUIRY."""
        data = await self.data(address, command.inquiry(self.buffer, length, page))
        if data is None or len(data) < VPD_HEADER_SIZE or data[1] != page:
            return b""
        return data[: _vpd_length(data)]

    async def data(self, address: ScsiAddress, request: ScsiCommand) -> bytes | None:
        """What the device returns; None if it fails for good (a unit attention is worth another try)."""
        for _ in range(TRIES):
            # An old answer must not be taken for a new one that the device claims to have moved.
            self._page[: request.length] = bytes(request.length)
            result = await self.execute(address, request)
            if result.disposition is Disposition.SUCCESS:
                return bytes(self._page[: min(result.transferred, request.length)])
            if result.disposition is Disposition.FAIL:
                return None
        return None


def _vpd_length(page: bytes) -> int:
    """What a page of vital product data says of its own length, at most what the buffer holds."""
    return min(VPD_HEADER_SIZE + int.from_bytes(page[2:4], "big"), PAGE_SIZE)


def _is_unit(standard: bytes) -> bool:
    """Peripheral qualifier 0: connected. Other qualifiers mean that the address could have a unit but has none."""
    return standard[0] >> 5 == 0
