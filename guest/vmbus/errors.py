"""What a VMBus function returns as a negative errno."""


class VmbusError(OSError):
    """``errno`` is Linux's for the same failure: EAGAIN if the host refused an open, ENODEV after a rescind."""
