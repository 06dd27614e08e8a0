"""Many CPUs and many channels: real processes, each of which makes only the views that it needs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab import scale
from lab.vm import VM
from tests.integration.machine import nothing_left


@pytest.mark.parametrize("policy", ["legacy", "rfc"])
async def test_sixteen_cpus_open_a_hundred_channels_and_the_books_balance(policy: str) -> None:
    size = scale.large(vcpus=16, controllers=5, sub_channels=15)
    assert size.channels == 101
    async with VM(replace(size.spec, name=f"hundred-{policy}", policy=policy, time_scale=10)) as vm:
        while sum(1 for _ in vm.guest.opened()) < size.channels:
            await vm.pass_time(scale.LOOK)
            vm.watchdog.check(vm.now())
        await vm.settled()
        report = await vm.report()
        assert len(report.channels) >= size.channels
        assert not report.failed
        assert not report.complaints
    nothing_left()
