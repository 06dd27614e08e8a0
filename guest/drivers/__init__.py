"""VMBus drivers. They use guest.vmbus and never see which interrupt design is on."""
