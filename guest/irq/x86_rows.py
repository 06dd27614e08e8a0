"""The rows that x86 prints below the numbered ones (``arch_show_interrupts``, arch/x86/kernel/irq.c of Linux 6.10).

Which of them a guest shows depends on its configuration and on the vectors it installed; their order never does.
"""

from __future__ import annotations

from typing import Final

PER_CPU_ROWS: Final = {
    "NMI": "Non-maskable interrupts",
    "LOC": "Local timer interrupts",
    "SPU": "Spurious interrupts",
    "PMI": "Performance monitoring interrupts",
    "IWI": "IRQ work interrupts",
    "RTR": "APIC ICR read retries",
    "PLT": "Platform interrupts",
    "RES": "Rescheduling interrupts",
    "CAL": "Function call interrupts",
    "TLB": "TLB shootdowns",
    "TRM": "Thermal event interrupts",
    "THR": "Threshold APIC interrupts",
    "DFR": "Deferred Error APIC interrupts",
    "MCE": "Machine check exceptions",
    "MCP": "Machine check polls",
    "HYP": "Hypervisor callback interrupts",
    "HRE": "Hyper-V reenlightenment interrupts",
    "HVS": "Hyper-V stimer0 interrupts",
    "PIN": "Posted-interrupt notification event",
    "NPI": "Nested posted-interrupt event",
    "PIW": "Posted-interrupt wakeup event",
    "PMN": "Posted MSI notification event",
}
"""Label to text, in order, except that ERR and MIS stand between HVS and PIN."""

SINGLE_ROWS: Final = ("ERR", "MIS")
"""One number for the whole machine, no text."""

ORDER: Final = tuple(label for row in PER_CPU_ROWS for label in ((*SINGLE_ROWS, row) if row == "PIN" else (row,)))

IN_PROC_STAT: Final = frozenset(PER_CPU_ROWS) - {"TLB", "DFR", "PIN", "NPI", "PIW", "PMN"}
"""What ``arch_irq_stat_cpu`` adds to /proc/stat's total; HYP, HRE and HVS are in since Linux 6.5."""
