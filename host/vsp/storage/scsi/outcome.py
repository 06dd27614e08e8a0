"""How a command ended, in the three terms that a vmscsi request has for it: SCSI status, SRB status, sense."""

from collections.abc import Callable
from dataclasses import dataclass

from host.vsp.storage.scsi.sense import Sense
from protocol.wire.vstor import ScsiStatus, SrbStatus


@dataclass(frozen=True, slots=True)
class Outcome:
    """``transferred`` is in bytes. Sense goes out with the answer (autosense), so it is never kept for later."""

    scsi_status: ScsiStatus
    srb_status: SrbStatus
    transferred: int = 0
    sense: Sense | None = None


Done = Callable[[Outcome], None]
"""Called exactly once per command, perhaps before ``execute`` returns."""


class CheckCondition(Exception):
    """Ends the command that is being carried out; never leaves the disk."""

    def __init__(self, sense: Sense) -> None:
        super().__init__(sense)
        self.sense = sense


def good(transferred: int = 0) -> Outcome:
    """Done; a transfer shorter than the buffer is no error, the driver computes the residue."""
    return Outcome(ScsiStatus.GOOD, SrbStatus.SUCCESS, transferred)


def check_condition(sense: Sense) -> Outcome:
    """CHECK CONDITION with autosense.

    A malformed command gets SRB_STATUS_INVALID_REQUEST and anything else SRB_STATUS_ERROR, as OpenVMM does
    (``process_result`` in scsidisk). ``storvsc_handle_error`` lets the sense decide in both cases.
    """
    malformed = sense.key == 0x5 and sense.asc != 0x21
    srb_status = SrbStatus.INVALID_REQUEST if malformed else SrbStatus.ERROR
    return Outcome(ScsiStatus.CHECK_CONDITION, srb_status, 0, sense)


INVALID_LUN = Outcome(ScsiStatus.CHECK_CONDITION, SrbStatus.INVALID_LUN)
"""Nobody is at that address: DID_NO_CONNECT in ``storvsc_handle_error``, which also removes the LUN."""
