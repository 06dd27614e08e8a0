"""What a guest's input devices report: ``struct input_event`` as the guest's kernel hands it out."""

from __future__ import annotations

import base64
import struct
from typing import NamedTuple

from lab.linux import sysfs
from lab.linux.vm import LinuxVm

EV_KEY, EV_REL, EV_ABS = 1, 2, 3
_EVENT = struct.Struct("<QQHHi")


class Event(NamedTuple):
    """linux/input-event-codes.h."""

    type: int
    code: int
    value: int


class Listener:
    """Somebody in the guest who reads one input device from ``start`` on."""

    def __init__(self, vm: LinuxVm, name: str) -> None:
        self._vm = vm
        self._name = name
        self._path = f"/tmp/{name.replace(' ', '_')}"

    async def start(self) -> None:
        """Returns when the device is open, so that nothing is missed."""
        await self._vm.run(
            f"""node=$(grep -A 4 'N: Name="{self._name}"' /proc/bus/input/devices | grep -o 'event[0-9]*')
            cat <"/dev/input/$node" >{self._path} &
            until readlink /proc/$!/fd/0 | grep -q event; do sleep 0.01; done"""
        )

    async def hear(self, count: int) -> list[Event]:
        """Wait until that many keys, axes and steps have been reported; all of them so far, without the rest."""
        assert await sysfs.wait_for(self._vm, f"[ $(stat -c %s {self._path}) -ge {count * _EVENT.size} ]")
        events = await self._events()
        while len(events) < count:
            events = await self._events()
        return events

    async def _events(self) -> list[Event]:
        data = base64.b64decode(await self._vm.run(f"base64 {self._path}"))
        whole = data[: len(data) // _EVENT.size * _EVENT.size]
        events = [Event(*event[2:]) for event in _EVENT.iter_unpack(whole)]
        return [event for event in events if event.type in (EV_KEY, EV_REL, EV_ABS)]
