"""The logical units of one SCSI controller, and what answers where none is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from host.vsp.storage.scsi.buffer import GuestBuffer
from host.vsp.storage.scsi.cdb import Op, big
from host.vsp.storage.scsi.disk import ScsiDisk, reply
from host.vsp.storage.scsi.inquiry import inquire_absent
from host.vsp.storage.scsi.outcome import INVALID_LUN, CheckCondition, Done, Outcome, check_condition
from host.vsp.storage.tally import Tally
from protocol.errors import OperatorError
from protocol.wire.vstor import Operation

Notice = Callable[[Operation], None]
"""Receives what the guest is to be told of the bus: ENUMERATE_BUS or REMOVE_DEVICE."""


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where a logical unit is. Linux calls ``path`` the channel; storvsc scans paths 0..7 and targets 0..1."""

    path: int
    target: int
    lun: int

    def __str__(self) -> str:
        return f"{self.path}:{self.target}:{self.lun}"


class ScsiController:
    """Finds the disk for a command.

    Linux scans all 16 pairs of path and target with INQUIRY and takes "LUN not present" for "the target answers",
    so it sends REPORT LUNS there too: both are answered for any address, as OpenVMM does (``execute_scsi`` in
    storvsp). ``notice`` hears of units that come and go.
    """

    def __init__(self, disks: Mapping[Address, ScsiDisk]) -> None:
        self._disks = dict(disks)
        self.notice: Notice = lambda operation: None
        self.tally = Tally()

    def attach(self, address: Address, disk: Callable[[], ScsiDisk]) -> None:
        """Plug in the disk that ``disk`` makes. Raises OperatorError if there is one, and what making it raises."""
        if address in self._disks:
            raise OperatorError(f"there is a disk at {address}: choose another address, or take it away first")
        self._disks[address] = disk()
        self.notice(Operation.ENUMERATE_BUS)

    def detach(self, address: Address) -> None:
        """Pull a disk out; commands under way end on it. Raises OperatorError if there is none."""
        self._present(address)
        del self._disks[address]
        self.notice(Operation.REMOVE_DEVICE)

    def change(self, change: Callable[[ScsiDisk], ScsiDisk]) -> None:
        """Put another disk in the place of each."""
        for address, disk in self._disks.items():
            self.exchange(address, change(disk))

    def exchange(self, address: Address, disk: ScsiDisk) -> None:
        """Put another disk where one is, behind the guest's back. Raises OperatorError if there is none."""
        self._present(address)
        self._disks[address] = disk

    def _present(self, address: Address) -> None:
        if address not in self._disks:
            known = ", ".join(map(str, sorted(self._disks))) or "none"
            raise OperatorError(f"there is no disk at {address}: choose one of those attached ({known})")

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
