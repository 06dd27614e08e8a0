"""The VMBus driver of the guest (drivers/hv), with and without an IRQ for each channel."""
