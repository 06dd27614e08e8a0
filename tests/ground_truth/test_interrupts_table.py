"""/proc/interrupts and /proc/stat of the whole guest, against what the patched kernel printed."""

from __future__ import annotations

import errno

from guest.irq.parse import parse_interrupts
from guest.irq.proc import show_stat_intr
from guest.vmbus.device import VmbusDevice
from guest.vmbus.errors import VmbusError
from guest.vmbus.policy import Policy
from protocol.wire.guids import HV_KBD_GUID, HV_MOUSE_GUID, HV_RDV_GUID, HV_SCSI_GUID, HV_VSS_GUID
from protocol.wire.messages import ChannelFlags
from tests.ground_truth.conftest import (
    HEARTBEAT,
    MOUSE,
    SHUTDOWN,
    STORVSC0,
    STORVSC1,
    TIMESYNC,
    MakeVm,
    ObservedVm,
    Opener,
)

SIGNALS = {14: 13, 15: 17, 7: 1, 9: 1, 10: 1, 23: 8, 24: 3, 25: 26, 27: 27, 28: 4}
"""Interrupts that the host had raised, by relid, when the table was read."""

ROWS = """\
 24:         13          0          0          0     VMBus  14  pri@storvsc0
 25:          1          0          0          0     VMBus   7  heartbeat
 26:          1          0          0          0     VMBus   9  shutdown
 27:          1          0          0          0     VMBus  10  timesync
 28:          0          0          0          0     VMBus  11  kvp
 29:          0          0          0          0     VMBus   1  vss
 31:          0         17          0          0     VMBus  15  pri@storvsc1
 32:          0          0          8          0     VMBus  23  sub@storvsc0
 33:          0          0          0          3     VMBus  24  sub@storvsc0
 34:          0         26          0          0     VMBus  25  sub@storvsc0
 35:          0          0          0          0     VMBus  26  sub@storvsc1
 36:          0          0          0         27     VMBus  27  sub@storvsc1
 37:          4          0          0          0     VMBus  28  sub@storvsc1
""".splitlines()
"""Byte for byte: IRQ numbers in the order of the offers, CPUs as init_vp_index chose them, no row for the mouse."""

MESSAGES = 43
"""VERSION_RESPONSE, 15 OFFERCHANNEL, ALLOFFERS, 13 GPADL_CREATED, 13 OPENCHANNEL_RESULT."""


def busy(observed: MakeVm, policy: Policy) -> ObservedVm:
    vm = observed(policy, sub_channels=True)
    for relid, count in SIGNALS.items():
        vm.signals(relid, count)
    return vm


def test_the_rows_of_the_patched_kernel_come_back_byte_for_byte(observed: MakeVm) -> None:
    vm = busy(observed, Policy.RFC)
    assert vm.lines() == ROWS
    assert vm.interrupts().splitlines()[0] == "           CPU0       CPU1       CPU2       CPU3       "


def test_every_signal_of_the_host_is_one_count_of_its_channel(observed: MakeVm) -> None:
    vm = busy(observed, Policy.RFC)
    for relid in (14, 15, 7, 9, 10, 11, 1, *range(23, 29)):
        assert sum(vm.row(relid)) == SIGNALS.get(relid, 0) == vm.tables.channels[relid].interrupts


def test_hyp_counts_the_messages_and_those_come_to_cpu_0(observed: MakeVm) -> None:
    vm = busy(observed, Policy.RFC)
    assert sum(vm.tables.cpus[0].messages) == MESSAGES
    assert [vm.hyp(cpu) for cpu in range(4)] == [MESSAGES, 0, 0, 0]


def test_without_the_patches_there_are_no_rows_and_hyp_has_every_interrupt_where_it_was_taken(observed: MakeVm) -> None:
    vm = busy(observed, Policy.LEGACY)
    assert vm.lines() == []
    assert sum(vm.hyp(cpu) for cpu in range(4)) == MESSAGES + sum(SIGNALS.values())
    assert [vm.hyp(cpu) for cpu in (1, 2, 3)] == [17 + 26, 8, 3 + 27]


def test_the_total_of_proc_stat_is_that_of_the_rows(observed: MakeVm) -> None:
    """TLB is left out of it; HYP is in since Linux 6.5."""
    for policy in Policy:
        vm = busy(observed, policy)
        table = parse_interrupts(vm.interrupts())
        rows = sum(sum(row.counts) for row in table.rows)
        tail = sum(sum(counts) for label, counts in table.tail.items() if label not in ("TLB", "MIS"))
        _, total, *numbers = show_stat_intr(vm.systems[0].irq_tables).split()
        assert int(total) == rows + tail
        assert len(numbers) == vm.systems[0].irq_tables.shared.nr_irqs
        assert sum(map(int, numbers)) == rows


def test_1030_more_offers_make_the_whole_table_four_wide_and_460_do_not(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    tables = vm.systems[0].irq_tables
    vm.signals(HEARTBEAT, 1)
    for number in range(1029):
        vm.host.offer(21 + number, HV_MOUSE_GUID)
        if number == 459:
            vm.settle()
            assert len(show_stat_intr(tables).split()) - 2 == tables.shared.nr_irqs == 492
            assert vm.lines()[1].startswith(" 25:          1")
    vm.host.offer(1050, HV_SCSI_GUID)
    vm.settle()
    vm.smp_affinity(1050, 0b100)
    vm.settle()
    vm.signals(1050, 48)
    assert tables.shared.nr_irqs == 1062
    lines = vm.interrupts().splitlines()
    assert lines[0] == "            CPU0       CPU1       CPU2       CPU3       "
    assert lines[2] == "  25:          1          0          0          0     VMBus    7  heartbeat"
    assert "1061:          0          0         48          0     VMBus 1050  pri@storvsc1036" in lines
    assert " ERR:          0" in lines


def test_a_relid_of_four_digits_pushes_the_name_to_the_right(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    vm.host.offer(2047, HV_VSS_GUID)
    vm.settle()
    assert vm.lines()[-1].endswith("     VMBus 2047  vss")


class Silent(Opener):
    """Drivers whose host does not answer: the probe closes the channel again and fails."""

    name = "hv_balloon"
    id_table = (HV_KBD_GUID,)

    async def probe(self, device: VmbusDevice) -> None:
        await device.channel.open(8192, 8192)
        await device.channel.close()
        raise VmbusError(errno.ETIMEDOUT, "the host did not answer")


def test_d1_the_row_of_a_failed_probe_stays_with_its_name_until_the_rescind(observed: MakeVm) -> None:
    vm = observed(Policy.RFC, driver=Silent)
    vm.host.offer(40, HV_KBD_GUID)
    vm.settle()
    name = vm.channel(40).device.name
    assert vm.log[-2:] == [
        f"hv_vmbus: probe failed for device {name} (-110)",
        f"hv_balloon {name}: probe with driver hv_balloon failed with error -110",
    ]
    vm.signals(40, 2, vp=0)
    assert vm.lines() == [" 32:          2          0          0          0     VMBus  40  keyboard"]
    vm.host.rescind(40)
    vm.settle()
    assert vm.lines() == []


def test_a_windows_only_offer_has_no_row_and_no_number(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    before = vm.lines()
    vm.host.offer(44, HV_RDV_GUID)
    vm.settle()
    assert vm.lines() == before
    assert vm.bus.channels.get(44) is None


def test_hv_sock_channels_have_a_row_each_until_they_are_rescinded(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    for relid in (60, 61):
        vm.host.offer(relid, HV_MOUSE_GUID, flags=ChannelFlags.TLNPI_PROVIDER_OFFER)
        vm.settle()
        assert vm.bind(relid)
    assert [line[-18:] for line in vm.lines()[-2:]] == ["VMBus  60  hv_sock", "VMBus  61  hv_sock"]
    assert vm.target(60) == vm.target(61) == 0
    assert vm.smp_affinity(60, 0b10) == 0
    vm.settle()
    vm.signals(60, 1)
    assert vm.row(60) == [0, 1, 0, 0]
    vm.host.rescind(60)
    vm.settle()
    assert [line[-18:] for line in vm.lines()[-1:]] == ["VMBus  61  hv_sock"]
    assert vm.host.names()[-2:] == ["CLOSECHANNEL", "RELID_RELEASED"]


def test_numbers_follow_the_offers_and_no_name_directory_comes_before_the_first_open(observed: MakeVm) -> None:
    vm = observed(Policy.RFC)
    assert [vm.irq(relid) for relid in (STORVSC0, HEARTBEAT, SHUTDOWN, TIMESYNC, MOUSE, STORVSC1)] == [
        24, 25, 26, 27, 30, 31,
    ]  # fmt: skip
    assert not vm.systems[0].irq_tables.descs[30].in_proc
