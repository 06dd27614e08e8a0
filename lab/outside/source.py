"""Classes out of a Python file that somebody brings along, or one line with the file and line of what is wrong."""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from protocol.errors import OperatorError

T = TypeVar("T")


def load(path: str, kind: str) -> ModuleType:
    """Run the file as a module named after it and ``kind``. Its neighbours can be imported if no other module is."""
    try:
        code = compile(Path(path).read_bytes(), path, "exec")
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}") from None
    except SyntaxError as error:
        at = f"{path}:{error.lineno}" if error.lineno else path  # null bytes are nowhere, says Python 3.11.4
        raise OperatorError(f"{at}: {error.msg}") from None
    except ValueError as error:
        raise OperatorError(f"{path}: {error}") from None
    module = ModuleType(f"{kind} {path}")
    module.__file__ = path
    sys.modules[module.__name__] = module
    directory = str(Path(path).absolute().parent)
    if directory not in sys.path:
        sys.path.append(directory)
    try:
        exec(code, module.__dict__)
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
        raise OperatorError(f"{path}:{lines[-1]}: {type(error).__name__}: {error}") from None
    return module


def classes(module: ModuleType, base: type[T]) -> Iterator[type[T]]:
    """The classes that the file itself defines and that derive from ``base``. OperatorError if there is none."""
    found = [
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, base) and each.__module__ == module.__name__
    ]
    if not found:
        raise OperatorError(f"{module.__file__}: it defines no class derived from {base.__name__}")
    return iter(found)


def where(thing: object) -> str:
    """``file:line`` of a class or a function."""
    _, line = inspect.getsourcelines(thing)  # type: ignore[arg-type]
    return f"{inspect.getsourcefile(thing)}:{line}"  # type: ignore[arg-type]


def check_name(cls: type) -> None:
    """It has a name, which a path can contain and one line can show."""
    name = getattr(cls, "name", None)
    if not isinstance(name, str):
        raise OperatorError(f'{where(cls)}: class {cls.__name__} has no name: say name = "..."')
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_@-]{0,31}", name):
        raise OperatorError(f"{where(cls)}: {name!r} is no name: use up to 32 letters, digits, '_', '@' and '-'")


def check_class(cls: type, process_context: Sequence[str], interrupt_context: Sequence[str]) -> None:
    """Every abstract method is there, those that may wait are ``async def``, and those that must not are not."""
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        raise OperatorError(f"{where(cls)}: class {cls.__name__} lacks {', '.join(missing)}")
    for name in process_context:
        if not inspect.iscoroutinefunction(getattr(cls, name)):
            raise OperatorError(f"{where(getattr(cls, name))}: {name} runs in process context: make it an async def")
    for name in interrupt_context:
        if inspect.iscoroutinefunction(getattr(cls, name)):
            raise OperatorError(f"{where(getattr(cls, name))}: {name} cannot wait in interrupt context: make it a def")
