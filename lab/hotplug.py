"""Devices that come and go while a VM runs, as its operator wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import zmq.asyncio

from lab import rundir
from lab.control import ControlClient
from lab.failure import VmFailure
from protocol.errors import ExitCode

LOOK_SECONDS: Final = 0.01
PATIENCE_SECONDS: Final = 30.0
"""Longer than the time-outs of all drivers."""


@asynccontextmanager
async def host_of(vm: str | None) -> AsyncIterator[ControlClient]:
    """The host of a running VM."""
    info = rundir.find(vm)
    context = zmq.asyncio.Context()
    client = ControlClient(context, f"ipc://{info.directory}/host")
    try:
        yield client
    finally:
        client.close()
        context.term()


async def add(vm: str | None, kind: str, device: str, relid: int | None, options: dict[str, Any]) -> str:
    """Offer a new device; what became of it."""
    async with host_of(vm) as host:
        await host.request("add", kind=kind, name=device, relid=relid, options=options)
        return await _introduced(host, device)


async def offer_again(vm: str | None, device: str) -> str:
    """Offer a device that was removed; what became of it."""
    async with host_of(vm) as host:
        await host.request("offer", name=device)
        return await _introduced(host, device)


async def remove(vm: str | None, device: str) -> str:
    """Rescind a device; returns when the guest has released its relid."""
    async with host_of(vm) as host:
        relid = (await _channel(host, device))["relid"]
        await host.request("rescind", name=device)
        await _until(host, device, lambda channel: channel["relid"] is None, "released")
        return f"{device}: the guest has released relid {relid}"


async def _introduced(host: ControlClient, device: str) -> str:
    """A guest need not have a driver; if it has one, it opens the channel soon."""
    channel = await _until(host, device, lambda channel: channel["relid"] is not None, "taken notice of")
    return f"{device}: offered as relid {channel['relid']}"


async def _until(host: ControlClient, device: str, done: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    for _ in range(round(PATIENCE_SECONDS / LOOK_SECONDS)):
        channel = await _channel(host, device)
        if done(channel):
            return channel
        await asyncio.sleep(LOOK_SECONDS)
    raise VmFailure(ExitCode.CHECK_FAILED, f"the guest has not {what} '{device}' in {PATIENCE_SECONDS:.0f} s")


async def _channel(host: ControlClient, device: str) -> dict[str, Any]:
    """What the host says of the device's primary channel. Raises OperatorError for a name that there is not."""
    channel: dict[str, Any] = await host.request("channel", name=device)
    return channel
