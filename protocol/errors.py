"""The two families of errors, the peer broke the protocol or the operator made a mistake, and what they exit with."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the commands return; the table in README.md."""

    SUCCESS = 0
    CHECK_FAILED = 1  # a verification of the run is red
    OPERATOR = 2  # wrong arguments, an image that does not exist
    PROCESS_DIED = 3  # a worker or the host ended without being asked
    SUPERVISOR_DIED = 4
    PEER = 5  # somebody broke the protocol on the socket
    STRANDED = 6  # a lost interrupt: a channel has data and nobody will look
    DEVICE = 7  # a device failed, as a disk image that shrinks, or a driver or device from outside the tree
    BUG = 70  # an exception that nobody expected
    INTERRUPTED = 130  # Ctrl-C
    TERMINATED = 143  # SIGTERM


class PeerError(Exception):
    """The other side sent something that the protocol forbids. Never the fault of the code that raises it."""


class OperatorError(Exception):
    """A mistake of the person at the keyboard or of a driver's author: one line that says what to do."""

    exit_code = ExitCode.OPERATOR
