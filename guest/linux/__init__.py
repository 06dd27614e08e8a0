"""A guest of another kind: an unmodified Linux kernel, run by an unmodified QEMU, under a small shim of ours.

QEMU's TCG executes x86 but knows nothing of Hyper-V. It does emulate AMD's SVM, so the shim is the firmware of the
machine and a hypervisor of a few hundred instructions: it runs the kernel as an SVM guest that owns everything, and
hands what only Hyper-V has (CPUID leaves, MSRs, hypercalls) to the bridge process through a mailbox in guest RAM.
"""
