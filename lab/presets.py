"""VMs that come with the laboratory."""

from host.machine import DeviceSpec

SMALL = (
    DeviceSpec("heartbeat", "heartbeat", 7),
    DeviceSpec("shutdown", "shutdown", 9),
    DeviceSpec("timesync", "timesync", 10),
    DeviceSpec("unsupported", "avma", 12),
    DeviceSpec("storvsc", "storvsc", 14),
)
"""The least that does something: three services, a device that Linux does not want, and a SCSI controller."""
