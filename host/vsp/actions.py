"""What an operator can have a device do, by name: typing, taking memory, asking for a backup."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

Answered = Callable[[Any], None]
"""Called once with the outcome, plain data; with None if the guest has closed the channel before."""
Action = Callable[..., None]
"""Takes ``answered`` and arguments by name. Raises OperatorError if it cannot be done now."""


class Operable(Protocol):
    """A device that can be told to do something."""

    def actions(self) -> Mapping[str, Action]:
        """By name."""


def at_once(act: Callable[..., Any]) -> Action:
    """An action that is over when it returns."""

    def action(answered: Answered, **arguments: Any) -> None:
        answered(act(**arguments))

    return action
