"""Breaking something on purpose: faults are functions by name, which an operator asks for at run time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from protocol.errors import OperatorError


def inject(faults: Mapping[str, Callable[..., None]], subject: object, fault: str, **arguments: Any) -> None:
    """Do ``fault`` to ``subject``. Raises ``OperatorError`` for an unknown fault, or one that wants other arguments."""
    function = faults.get(fault)
    if function is None:
        raise OperatorError(f"there is no fault '{fault}' here: there are {', '.join(faults)}")
    try:
        call = signature(function).bind(subject, **arguments)
    except TypeError as error:
        raise OperatorError(f"fault '{fault}': {error}") from None
    function(*call.args, **call.kwargs)
