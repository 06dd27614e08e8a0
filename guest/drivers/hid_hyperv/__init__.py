"""The synthetic mouse of the guest (drivers/hid/hid-hyperv.c)."""
