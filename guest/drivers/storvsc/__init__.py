"""storvsc: the guest's SCSI controller on a VMBus channel (drivers/scsi/storvsc_drv.c)."""
