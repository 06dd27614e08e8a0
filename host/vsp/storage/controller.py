"""The logical units of one SCSI controller, and what answers where none is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from host.vsp.storage.scsi.buffer import GuestBuffer
from host.vsp.storage.scsi.cdb import Op, big
from host.vsp.storage.scsi.disk import ScsiDisk, reply
from host.vsp.storage.scsi.inquiry import inquire_absent
from host.vsp.storage.scsi.outcome import INVALID_LUN, CheckCondition, Done, Outcome, check_condition


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where a logical unit is. Linux calls ``path`` the channel; storvsc scans paths 0..7 and targets 0..1."""

    path: int
    target: int
    lun: int


class ScsiController:
    """Finds the disk for a command.

    Linux scans all 16 pairs of path and target with INQUIRY and takes "LUN not present" for "the target answers",
    so it sends REPORT LUNS there too: both are answered for any address, as OpenVMM does (``execute_scsi`` in
    storvsp). Simplified: the guest is not told of a disk that comes or changes (no ENUMERATE_BUS).
    """

    def __init__(self, disks: Mapping[Address, ScsiDisk]) -> None:
        self._disks = dict(disks)

    def change(self, change: Callable[[ScsiDisk], ScsiDisk]) -> None:
        """Put another disk in the place of each."""
        for address, disk in self._disks.items():
            self.exchange(address, change(disk))

    def exchange(self, address: Address, disk: ScsiDisk) -> None:
        """Put another disk at an address; commands under way end on the old one."""
        self._disks[address] = disk

    def execute(self, address: Address, cdb: bytes, data: GuestBuffer, done: Done) -> None:
        """Carry out one command (``cdb``: 16 bytes) and call ``done`` once, now or later."""
        disk = self._disks.get(address)
        if disk is not None and cdb[0] != Op.REPORT_LUNS:
            disk.execute(cdb, data, done)
            return
        try:
            outcome = self._answer(address, cdb, data)
        except CheckCondition as check:
            outcome = check_condition(check.sense)
        done(outcome)

    def _answer(self, address: Address, cdb: bytes, data: GuestBuffer) -> Outcome:
        """What the target says itself, without a logical unit."""
        match cdb[0]:
            case Op.REPORT_LUNS:
                return reply(self._report_luns(address)[: big(cdb, 6, 4)], data)
            case Op.INQUIRY:
                return reply(inquire_absent(cdb), data)
            case _:
                return INVALID_LUN

    def _report_luns(self, asked: Address) -> bytes:
        """The logical units of one path and target, ascending; none is an answer too."""
        luns = sorted(disk.lun for disk in self._disks if (disk.path, disk.target) == (asked.path, asked.target))
        entries = b"".join(lun.to_bytes(2, "big").ljust(8, b"\0") for lun in luns)
        return len(entries).to_bytes(4, "big") + bytes(4) + entries
