"""Dynamic memory: the host's end of the balloon."""
