"""A round trip of bare bytes over the project's own sockets and pumps: what the transport alone costs."""

from __future__ import annotations

import os
import time

import zmq

from bench.raw import BODY
from host.process.main import Bus
from protocol.ids import VpIndex
from protocol.shell.child import Child
from protocol.shell.port_socket import PortSocket
from protocol.shell.pump import Pump

PEER = VpIndex(0)


class Initiator:
    """The host's socket, driven by the host's pump."""

    def __init__(self, directory: str, orders: int, child: Child) -> None:
        self._child = child
        self._orders = orders
        self._left = 0
        self._start = 0.0
        self._bus = Bus(zmq.Context(), directory, 1)
        self._bus.deliver = self._hello
        self._pump = Pump(child.loop, self._bus.socket, self._bus.receive, lambda: False)

    def _hello(self, vp: VpIndex, data: bytes) -> None:
        self._bus.deliver = self._back
        self._child.loop.add_reader(self._orders, self._ordered)

    def _ordered(self) -> None:
        order = os.read(self._orders, 8)
        if not order:
            self._child.loop.remove_reader(self._orders)
            return
        self._left = int.from_bytes(order, "little")
        self._start = time.perf_counter()
        self._bus.transmit(PEER, BODY)
        self._pump.kick()

    def _back(self, vp: VpIndex, data: bytes) -> None:
        self._left -= 1
        if self._left:
            self._bus.transmit(PEER, BODY)
        else:
            self._child.say("played", time.perf_counter() - self._start)


class Responder:
    """A worker's socket, driven by the worker's pump, that sends everything back."""

    def __init__(self, directory: str, child: Child) -> None:
        wire = PortSocket(zmq.Context(), directory, PEER)
        wire.deliver = wire.send
        self._pump = Pump(child.loop, wire.socket, wire.receive, lambda: False)
        wire.send(b"hello")
        self._pump.kick()


def initiator(directory: str, life: int, orders: int, status: int) -> int:
    child = Child("signal", life, status)
    return child.run(lambda: Initiator(directory, orders, child))


def responder(directory: str, life: int, status: int) -> int:
    child = Child("signal peer", life, status)
    return child.run(lambda: Responder(directory, child))
