"""What the VMBus shows in /sys (drivers/hv/vmbus_drv.c), rendered from kernel memory and guest RAM.

Not there: ``driver_override``, ``power``, what depends on monitor pages (no offer has one), and writing ``uevent``.
"""
