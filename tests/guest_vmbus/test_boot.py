"""The guest comes up: SynIC on every CPU, a protocol version, offers; and what it does when posting fails."""

from __future__ import annotations

import pytest

from guest.vmbus.policy import Policy
from guest.vmbus.words import ConnectionState
from protocol.ids import VpIndex
from protocol.wire.guids import HV_HEART_BEAT_GUID
from protocol.wire.hypercall import Status
from protocol.wire.messages import InitiateContact, UnloadResponse
from protocol.wire.synic import MESSAGE_SINT
from protocol.wire.versions import Version
from tests.guest_vmbus.conftest import HEARTBEAT, Machine, MakeMachine


def asked(machine: Machine) -> list[str]:
    return [Version(m.version).text for m in machine.host.seen if isinstance(m, InitiateContact)]


def test_every_cpu_turns_its_synic_on_before_the_connect_cpu_says_a_word(vm: MakeMachine) -> None:
    machine = vm(4, Policy.RFC)
    for port, system in zip(machine.ports[:3], machine.systems[:3], strict=True):
        port.hello()
        system.start()
    machine.step()
    assert machine.tables.connection.synic_online == 0b0111
    assert machine.host.seen == []
    machine.ports[3].hello()
    machine.systems[3].start()
    machine.settle()
    assert machine.tables.connection.synic_online == 0b1111
    assert machine.host.names() == ["INITIATE_CONTACT", "REQUESTOFFERS"]


def test_the_newest_version_is_asked_for_first_and_the_host_has_it(vm: MakeMachine) -> None:
    machine = vm(1, Policy.LEGACY)
    machine.boot()
    assert asked(machine) == ["5.3"]
    assert machine.log == ["hv_vmbus: Vmbus version:5.3"]
    assert machine.tables.connection.conn_state == ConnectionState.CONNECTED


def test_versions_step_down_until_the_host_agrees(vm: MakeMachine) -> None:
    machine = vm(1, Policy.RFC, versions=(Version.V5_0, Version.WIN8))
    machine.boot()
    assert asked(machine) == ["5.3", "5.2", "5.1", "5.0"]


def test_a_host_without_the_multi_client_port_is_left_with_4_1_at_once(vm: MakeMachine) -> None:
    machine = vm(1, Policy.RFC, versions=(Version.WIN10_RS3,))
    machine.boot()
    assert asked(machine) == ["4.1"]
    assert machine.clock.time < 1000, "nothing waited"
    (contact,) = (m for m in machine.host.seen if isinstance(m, InitiateContact))
    assert contact.interrupt_page


def test_the_module_parameter_caps_the_version(vm: MakeMachine) -> None:
    machine = vm(1, Policy.RFC, versions=tuple(Version), max_version=Version.WIN10)
    machine.boot()
    assert asked(machine) == ["4.0"]


def test_no_common_version_is_said_and_fails_the_boot(vm: MakeMachine) -> None:
    machine = vm(1, Policy.RFC, versions=(Version.WIN7,))
    with pytest.raises(RuntimeError, match="no protocol version in common"):
        machine.boot()
    assert asked(machine) == ["4.1", "4.0", "3.0", "2.4"]
    assert machine.log[-1] == "hv_vmbus: Unable to connect to host"
    assert machine.tables.connection.conn_state == ConnectionState.DISCONNECTED


@pytest.mark.parametrize(
    "status", [Status.INSUFFICIENT_MEMORY, Status.INSUFFICIENT_BUFFERS, Status.INVALID_CONNECTION_ID]
)
def test_a_post_that_is_refused_for_now_is_tried_again_after_1_2_4_microseconds(
    vm: MakeMachine, status: Status
) -> None:
    machine = vm(1, Policy.RFC)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.boot()
    before = machine.clock.time
    machine.options.post_statuses.extend([status] * 10)
    machine.host.rescind(HEARTBEAT)
    machine.settle()
    assert machine.host.names()[-2:] == ["CLOSECHANNEL", "RELID_RELEASED"]
    waited = (machine.clock.time - before) / 10
    assert 1023 <= waited < 1100, "1 + 2 + ... + 512 us"


def test_after_a_hundred_refusals_the_post_fails(vm: MakeMachine) -> None:
    machine = vm(1, Policy.RFC)
    machine.boot()
    machine.options.post_statuses.extend([Status.INSUFFICIENT_BUFFERS] * 101)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.settle()
    assert len(machine.options.post_statuses) == 1
    assert f"hv_vmbus: probe failed for device {machine.channel(HEARTBEAT).device.name} (-105)" in machine.log
    assert 165 < machine.clock.time / 1e7 < 168, "21 doublings, then about two seconds each"


@pytest.mark.parametrize("status", [Status.TIME_OUT, 0x1234])
def test_any_other_refusal_is_final_also_one_without_a_name(vm: MakeMachine, status: Status) -> None:
    machine = vm(1, Policy.RFC)
    machine.boot()
    machine.options.post_statuses.append(status)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.settle()
    assert f"hv_vmbus: hv_post_msg() failed; error code:{status:d}" in machine.log
    assert any("(-22)" in line for line in machine.log)


def test_a_message_before_the_first_contact_is_survived(vm: MakeMachine) -> None:
    machine = vm(2, Policy.RFC)
    machine.ports[0].hello()
    machine.systems[0].start()
    machine.step()
    machine.host.post(UnloadResponse())
    machine.step()
    assert machine.tables.cpus[0].messages_unhandled == 1


def test_a_message_too_short_or_unknown_is_dropped_and_the_next_is_heard(vm: MakeMachine) -> None:
    machine = vm(1, Policy.RFC)
    machine.boot()
    for payload in (b"\2", (2).to_bytes(8, "little"), (77).to_bytes(8, "little")):
        machine.partition.post(VpIndex(0), MESSAGE_SINT, payload)
    machine.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    machine.settle()
    counts = machine.tables.cpus[0]
    assert counts.messages_bad == 3
    assert machine.host.names()[-1] == "OPENCHANNEL"
