"""Dynamic memory of the guest (drivers/hv/hv_balloon.c)."""
