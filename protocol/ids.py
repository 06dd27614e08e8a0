"""Numbers that must not be mixed up are types of their own, so that a mix-up is a type error.

The VP index is what the hypervisor calls a virtual processor, the CPU number is what Linux calls it, and neither
is a process number. On this machine they often have equal values, which is why the difference needs types.
"""

from typing import NewType

VpIndex = NewType("VpIndex", int)
Cpu = NewType("Cpu", int)
Relid = NewType("Relid", int)
GpadlId = NewType("GpadlId", int)
ConnectionId = NewType("ConnectionId", int)
Sint = NewType("Sint", int)
Pfn = NewType("Pfn", int)
Irq = NewType("Irq", int)

PAGE_SIZE = 4096
"""The VMBus page, whatever the guest's own page size is (``HV_HYP_PAGE_SIZE``)."""
