"""Several connections in one partition: each has its own SINT, message port and relids."""

import pytest

from host.vmbus.contact import ContactPort
from host.vmbus.options import HostOptions
from host.vmbus.server import VmbusServer
from host.vmbus.tables.connection import ConnectionState
from protocol.errors import OperatorError
from protocol.ids import ConnectionId, Sint, VpIndex
from protocol.wire.messages import InitiateContact, RequestOffers, encode
from protocol.wire.versions import Dialect, Version
from tests.host_vmbus.conftest import FakeDevice, FakeHypervisor

DIALECT = Dialect(Version.V5_3)


class TwoServers:
    def __init__(self) -> None:
        self.hypervisor = FakeHypervisor()
        self.hypervisor.dialect = DIALECT
        self.complaints: list[Exception] = []
        self.port = ContactPort(self.hypervisor, self.complaints.append)
        self.first = self.server(2, 1)
        self.second = self.server(5, 0x11)

    def server(self, sint: int, message_port: int) -> VmbusServer:
        return VmbusServer(
            self.hypervisor,
            HostOptions(),
            self.complaints.append,
            Sint(sint),
            fence=lambda: None,
            message_port=ConnectionId(message_port),
            contact=self.port,
        )

    def contact(self, sint: int, version: Version = Version.V5_3) -> None:
        contact = InitiateContact(version, VpIndex(1), sint=sint if version >= Version.V5_0 else 2)
        self.hypervisor.message_ports[ConnectionId(4)](VpIndex(0), encode(contact, DIALECT))

    def sent(self) -> list[tuple[int, str]]:
        news = [(posted.sint, posted.message.name) for posted in self.hypervisor.posted]
        self.hypervisor.posted.clear()
        return [(int(sint), name) for sint, name in news]


def test_the_sint_chooses_the_server_and_each_names_its_own_message_port() -> None:
    vm = TwoServers()
    vm.contact(sint=5)
    assert (vm.first.state, vm.second.state) == (ConnectionState.DISCONNECTED, ConnectionState.NEGOTIATED)
    (posted,) = vm.hypervisor.posted
    assert getattr(posted.message, "connection_id") == 0x11  # noqa: B009
    vm.contact(sint=2)
    assert vm.first.state is ConnectionState.NEGOTIATED
    assert vm.sent() == [(5, "VERSION_RESPONSE"), (2, "VERSION_RESPONSE")]


def test_a_guest_too_old_to_say_a_sint_means_2() -> None:
    vm = TwoServers()
    vm.contact(sint=5, version=Version.WIN10)
    assert (vm.first.state, vm.second.state) == (ConnectionState.NEGOTIATED, ConnectionState.DISCONNECTED)


def test_relids_and_doorbells_do_not_collide() -> None:
    vm = TwoServers()
    handles = [vm.first.offer(FakeDevice()), vm.second.offer(FakeDevice())]
    for sint, port in ((2, 1), (5, 0x11)):
        vm.contact(sint)
        vm.hypervisor.message_ports[ConnectionId(port)](VpIndex(0), encode(RequestOffers(), DIALECT))
    assert [handle.relid for handle in handles] == [1, 1]
    doorbells = [
        getattr(posted.message, "connection_id")  # noqa: B009
        for posted in vm.hypervisor.posted
        if posted.message.name == "OFFERCHANNEL"
    ]
    assert doorbells == [0x2001, 0x5001]


def test_two_servers_on_one_sint_are_the_operators_mistake() -> None:
    vm = TwoServers()
    with pytest.raises(OperatorError, match="its own SINT"):
        vm.server(5, 0x12)
