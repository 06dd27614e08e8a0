"""Strangers on a VM's sockets: on the bus they end the VM, what they say on a control socket is refused."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

import msgpack
import pytest
import zmq

from lab.rundir import VmInfo
from protocol.errors import ExitCode
from tests.integration.conftest import Lab
from tests.integration.machine import ask, inject, nothing_left, started


@contextmanager
def dealer(vm: VmInfo, identity: bytes, *parts: bytes) -> Iterator[None]:
    """A ZeroMQ peer that says something on the bus."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
        peer.linger = 0
        peer.setsockopt(zmq.IDENTITY, identity)
        peer.connect(f"ipc://{vm.directory}/bus")
        peer.send_multipart(parts)
        yield


@contextmanager
def raw(vm: VmInfo, data: bytes) -> Iterator[None]:
    """Somebody who does not even speak ZeroMQ's protocol."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.connect(f"{vm.directory}/bus")
        with suppress(BrokenPipeError):  # the VM may have ended already
            peer.sendall(data)
        yield


STRANGERS: dict[str, Callable[[VmInfo], AbstractContextManager[None]]] = {
    "a peer that nobody knows": lambda vm: dealer(vm, b"stranger", b"\x93\x01\x00\x00"),
    "a peer with the name of a VP": lambda vm: dealer(vm, b"vp0", b"\x93\x01\x00\x00"),
    "a peer with many parts": lambda vm: dealer(vm, b"vp1", b"", b"nonsense", b"\xff" * 1000),
    "bytes that are no ZeroMQ": lambda vm: raw(vm, b"GET / HTTP/1.1\r\n\r\n"),
    "somebody who only connects": lambda vm: raw(vm, b""),
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_stranger_on_the_bus_ends_the_vm(stranger: str, lab: Lab) -> None:
    command = lab("run", "--vm", "small", "--vcpus", "2", "--name", "bus")
    with STRANGERS[stranger](started("bus")):
        line = command.finished().complained(ExitCode.PEER)
    assert line.startswith("host: protocol error: a stranger is on the socket: ")
    nothing_left()


NONSENSE: dict[str, tuple[bytes, str]] = {
    "no msgpack": (b"\xc1", "not a request"),
    "nothing": (b"", "not a request"),
    "no array": (msgpack.packb(7), "not a request"),
    "too short": (msgpack.packb([1, "snapshot"]), "not a request"),
    "an unknown verb": (msgpack.packb([1, "explode", {}]), "not a request: KeyError('explode')"),
    "a verb that is a list": (msgpack.packb([1, ["snapshot"], {}]), "not a request"),
    "arguments that are no mapping": (msgpack.packb([1, "snapshot", 3]), "not a request"),
    "arguments of no such verb": (msgpack.packb([1, "snapshot", {"colour": 3}]), "not a request"),
    "an unknown fault": (
        msgpack.packb([1, "inject", {"fault": "meteor"}]),
        "there is no fault 'meteor' here: there are",
    ),
}


def test_nonsense_on_a_control_socket_is_refused_and_the_vm_goes_on(lab: Lab) -> None:
    command = lab("run", "--vm", "small", "--vcpus", "2", "--name", "control", "--duration", "1")
    vm = started("control")
    for who in vm.pids:
        for what, (request, refusal) in NONSENSE.items():
            _, accepted, (code, line) = ask(vm, who, request)
            assert (accepted, code) == (False, ExitCode.OPERATOR), what
            assert refusal in line, what
    _, accepted, (code, line) = ask(vm, "cpu1", msgpack.packb([5, "inject", {"fault": "stray_flag"}]))
    assert (accepted, code, line) == (
        False,
        ExitCode.OPERATOR,
        "fault 'stray_flag': missing a required argument: 'flag'",
    )
    done = command.finished()
    assert (done.code, done.err) == (0, "")
    nothing_left()


def test_a_fault_injected_from_outside_is_in_the_report(lab: Lab) -> None:
    command = lab("run", "--vm", "small", "--vcpus", "2", "--name", "fault", "--duration", "1")
    inject(started("fault"), "cpu1", "wrong_hyp")
    done = command.finished()
    assert (done.code, done.err) == (ExitCode.CHECK_FAILED, "")
    assert "FAILED    HYP on CPU 1: row 1 is not those with a message 0" in done.out
