"""What the CPUs share of the VMBus, as words of kernel memory: the connection, the channels by relid, the counts.

``struct vmbus_connection`` (drivers/hv/hyperv_vmbus.h) and ``struct vmbus_channel`` (include/linux/hyperv.h).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from guest.kernel.memory import Array, Bytes, KernelMemory, Struct, Table, Text, Word
from guest.kernel.tasklet import TaskletWords
from guest.kernel.wait import CompletionWords, MutexWords

MAX_CHANNEL_RELIDS = 2048
"""relids are the event flags of one SINT; 0 is no channel."""
VMBUS_CONNECT_CPU = 0
OFFER_BYTES = 200
DRIVER_WORDS = 64
"""Words that the driver of a channel may lay out as it likes."""


class ConnectionState(IntEnum):
    """``enum vmbus_connect_state``."""

    DISCONNECTED = 0
    CONNECTING = 1
    CONNECTED = 2


class ChannelState(IntEnum):
    """``enum vmbus_channel_state``. OPEN means "closed, may be opened", OPENED means "in use"."""

    OFFER = 0
    OPENING = 1
    OPEN = 2
    OPENED = 3


class CallbackMode(IntEnum):
    """``enum hv_callback_mode``: how the interrupt of a channel reaches its driver.

    BATCHED: signals of the host masked at once, callback in a tasklet, unmask and look again. DIRECT: tasklet alone.
    ISR: callback inside the interrupt.
    """

    BATCHED = 0
    DIRECT = 1
    ISR = 2


class VmbusConnectionWords(Struct):
    """``vmbus_connection`` and the static variables around it."""

    conn_state = Word("connect CPU")
    version = Word("connect CPU")  # asked for while connecting, agreed on afterwards (vmbus_proto_version)
    msg_conn_id = Word("connect CPU")
    offer_in_progress = Word("connect CPU")  # offers taken from the slot whose channel is not in the list yet
    next_gpadl_handle = Word("channelmsg_lock")
    next_numa_node_id = Word("channel_mutex")
    synic_online = Word("set_affinity_lock")  # patch 12
    next_cpu = Word("set_affinity_lock")  # patch 10: the CPU picked last, for all channels
    modchan_sent = Word("set_affinity_lock")  # patch 11
    modchan_completed = Word("connect CPU")  # patch 11


class ChannelWords(Struct):
    """``struct vmbus_channel``, indexed by relid. All zero while there is no channel of that relid."""

    live = Word("channel_mutex")
    state = Word("opener; channel_mutex")
    target_cpu = Word("channel_mutex; set_affinity_lock")
    irq = Word("channel_mutex")  # 0: none
    irq_requested = Word("opener; channel_mutex")
    rescind = Word("connect CPU")
    rescind_ref = Word("channel_mutex")
    probe_done = Word("connect CPU")
    callback = Word("sched_lock; 0 also by the callback itself")  # onchannel_callback is not NULL
    callback_mode = Word("driver, before open")
    sc_creation_callback = Word("driver")  # wanted: sub-channels are to be handed to the driver
    interrupts = Word("sched_lock")  # sysfs interrupts: callbacks dispatched
    no_callback = Word("sched_lock")  # interrupts that found the callback NULL
    intr_out_empty = Word("outbound lock")  # sysfs, as the next three: signals for packets in a ring that was empty
    intr_in_full = Word("outbound lock")  # signals for room in a ring that was full
    out_full_total = Word("outbound lock")  # packets that found no room
    out_full_first = Word("outbound lock")  # of those, the first after one that did
    senders_waiting = Word("outbound lock")  # somebody found no room in the ring and waits for the callback
    sub_channel_index = Word("channel_mutex")
    primary_relid = Word("channel_mutex")  # 0: it is a primary
    driver = Word("connect CPU")  # position in the list of drivers + 1; 0: none bound
    ring_pfn = Word("opener")  # first page of both rings, 0: none
    ring_pages = Word("opener")
    ring_init = Word("opener")  # both rings are initialised: a CPU may map them
    send_pages = Word("opener")
    gpadl = Word("opener")  # ringbuffer_gpadlhandle
    irq_name = Text(32, "channel_mutex; driver, before open")  # VMBUS_CHAN_IRQ_NAME_MAX
    offer = Bytes(OFFER_BYTES, "channel_mutex")  # the OFFERCHANNEL message
    driver_area = Array(DRIVER_WORDS, "driver")

    @property
    def events(self) -> int:
        """``sig_events``, sysfs ``events``: signals sent to the host."""
        return self.intr_out_empty + self.intr_in_full


class FormerChannelWords(Struct):
    """What the channels counted that had a relid before, added up when each is removed (Linux forgets it)."""

    interrupts = Word("channel_mutex")
    no_callback = Word("channel_mutex")
    events = Word("channel_mutex")
    irq_count = Word("channel_mutex")  # on all CPUs
    irq_bad = Word("channel_mutex")  # part of irq_count
    irq_uncounted = Word("channel_mutex")  # dropped or pended, and not replayed


class VmbusCpuWords(Struct):
    """What the VMBus interrupt of one CPU has found.

    bits_cleared = bit_zero + unmapped + rescinded + d, where d are those that reach the channel: for legacy
    d = no_callback + dispatched; with channel IRQs d = flow-handler runs - replayed, and of the runs that the
    IRQ core lets through (see ``IrqCpuStat``) no_callback + dispatched are left.
    """

    interrupts = Word("this CPU")
    with_message = Word("this CPU")
    spurious = Word("this CPU")  # neither a bit nor a message
    bits_cleared = Word("this CPU")
    bit_zero = Word("this CPU")
    unmapped = Word("this CPU")
    rescinded = Word("this CPU")
    no_callback = Word("this CPU")
    dispatched = Word("this CPU")
    messages_bad = Word("this CPU")  # too short, too long, unknown
    messages_unhandled = Word("this CPU")  # known, and nothing is done with it
    messages = Array(32, "this CPU")  # control messages taken, by CHANNELMSG number
    posted = Array(32, "this CPU")  # control messages that the host took, by CHANNELMSG number
    unreached = Array(
        MAX_CHANNEL_RELIDS, "this CPU"
    )  # by relid: flags cleared that found no channel, or a rescinded one


class NumaNodeWords(Struct):
    """``hv_context.hv_numa_map[node]``."""

    cpus = Word("boot, every CPU the same")  # cpumask_of_node
    allocated = Word("hv_numa_map lock")


class DriverWords(Struct):
    """A driver that the guest has, in the order in which drivers are asked."""

    name = Text(32, "boot, every CPU the same")
    outside = Word("boot, every CPU the same")
    """It is not of the tree: nobody else knows how its words of a channel are laid out."""


class MsgInfoWords(CompletionWords):
    """``struct vmbus_channel_msginfo``: a message to the host whose answer is waited for."""

    number = Word("channelmsg_lock")  # CHANNELMSG number of the request; 0: the slot is free
    relid = Word("channelmsg_lock")  # waiting_channel, 0: none
    id = Word("channelmsg_lock")  # open id or GPADL
    status = Word("connect CPU")  # of the answer
    value = Word("connect CPU")  # of the answer: the connection id of a version response


class ChannelTasklet(TaskletWords):
    """``callback_event`` of a channel."""


class MsgDpc(TaskletWords):
    """``hv_per_cpu_context.msg_dpc``."""


class DeviceLock(MutexWords):
    """``device_lock`` of the device of a primary channel."""


class RescindEvent(CompletionWords):
    """``rescind_event`` of a channel."""


REQUESTS = 256
"""Linux allocates a request when it needs one; more than this at a time get ENOMEM here."""


@dataclass(frozen=True, slots=True)
class VmbusTables:
    """Where the tables lie: placed alike by every CPU, found by name by readers that have no CPU."""

    connection: VmbusConnectionWords
    channels: Table[ChannelWords]
    former: Table[FormerChannelWords]
    callback_events: Table[ChannelTasklet]
    rescind_events: Table[RescindEvent]
    device_locks: Table[DeviceLock]
    requests: Table[MsgInfoWords]
    numa: Table[NumaNodeWords]
    drivers: Table[DriverWords]
    cpus: Table[VmbusCpuWords]
    msg_dpcs: Table[MsgDpc]

    @classmethod
    def place(cls, memory: KernelMemory, nr_cpu_ids: int, nodes: int, drivers: int) -> VmbusTables:
        return cls(
            memory.one(VmbusConnectionWords),
            memory.table(ChannelWords, MAX_CHANNEL_RELIDS),
            memory.table(FormerChannelWords, MAX_CHANNEL_RELIDS),
            memory.table(ChannelTasklet, MAX_CHANNEL_RELIDS),
            memory.table(RescindEvent, MAX_CHANNEL_RELIDS),
            memory.table(DeviceLock, MAX_CHANNEL_RELIDS),
            memory.table(MsgInfoWords, REQUESTS),
            memory.table(NumaNodeWords, nodes),
            memory.table(DriverWords, drivers),
            memory.table(VmbusCpuWords, nr_cpu_ids),
            memory.table(MsgDpc, nr_cpu_ids),
        )

    @classmethod
    def find(cls, memory: KernelMemory) -> VmbusTables:
        """Raises ``LookupError`` if no guest has placed them."""
        return cls(
            memory.find(VmbusConnectionWords)[0],
            memory.find(ChannelWords),
            memory.find(FormerChannelWords),
            memory.find(ChannelTasklet),
            memory.find(RescindEvent),
            memory.find(DeviceLock),
            memory.find(MsgInfoWords),
            memory.find(NumaNodeWords),
            memory.find(DriverWords),
            memory.find(VmbusCpuWords),
            memory.find(MsgDpc),
        )
