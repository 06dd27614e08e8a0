"""A direct-access SCSI disk (SPC-3, SBC-3) that knows nothing of VMBus: a CDB and guest pages in, an outcome out."""
