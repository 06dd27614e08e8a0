"""The two families of errors: the peer broke the protocol, or the operator made a mistake."""


class PeerError(Exception):
    """The other side sent something that the protocol forbids. Never the fault of the code that raises it."""


class OperatorError(Exception):
    """A mistake of the person at the keyboard or of a driver's author: one line that says what to do.

    ``exit_code`` is what the command line returns for it (the table is in README.md).
    """

    exit_code = 2
