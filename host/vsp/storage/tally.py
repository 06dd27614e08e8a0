"""What a controller has counted."""

from dataclasses import dataclass

from protocol.wire.vstor import DataIn, SrbStatus, VmscsiRequest


@dataclass(slots=True)
class Tally:
    """SCSI requests on all channels, over all opens; bytes are those that disks have moved."""

    requests: int = 0
    completions: int = 0
    failures: int = 0
    """Completions whose SRB status is not success."""
    bytes_read: int = 0
    bytes_written: int = 0

    def complete(self, request: VmscsiRequest, srb_status: int, moved: int) -> None:
        """One request has been answered."""
        self.completions += 1
        self.failures += srb_status != SrbStatus.SUCCESS
        if request.data_in == DataIn.READ:
            self.bytes_read += moved
        elif request.data_in == DataIn.WRITE:
            self.bytes_written += moved
