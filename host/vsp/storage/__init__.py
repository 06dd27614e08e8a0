"""storvsp: the host's synthetic SCSI controller, from ring packet to block back end."""
