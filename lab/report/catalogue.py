"""The invariants that a report can judge, by number.

The numbers with an I are those of docs/fidelity.md, which also says where the rest is checked: what needs an
observation over time is a scenario of the simulation. L are the laboratory's own links.
"""

from typing import Final

CATALOGUE: Final[dict[str, str]] = {
    "I1": "no ring with data is left to nobody",
    "I2": "no event flag is set on a CPU that is offline",
    "I3": "every channel has one IRQ, every VMBus IRQ one channel, hwirq = relid",
    "I4": "a relid leads to a channel exactly while there is one, on every CPU",
    "I5": "every target is online, has a SynIC, and is a housekeeping CPU or the connect CPU",
    "I6": "effective affinity is the target",
    "I7": "the host interrupts the CPU that the guest thinks",
    "I8": "sysfs cpu, effective_affinity_list and channel_vp_mapping say the same",
    "I9": "what the IRQ core counted is what channels were called for",
    "I10": "a signal sent is merged, cleared by the scan, or still set",
    "I11": "a flag cleared is handled, or dropped for a reason that is counted",
    "I12": "HYP counts what it should",
    "I13": "the total of /proc/stat is the sum of /proc/interrupts",
    "I15": "every MODIFYCHANNEL is received, answered and heard",
    "I18": "a CPU is online exactly while its SynIC is",
    "I19": "an IRQ is requested exactly while its channel is open",
    "I20": "relids and /proc/irq directories go with their channel",
    "I21": "a closed channel leaves neither affinity hint nor action",
    "I25": "a CPU marked in the NUMA map is the target of a performance-critical channel",
    "I26": "every control message posted is processed once",
    "I27": "/proc/interrupts reads back as what was counted",
    "I28": "the offer of an unwanted device leaves no trace",
    "L1": "what the host sends, the port receives",
    "L2": "vectors delivered are handlers run",
    "L3": "a doorbell rung is heard, or finds nobody any more",
    "L4": "a service that asks is answered",
    "L5": "bytes written into a ring are read, or still in it",
    "L6": "the disk holds what was read and written",
    "L7": "what a small device has sent or been given is what its driver has counted",
    "L8": "a frame that one end of a NIC has counted the other has too, or its channel was closed under it",
    "L9": "a SCSI request that the host has answered storvsc has completed",
}
