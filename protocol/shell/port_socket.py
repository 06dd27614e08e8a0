"""The ZeroMQ DEALER under a VP port, in a worker and in the bridge to a real guest."""

from __future__ import annotations

from collections.abc import Callable

import zmq

from protocol.ids import VpIndex
from protocol.shell.pump import take


class PortSocket:
    """``protocol.port.vp_port.Wire`` over a socket to the host of the VM in ``directory``."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], directory: str, vp: VpIndex) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.setsockopt(zmq.IDENTITY, f"vp{vp}".encode())
        self.socket.connect(f"ipc://{directory}/bus")
        self.deliver: Callable[[bytes], None] = lambda data: None
        self.after_wait: Callable[[], None] = lambda: None

    def send(self, data: bytes) -> None:
        try:
            self.socket.send(data, zmq.NOBLOCK)
        except zmq.Again:
            raise RuntimeError("the queue to the host is full, which the protocol forbids") from None

    def wait(self) -> None:
        self.deliver(self.socket.recv())
        self.after_wait()

    def receive(self) -> bool:
        """Take one envelope; False if there is none."""
        data = take(self.socket)
        if data is None:
            return False
        self.deliver(data)
        return True
