"""The synthetic keyboard of the guest (drivers/input/serio/hyperv-keyboard.c)."""
