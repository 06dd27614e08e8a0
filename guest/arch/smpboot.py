"""Which CPUs there are: ``cpu_online_mask``, and the wait of the boot CPU for all others."""

from __future__ import annotations

from guest.kernel.core import Core
from guest.kernel.memory import Word
from guest.kernel.wait import WaitWords


class CpuMaskWords(WaitWords):
    """Bit n of a mask is CPU n."""

    online = Word("cpu_hotplug_lock")


class CpuMasks:
    """One CPU's view. Taking CPUs offline is not modelled yet."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._words = core.memory.one(CpuMaskWords)
        self._lock = core.locks.spin("cpu_hotplug_lock")
        self._changed = core.wait_queue(self._words)

    @property
    def online(self) -> int:
        """``cpu_online_mask``."""
        return self._words.online

    def set_cpu_online(self) -> None:
        """This CPU runs from now on."""
        with self._lock:
            self._words.online |= 1 << self._core.cpu
        self._changed.wake_up()

    async def all_online(self) -> None:
        """``smp_init``: return when every CPU of the VM is up."""
        every = (1 << self._core.cpus) - 1
        await self._changed.wait_event(lambda: self._words.online == every)
