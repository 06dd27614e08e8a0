"""A device from outside the tree, whose mistakes are its own: reported with its line, and the VM runs on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from host.vsp.device import Device, DeviceFailed, Offer, Services, Timer, VspChannel
from host.vsp.kind import Setting
from protocol.errors import OperatorError, PeerError
from protocol.journal import Journal


class Containment:
    """Calls into a device. After the first that fails none is made any more, and its offer is withdrawn.

    A VSP that crashes takes its channel with it in the same way: the guest gets RESCIND_CHANNELOFFER.
    """

    def __init__(self, module: str, setting: Setting) -> None:
        self.dead = False
        self._module = module
        self._setting = setting

    def call(self, function: Callable[..., None], *arguments: Any) -> bool:
        """Whether it came back in order. PeerError is not the device's mistake."""
        try:
            self.enter(function, *arguments)
        except (PeerError, DeviceFailed) as error:
            self._setting.complain(error)
            return isinstance(error, PeerError)
        return True

    def enter(self, function: Callable[..., None], *arguments: Any) -> None:
        """The same, but raises ``PeerError`` or ``DeviceFailed``."""
        if self.dead:
            return
        try:
            function(*arguments)
        except PeerError:
            raise
        except (Exception, SystemExit) as error:
            self.dead = True
            self._setting.services.call_later(0, self._setting.withdraw)
            raise DeviceFailed(f"{self._line_of(error)} {type(error).__name__}: {error}") from error

    def _line_of(self, error: BaseException) -> str:
        found = self._setting.name
        step = error.__traceback__
        while step is not None:
            if step.tb_frame.f_globals.get("__name__") == self._module:
                found = f"{step.tb_frame.f_code.co_filename}:{step.tb_lineno}"
            step = step.tb_next
        return found


@dataclass(frozen=True, slots=True)
class ContainedServices:
    """The services of such a device: its timers are calls into it."""

    services: Services
    containment: Containment

    @property
    def journal(self) -> Journal | None:
        return self.services.journal

    def now(self) -> int:
        return self.services.now()

    def wall_clock(self) -> int:
        return self.services.wall_clock()

    def call_later(self, seconds: float, fn: Callable[[], None]) -> Timer:
        return self.services.call_later(seconds, partial(self._expired, fn))

    def _expired(self, fn: Callable[[], None]) -> None:
        self.containment.call(fn)

    def complain(self, error: PeerError | OperatorError) -> None:
        self.services.complain(error)


class ContainedDevice:
    """A ``Device`` around one from outside. Raises ``DeviceFailed`` if that cannot even be made."""

    offer: Offer

    def __init__(self, make: Callable[[Setting], Device], module: str, setting: Setting) -> None:
        self._containment: Final = Containment(module, setting)
        services = ContainedServices(setting.services, self._containment)

        def build() -> None:
            self._device = make(replace(setting, services=services))
            self.offer = self._device.offer

        self._containment.enter(build)

    def open(self, channel: VspChannel, user_data: bytes) -> None:
        """Raises ``PeerError`` or ``DeviceFailed``: OPENCHANNEL is refused."""
        self._containment.enter(self._device.open, channel, user_data)

    def close(self, done: Callable[[], None]) -> None:
        if self._containment.dead or not self._containment.call(self._device.close, done):
            done()  # it will not touch guest memory any more

    def doorbell(self) -> None:
        self._containment.call(self._device.doorbell)

    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        self._containment.call(lambda: counts.update(self._device.counts()))
        return counts
