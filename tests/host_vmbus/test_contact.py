"""INITIATE_CONTACT: which versions are accepted, who is told, and what counts on which port."""

import pytest

from host.vmbus.options import HostOptions
from host.vmbus.tables.connection import ConnectionState
from protocol.ids import ConnectionId, Sint, VpIndex
from protocol.wire.messages import (
    RequestOffers,
    VersionResponse,
)
from protocol.wire.versions import Version
from tests.host_vmbus.conftest import Posted, Vm

MODELLED = [version for version in Version if version >= Version.WIN8]


@pytest.mark.parametrize("version", MODELLED)
def test_every_version_since_windows_8_is_accepted_as_it_is(version: Version) -> None:
    vm = Vm()
    vm.contact(version)
    (response,) = vm.heard()
    assert isinstance(response, VersionResponse)
    assert (response.supported, response.connection_state) == (1, 0)
    assert response.connection_id == (1 if version >= Version.V5_0 else version)
    assert response.features == (0 if version >= Version.V6_0 else None)
    assert vm.server.state is ConnectionState.NEGOTIATED
    assert vm.server.version == version


@pytest.mark.parametrize("version", [Version.WS2008, Version.WIN7, 0, 0x00050004, 0x00070000, 0xFFFFFFFF])
def test_other_versions_are_refused_with_sixteen_bytes(version: int) -> None:
    vm = Vm()
    vm.contact(version)
    assert vm.heard() == [VersionResponse(supported=0)]
    assert vm.server.state is ConnectionState.DISCONNECTED


def test_a_guest_steps_down_to_what_the_host_allows() -> None:
    vm = Vm(HostOptions(max_version=Version.WIN10_RS3))
    for version in reversed(MODELLED):
        vm.contact(version)
        (response,) = vm.heard()
        assert isinstance(response, VersionResponse)
        if response.supported:
            break
    assert vm.server.version is Version.WIN10_RS3
    assert vm.complained() == []


def test_messages_go_to_the_vp_that_the_guest_named() -> None:
    vm = Vm()
    vm.contact(Version.V5_3, vp=3)
    assert [(sent.vp, sent.sint) for sent in vm.heard_envelopes()] == [(3, 2)]


def test_before_windows_8_1_messages_go_to_vp_0_whatever_the_guest_named() -> None:
    vm = Vm()
    vm.contact(Version.WIN8, vp=3)
    assert [sent.vp for sent in vm.heard_envelopes()] == [0]


def test_a_refusal_goes_to_vp_0_if_there_was_no_target_before(vm: Vm) -> None:
    vm.contact(0x00070000, vp=3)
    assert [sent.vp for sent in vm.heard_envelopes()] == [0]


def test_a_refusal_goes_to_the_old_target_and_the_old_connection_is_lost(vm: Vm) -> None:
    vm.connect(vp=2)
    vm.contact(0x00070000, vp=3)
    assert [(sent.vp, sent.message.name) for sent in vm.heard_envelopes()] == [(2, "VERSION_RESPONSE")]
    assert vm.server.state is ConnectionState.DISCONNECTED


@pytest.mark.parametrize("pages", [{"parent_to_child_monitor": 0x1000}, {"child_to_parent_monitor": 0x1000}])
def test_one_monitor_page_without_the_other_is_a_failure_not_a_refusal(vm: Vm, pages: dict[str, int]) -> None:
    vm.contact(Version.V5_3, **pages)
    (response,) = vm.heard()
    assert isinstance(response, VersionResponse)
    assert (response.supported, response.connection_state) == (1, 2)
    assert vm.server.state is ConnectionState.DISCONNECTED


def test_both_monitor_pages_are_welcome_and_unused(vm: Vm) -> None:
    vm.contact(Version.V5_3, parent_to_child_monitor=0x1000, child_to_parent_monitor=0x2000)
    assert vm.server.state is ConnectionState.NEGOTIATED


def test_a_target_vp_that_does_not_exist_is_a_failure_told_to_the_old_target(vm: Vm) -> None:
    vm.contact(Version.V5_3, vp=99)
    (sent,) = vm.heard_envelopes()
    assert isinstance(sent.message, VersionResponse)
    assert (sent.vp, sent.message.supported, sent.message.connection_state) == (0, 1, 2)


def test_on_the_multi_client_port_another_sint_is_refused_there_and_changes_nothing(vm: Vm) -> None:
    vm.connect()
    vm.contact(Version.V5_3, vp=1, sint=5)
    assert vm.heard_envelopes() == [
        Posted(VpIndex(1), Sint(5), VersionResponse(supported=0), frozenset()),
    ]
    assert vm.server.state is ConnectionState.CONNECTED
    assert vm.complained() == ["INITIATE_CONTACT: no VMBus server at SINT 5"]


def test_on_the_ordinary_port_the_sint_field_does_not_count(vm: Vm) -> None:
    vm.contact(Version.V5_3, port=1, sint=5)
    assert [(sent.sint, sent.message.name) for sent in vm.heard_envelopes()] == [(2, "VERSION_RESPONSE")]
    assert vm.server.state is ConnectionState.NEGOTIATED


def test_below_5_0_the_same_bytes_are_an_interrupt_page_and_no_sint(vm: Vm) -> None:
    vm.contact(Version.WIN10, interrupt_page=0x5000)
    assert vm.server.state is ConnectionState.NEGOTIATED


def test_the_vtl_field_counts_from_5_1(vm: Vm) -> None:
    vm.contact(Version.V5_1, vtl=2)
    assert vm.heard() == []
    assert vm.complained() == ["INITIATE_CONTACT: no VMBus server at VTL 2"]


def test_a_host_without_the_multi_client_port_has_only_connection_1() -> None:
    vm = Vm(HostOptions(multi_client_port=False))
    assert list(vm.hypervisor.message_ports) == [ConnectionId(1)]


def test_a_sint_for_a_vp_that_does_not_exist_is_only_complained_about(vm: Vm) -> None:
    vm.contact(Version.V5_3, vp=99, sint=5)
    assert vm.heard() == []
    assert len(vm.complained()) == 1


@pytest.mark.parametrize("port", [1, 4])
def test_other_messages_reach_the_server_through_either_port(vm: Vm, port: int) -> None:
    vm.contact()
    vm.heard()
    vm.send(RequestOffers(), port)
    assert vm.names() == ["ALLOFFERS_DELIVERED"]


@pytest.mark.parametrize("payload", [b"", b"\x0e", bytes(8), b"\x0e" + bytes(20), b"\xff" * 240, b"\x06" + bytes(60)])
@pytest.mark.parametrize("port", [1, 4])
def test_nonsense_is_complained_about_and_nothing_else(vm: Vm, payload: bytes, port: int) -> None:
    vm.connect()
    vm.hypervisor.message_ports[ConnectionId(port)](VpIndex(0), payload)
    assert len(vm.complained()) == 1
    assert vm.heard() == []
    assert vm.server.state is ConnectionState.CONNECTED
