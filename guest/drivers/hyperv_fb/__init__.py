"""Synthetic video of the guest (drivers/video/fbdev/hyperv_fb.c)."""
