"""How a VM ends badly."""

from protocol.errors import ExitCode


class VmFailure(Exception):
    """The VM, or a process of it, could not do what it was asked; with the exit code and the line to print."""

    def __init__(self, code: ExitCode, line: str) -> None:
        super().__init__(line)
        self.code = code
