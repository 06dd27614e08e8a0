"""Integration services of the guest: heartbeat, time, shutdown, key-value pairs, backup (drivers/hv/hv_util.c)."""
