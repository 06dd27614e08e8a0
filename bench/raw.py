"""The yardstick: a round trip of 64 bytes by plain pyzmq, ROUTER to DEALER over ipc, both sides blocking."""

from __future__ import annotations

import os
import time

import msgpack
import zmq

BODY = bytes(64)


def initiator(directory: str, life: int, orders: int, status: int) -> int:
    """Play what is ordered; at the end of the orders send the peer home."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.linger = 0
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        router.bind(f"ipc://{directory}/raw")
        os.write(status, msgpack.packb(("raw", "ready")))
        peer = router.recv()
        router.recv()
        send, recv = router.send, router.recv
        while order := os.read(orders, 8):
            count = int.from_bytes(order, "little")
            start = time.perf_counter()
            for _ in range(count):
                send(peer, zmq.SNDMORE)
                send(BODY)
                recv()
                recv()
            os.write(status, msgpack.packb(("raw", "played", time.perf_counter() - start)))
        send(peer, zmq.SNDMORE)
        send(b"")
    return 0


def responder(directory: str, life: int, status: int) -> int:
    """Send everything back."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(f"ipc://{directory}/raw")
        dealer.send(b"hello")
        os.write(status, msgpack.packb(("raw peer", "ready")))
        send, recv = dealer.send, dealer.recv
        while body := recv():
            send(body)
    return 0
