"""Defects of the series as posted, by the numbers of docs/fidelity.md, with the log lines that they left."""

from __future__ import annotations

from uuid import UUID

from guest.vmbus.policy import Policy
from protocol.wire.guids import HV_HEART_BEAT_GUID, HV_KVP_GUID
from tests.ground_truth.conftest import HEARTBEAT, STORVSC1, MakeVm, ObservedVm

UNKNOWN = UUID("deadbeef-0000-4000-8000-000000000001")


def bind_log(vm: ObservedVm, relid: int) -> list[str]:
    """Bind, which must fail; the lines that it left."""
    before = len(vm.log)
    vm.host.seen.clear()
    assert not vm.bind(relid)
    return vm.log[before:]


def test_d1_a_driver_that_is_bound_again_finds_its_irq_taken_every_time(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    vm.signals(HEARTBEAT, 3)
    vm.unbind(HEARTBEAT)
    row = " 25:          3          0          0          0     VMBus   7  heartbeat"
    assert row in vm.lines(), "row, count and directory stay"
    name = vm.channel(HEARTBEAT).device.name
    for _ in range(3):
        assert bind_log(vm, HEARTBEAT) == [
            "genirq: Flags mismatch irq 25. 00200000 (heartbeat) vs. 00200000 (heartbeat)",
            "hv_vmbus: request_irq failed with -16 for relid 7 irq 25",
            f"hv_vmbus: probe failed for device {name} (-16)",
            f"hv_driver {name}: probe with driver hv_driver failed with error -16",
        ]
        assert vm.host.names() == ["GPADL_HEADER", "GPADL_TEARDOWN"], "no OPENCHANNEL"
    assert row in vm.lines()
    vm.host.rescind(HEARTBEAT)
    vm.settle()
    assert row not in vm.lines(), "a rescind does remove it"


def test_d1_it_is_the_same_for_disks(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    vm.unbind(STORVSC1)
    assert bind_log(vm, STORVSC1)[:2] == [
        "genirq: Flags mismatch irq 31. 00200000 (pri@storvsc1) vs. 00200000 (pri@storvsc1)",
        "hv_vmbus: request_irq failed with -16 for relid 15 irq 31",
    ]


def test_d8_an_unknown_device_opens_without_a_name(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    before = len(vm.log)
    vm.host.offer(20, UNKNOWN)
    vm.settle()
    assert vm.log[before:] == [f"hv_vmbus: Unknown GUID: {UNKNOWN}"]
    assert vm.bind(20), "by new_id of uio_hv_generic"
    assert vm.log[-1] == "name len 0"
    assert vm.lines()[-1] == " 32:          0          0          0          0     VMBus  20  "
    assert vm.systems[0].irq_tables.descs[32].proc_name == "", "no directory of that name"
    vm.unbind(20)
    assert bind_log(vm, 20)[0] == "genirq: Flags mismatch irq 32. 00200000 () vs. 00200000 ()"


def test_a_refused_open_leaves_no_row_and_the_next_one_works(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    vm.host.rescind(HEARTBEAT)
    vm.settle()
    vm.host.open_status = 0xC0000001
    vm.host.offer(HEARTBEAT, HV_HEART_BEAT_GUID)
    vm.settle()
    assert vm.log[-2] == f"hv_vmbus: probe failed for device {vm.channel(HEARTBEAT).device.name} (-11)"
    assert not any("heartbeat" in line for line in vm.lines())
    assert vm.systems[0].irq_tables.descs[25].in_proc
    vm.host.open_status = 0
    assert vm.bind(HEARTBEAT)
    assert " 25:          0          0          0          0     VMBus   7  heartbeat" in vm.lines()


def test_d13_a_relid_beyond_the_domain_is_given_back_with_three_warnings(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    before = len(vm.log)
    vm.host.seen.clear()
    vm.host.offer(2048, HV_KVP_GUID)
    vm.settle()
    assert vm.log[before:] == [
        "WARNING: vmbus_channel_map_relid: relid 2048",
        "WARNING: kobject: '(null)': is not initialized, yet kobject_put() is being called.",
        "WARNING: refcount_t: underflow; use-after-free.",
    ]
    assert [message.name for message in vm.host.seen] == ["RELID_RELEASED"]
    vm.host.offer(2047, HV_KVP_GUID)
    vm.settle()
    assert vm.lines()[-1].endswith("VMBus 2047  kvp")
