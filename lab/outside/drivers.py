"""Drivers from outside the tree: found in their files, and checked before anything is started."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from uuid import UUID

from guest.vmbus.device import HvDriver
from lab.outside.source import check_class, check_name, classes, load, where
from protocol.errors import OperatorError

PROCESS_CONTEXT = ("probe", "remove", "sc_creation_callback")
INTERRUPT_CONTEXT = ("onchannel_callback", "rescinded", "change_target_cpu")


def load_drivers(paths: Iterable[str]) -> tuple[type[HvDriver], ...]:
    """Every driver in the files, in order. Each is asked before the drivers of the tree. Raises OperatorError."""
    drivers: list[type[HvDriver]] = []
    taken: dict[UUID, type[HvDriver]] = {}
    for path in paths:
        for driver in classes(load(path, "driver"), HvDriver):  # type: ignore[type-abstract]
            _check(driver)
            for class_id in driver.id_table:
                other = taken.setdefault(class_id, driver)
                if other is not driver:
                    raise OperatorError(f"{where(driver)}: {class_id} is that of the driver at {where(other)}")
            drivers.append(driver)
    return tuple(drivers)


def _check(driver: type[HvDriver]) -> None:
    check_class(driver, PROCESS_CONTEXT, INTERRUPT_CONTEXT)
    check_name(driver)
    table: object = driver.id_table
    if not isinstance(table, tuple) or not table or not all(isinstance(class_id, UUID) for class_id in table):
        raise OperatorError(
            f"{where(driver)}: class {driver.__name__} has no id_table: say id_table = (UUID(...),), "
            "the classes of devices that it drives"
        )
    for name in ("__init__", *PROCESS_CONTEXT, *INTERRUPT_CONTEXT):
        method, original = getattr(driver, name), getattr(HvDriver, name)
        expected = inspect.signature(original)
        try:
            inspect.signature(method).bind(*expected.parameters)
        except TypeError:
            raise OperatorError(f"{where(method)}: {name} is called with {expected}") from None
