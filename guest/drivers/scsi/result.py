"""What became of a command, and what the mid layer does about it (``scsi_decide_disposition``)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Self

from protocol.wire.vstor import ScsiStatus


class HostByte(IntEnum):
    """``DID_*``: what the controller's driver has to say, before the device is believed."""

    OK = 0x00
    NO_CONNECT = 0x01
    ERROR = 0x07
    REQUEUE = 0x0D


class SenseKey(IntEnum):
    """SPC-3, table 27."""

    NO_SENSE = 0
    RECOVERED_ERROR = 1
    NOT_READY = 2
    MEDIUM_ERROR = 3
    HARDWARE_ERROR = 4
    ILLEGAL_REQUEST = 5
    UNIT_ATTENTION = 6
    DATA_PROTECT = 7
    ABORTED_COMMAND = 11


_KEY_NAMES = {key.value: key.name for key in SenseKey}


@dataclass(frozen=True, slots=True)
class Sense:
    """Sense key, additional sense code and its qualifier."""

    key: int
    asc: int
    ascq: int

    @classmethod
    def decode(cls, data: bytes) -> Self | None:
        """From fixed-format sense data; None if it is too short or of another format (``scsi_normalize_sense``)."""
        if len(data) < 14 or data[0] & 0x7E != 0x70:
            return None
        return cls(data[2] & 0xF, data[12], data[13])

    def __str__(self) -> str:
        return f"{self.key:x}/{self.asc:02x}/{self.ascq:02x} ({_KEY_NAMES.get(self.key, 'reserved')})"


class Disposition(Enum):
    """What follows from a result."""

    SUCCESS = auto()
    RETRY = auto()
    RETRY_LATER = auto()
    """The device is busy."""
    FAIL = auto()


_NO_RETRY_MEDIUM = frozenset({0x11, 0x13, 0x14})
"""Unrecovered read error, and sectors whose marks are not found: reading again does not help."""


@dataclass(frozen=True, slots=True)
class ScsiResult:
    """One answer. ``transferred`` is the number of bytes moved, ``srb_status`` what the host's port driver said."""

    scsi_status: int
    srb_status: int
    transferred: int = 0
    sense: Sense | None = None
    host: HostByte = HostByte.OK

    @property
    def disposition(self) -> Disposition:
        """Simplified: a busy device is asked again as often as one that fails, not until a time-out."""
        match self.host:
            case HostByte.NO_CONNECT:
                return Disposition.FAIL
            case HostByte.ERROR | HostByte.REQUEUE:
                return Disposition.RETRY
        match self.scsi_status:
            case ScsiStatus.GOOD:
                return Disposition.SUCCESS
            case ScsiStatus.CHECK_CONDITION:
                return self._check_sense()
            case ScsiStatus.BUSY | ScsiStatus.TASK_SET_FULL:
                return Disposition.RETRY_LATER
            case _:
                return Disposition.FAIL

    def _check_sense(self) -> Disposition:
        if self.sense is None:
            return Disposition.FAIL
        match self.sense.key:
            case SenseKey.NO_SENSE | SenseKey.UNIT_ATTENTION | SenseKey.ABORTED_COMMAND:
                return Disposition.RETRY
            case SenseKey.RECOVERED_ERROR:
                return Disposition.SUCCESS
            case SenseKey.MEDIUM_ERROR if self.sense.asc not in _NO_RETRY_MEDIUM:
                return Disposition.RETRY
            case _:
                return Disposition.FAIL

    def __str__(self) -> str:
        sense = f", sense {self.sense}" if self.sense else ", no sense"
        host = f", {self.host.name}" if self.host else ""
        return f"scsi status {self.scsi_status:#04x}, srb status {self.srb_status:#04x}{sense}{host}"
