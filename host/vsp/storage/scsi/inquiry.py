"""INQUIRY: who a disk is (SPC-3 6.4 and 7.6), in the words of a Hyper-V virtual disk."""

from uuid import UUID

from host.vsp.storage.scsi.cdb import big
from host.vsp.storage.scsi.outcome import CheckCondition
from host.vsp.storage.scsi.sense import INVALID_FIELD_IN_CDB

_VENDOR = b"Msft    "
_PRODUCT = b"Virtual Disk    "
_REVISION = b"1.0 "
_STANDARD_LENGTH = 96

DISK = 0x00
ABSENT = 0x7F
"""Qualifier 3, type 1F: the target is able to have this logical unit and has none."""


def inquire(cdb: bytes, identity: UUID) -> bytes:
    """The answer of a disk, cut to the allocation length. Raises CheckCondition for an unknown page."""
    page, vital, allocation = _asked(cdb)
    return (vital_product_data(page, identity) if vital else standard(DISK))[:allocation]


def inquire_absent(cdb: bytes) -> bytes:
    """The answer where no disk is.

    Good status and a peripheral qualifier, never an error: ``storvsc_on_io_completion`` turns every failed INQUIRY
    into a success, so that Linux would take whatever is in its buffer for a disk. Vital product data are refused.
    """
    _page, vital, allocation = _asked(cdb)
    if vital:
        raise CheckCondition(INVALID_FIELD_IN_CDB)
    return standard(ABSENT)[:allocation]


def _asked(cdb: bytes) -> tuple[int, bool, int]:
    """Page, EVPD, allocation length."""
    page, vital = cdb[2], bool(cdb[1] & 0x01)
    if cdb[1] & 0xFE or (page and not vital):
        raise CheckCondition(INVALID_FIELD_IN_CDB)
    return page, vital, big(cdb, 3, 2)


def standard(peripheral: int) -> bytes:
    """Standard INQUIRY data, 96 bytes: SPC-3, response format 2, command queueing."""
    head = bytes((peripheral, 0, 0x05, 0x02, _STANDARD_LENGTH - 5, 0, 0, 0x02))
    return (head + _VENDOR + _PRODUCT + _REVISION).ljust(_STANDARD_LENGTH, b"\0")


def vital_product_data(page: int, identity: UUID) -> bytes:
    """One VPD page. B0, B1 and B2 are not there because UNMAP and WRITE SAME are not."""
    match page:
        case 0x00:
            body = bytes((0x00, 0x80, 0x83))
        case 0x80:
            body = identity.hex.encode("ascii")
        case 0x83:
            body = _designators(identity)
        case _:
            raise CheckCondition(INVALID_FIELD_IN_CDB)
    return bytes((DISK, page)) + len(body).to_bytes(2, "big") + body


def _designators(identity: UUID) -> bytes:
    """T10 vendor designator with the whole GUID, and an NAA name (from which udev makes the wwn link).

    NAA 6 with Microsoft's OUI 00-22-48; its 12 own bytes are the first and last six of the GUID, the most random
    ones of a version 4 UUID (``handle_vpd_device_identifiers`` in OpenVMM).
    """
    guid = identity.bytes_le
    vendor = _VENDOR + guid
    name = bytes((0x60, 0x02, 0x24, 0x80)) + guid[:6] + guid[10:]
    return bytes((0x01, 0x01, 0, len(vendor))) + vendor + bytes((0x01, 0x03, 0, len(name))) + name
