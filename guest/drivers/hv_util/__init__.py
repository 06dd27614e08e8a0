"""Integration services of the guest: heartbeat, time synchronisation, shutdown (drivers/hv/hv_util.c)."""
