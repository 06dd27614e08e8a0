"""MODE SENSE: write protection, FUA and the cache (SPC-3 6.9, 7.4; SBC-3 6.4.5)."""

from host.vsp.storage.scsi.cdb import Op, big
from host.vsp.storage.scsi.outcome import CheckCondition
from host.vsp.storage.scsi.sense import INVALID_FIELD_IN_CDB, SAVING_NOT_SUPPORTED

_WRITE_PROTECT = 0x80
_DPO_FUA = 0x10
_WRITE_CACHE_ENABLED = 0x04
_CACHING = 0x08
_ALL_PAGES = 0x3F
_CHANGEABLE, _SAVED = 1, 3


def mode_sense(cdb: bytes, *, read_only: bool) -> bytes:
    """MODE SENSE(6) or (10), cut to the allocation length; the only page is Caching.

    The cache is reported as on because a completed WRITE may still be in the image's page cache: without the bit
    Linux would never send a flush (``sd_read_cache_type``).
    """
    control, page, subpage = cdb[2] >> 6, cdb[2] & 0x3F, cdb[3]
    if control == _SAVED:
        raise CheckCondition(SAVING_NOT_SUPPORTED)
    if page not in (_CACHING, _ALL_PAGES) or subpage not in ((0x00, 0xFF) if page == _ALL_PAGES else (0x00,)):
        raise CheckCondition(INVALID_FIELD_IN_CDB)
    flags = 0 if control == _CHANGEABLE else _WRITE_CACHE_ENABLED
    caching = bytes((_CACHING, 10, flags)) + bytes(9)
    device = _DPO_FUA | (_WRITE_PROTECT if read_only else 0)
    if cdb[0] == Op.MODE_SENSE_6:
        header = bytes((3 + len(caching), 0, device, 0))
        return (header + caching)[: cdb[4]]
    header = (6 + len(caching)).to_bytes(2, "big") + bytes((0, device, 0, 0, 0, 0))
    return (header + caching)[: big(cdb, 7, 2)]
