/*
 * The shim: firmware of the machine and hypervisor of its only guest.
 *
 * One loop per virtual processor. The guest owns everything, interrupts included; only CPUID, the MSRs at 0x4000xxxx,
 * VMMCALL and shutdown (a triple fault) come back here. CPUID is answered from a table; the rest goes to the bridge
 * through a mailbox in this VP's block, with a doorbell of the ivshmem device, and the processor spins until it has the
 * answer. Control blocks, page tables and the guest's first state lie ready in memory when the machine is switched on.
 *
 * AMD64 Architecture Programmer's Manual, volume 2, chapter 15 and appendix B.
 */

#include <stdint.h>

#define MSR_MTRR_DEFAULT 0x2FF
#define MSR_HOST_SAVE    0xC0010117
#define MSR_SINT0        0x40000090
#define EFER_SVME        (1u << 12)
#define CR4_OSXSAVE      (1u << 18)
#define CR4_PKE          (1u << 22)

#define LOW_GIB          0x87 /* page-table entry: present, writable, user, large, address 0 */

enum exit { EXIT_CPUID = 0x72, EXIT_MSR = 0x7C, EXIT_SHUTDOWN = 0x7F, EXIT_VMMCALL = 0x81, EXIT_NESTED_FAULT = 0x400 };

/* What the shim looks at in a virtual machine control block; the bridge has filled in the rest. */
struct vmcb {
    uint8_t control0[0x68];
    uint64_t interrupt_shadow; /* 0x068 */
    uint64_t exit_code;        /* 0x070 */
    uint64_t exit_info1;       /* 0x078 */
    uint64_t exit_info2;       /* 0x080 */
    uint8_t control1[0x20];
    uint64_t event_injection; /* 0x0A8 */
    uint8_t control2[0x420];
    uint64_t efer; /* 0x4D0 */
    uint8_t state0[0x70];
    uint64_t cr4; /* 0x548 */
    uint8_t state1[0x28];
    uint64_t rip; /* 0x578 */
    uint8_t state2[0x78];
    uint64_t rax; /* 0x5F8 */
};
_Static_assert(__builtin_offsetof(struct vmcb, event_injection) == 0x0A8, "vmcb");
_Static_assert(__builtin_offsetof(struct vmcb, efer) == 0x4D0, "vmcb");
_Static_assert(__builtin_offsetof(struct vmcb, cr4) == 0x548, "vmcb");
_Static_assert(__builtin_offsetof(struct vmcb, rax) == 0x5F8, "vmcb");

/* In the order in which enter() loads and stores them. */
struct registers {
    uint64_t rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15;
};

/* The mailbox; guest/linux/mailbox.py has the same picture. */
enum state { IDLE, REQUEST, ANSWER };
enum kind { STARTED, MSR_READ, MSR_WRITE, HYPERCALL, SHUTDOWN, UNEXPECTED };

struct mailbox {
    volatile uint64_t state;
    uint64_t kind;
    uint64_t arguments[3];
    uint64_t tsc;
    uint64_t result; /* of the bridge */
    uint64_t fault;  /* of the bridge: the instruction is to raise #GP */
    struct registers registers;
};

struct cpuid {
    uint32_t leaf, eax, ebx, ecx, edx;
};

void enter(struct registers *guest, uint64_t vmcb);

static void wrmsr(uint32_t msr, uint64_t value)
{
    asm volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

static uint64_t rdtsc(void)
{
    uint32_t low, high;
    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static volatile uint32_t *mmio(uint32_t base, uint32_t offset)
{
    return (volatile uint32_t *)(uintptr_t)(base + offset);
}

/* --- devices --------------------------------------------------------------------------------------------------- */

#define IVSHMEM   0x11101AF4
#define LPC       (31 << 11)
#define CAP_MSIX  0x11
#define MSIX_ON   (1u << 31)

static void pci_select(uint32_t address)
{
    asm volatile("outl %0, %1" : : "a"(address | 1u << 31), "Nd"((uint16_t)0xCF8));
}

static uint32_t pci_read(uint32_t address)
{
    uint32_t value;
    pci_select(address);
    asm volatile("inl %1, %0" : "=a"(value) : "Nd"((uint16_t)0xCFC));
    return value;
}

static void pci_write(uint32_t address, uint32_t value)
{
    pci_select(address);
    asm volatile("outl %0, %1" : : "a"(value), "Nd"((uint16_t)0xCFC));
}

/* Give the ivshmem device its addresses and switch its MSI-X on; all vectors stay masked. */
static void set_up_ivshmem(void)
{
    uint32_t device = 0, capability;

    while (pci_read(device) != IVSHMEM)
        device += 1 << 11;
    pci_write(device | 0x10, DOORBELL_BAR);
    pci_write(device | 0x14, MSIX_BAR);
    pci_write(device | 0x04, 6); /* memory, bus master */
    capability = pci_read(device | 0x34) & 0xFF;
    while ((pci_read(device | capability) & 0xFF) != CAP_MSIX)
        capability = pci_read(device | capability) >> 8 & 0xFF;
    pci_write(device | capability, pci_read(device | capability) | MSIX_ON);
}

/* Power management at its usual ports, so that the guest can switch the machine off. */
static void set_up_power_management(void)
{
    pci_write(LPC | 0x40, PM_BASE | 1);
    pci_write(LPC | 0x44, 0x80);
}

/*
 * Linux has touched the wake-up mailbox for the first time: it wants its other processors. Until now they were off, for
 * a processor that waits in the mailbox's loop costs as much as one that works. The mailbox lies in a window of
 * guest-physical memory whose page-table entry has been missing; from now on the window shows the low GiB. Then a
 * start-up interrupt to all others: they wait for one since the machine was switched on.
 */
static void first_wakeup(void)
{
    ((volatile uint64_t *)(uintptr_t)(PAGE_TABLES + 4096))[WAKEUP_WINDOW >> 30] = LOW_GIB;
    *mmio(LOCAL_APIC, 0x300) = 0xC4600 | 0xFF000 >> 12;
}

/* The guest has given a SINT of this VP a vector: the SINT's interrupt carries it from now on. */
static void route(uint32_t vp, uint32_t sint, uint64_t value)
{
    uint32_t entry = (vp * SINTS + sint) * 16;

    *mmio(MSIX_BAR, entry + 0) = LOCAL_APIC | vp << 12;
    *mmio(MSIX_BAR, entry + 4) = 0;
    *mmio(MSIX_BAR, entry + 8) = value & 0xFF;
    *mmio(MSIX_BAR, entry + 12) = value >> 16 & 1; /* masked */
}

/* --- intercepts ------------------------------------------------------------------------------------------------ */

/* Hand a request to the bridge and wait for its answer. True: the instruction is to fault. */
static int ask(uint32_t vp, struct mailbox *mailbox, enum kind kind, uint64_t a, uint64_t b, uint64_t c)
{
    mailbox->kind = kind;
    mailbox->arguments[0] = a;
    mailbox->arguments[1] = b;
    mailbox->arguments[2] = c;
    mailbox->tsc = rdtsc();
    asm volatile("" : : : "memory");
    mailbox->state = REQUEST;
    *mmio(DOORBELL_BAR, 12) = BRIDGE_PEER << 16 | vp;
    while (mailbox->state != ANSWER)
        asm volatile("pause" : : : "memory");
    mailbox->state = IDLE;
    return mailbox->fault != 0;
}

static void general_protection(struct vmcb *vmcb)
{
    vmcb->event_injection = 13 | 3 << 8 | 1 << 11 | 1u << 31;
}

static void cpuid(struct vmcb *vmcb, struct registers *guest)
{
    uint32_t eax = vmcb->rax, ebx = 0, ecx = guest->rcx, edx = 0, leaf = eax;

    if (leaf >> 16 == 0x4000) {
        const struct cpuid *known = (const struct cpuid *)(uintptr_t)CPUID_TABLE;
        while (known->leaf && known->leaf != leaf)
            known++;
        eax = known->eax, ebx = known->ebx, ecx = known->ecx, edx = known->edx;
    } else {
        asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    }
    /* Three bits mirror CR4, and it was the shim's CR4 that the processor looked at. */
    if (leaf == 1) {
        ecx = (ecx & ~(1u << 27)) | (vmcb->cr4 & CR4_OSXSAVE ? 1u << 27 : 0);
        ecx |= 1u << 31; /* there is a hypervisor */
    } else if (leaf == 7) {
        ecx = (ecx & ~(1u << 4)) | (vmcb->cr4 & CR4_PKE ? 1u << 4 : 0);
    } else if (leaf == 0x80000001) {
        ecx &= ~(1u << 2); /* SVM is taken */
    }
    vmcb->rax = eax, guest->rbx = ebx, guest->rcx = ecx, guest->rdx = edx;
    vmcb->rip += 2;
}

static void msr(uint32_t vp, struct vmcb *vmcb, struct mailbox *mailbox)
{
    struct registers *guest = &mailbox->registers;
    uint32_t number = guest->rcx;
    uint64_t value = guest->rdx << 32 | (uint32_t)vmcb->rax;
    int is_write = vmcb->exit_info1 & 1;

    if (ask(vp, mailbox, is_write ? MSR_WRITE : MSR_READ, number, value, 0)) {
        general_protection(vmcb);
        return;
    }
    if (!is_write) {
        vmcb->rax = (uint32_t)mailbox->result;
        guest->rdx = mailbox->result >> 32;
    } else if (number - MSR_SINT0 < SINTS) {
        route(vp, number - MSR_SINT0, value);
    }
    vmcb->rip += 2;
}

static void intercepted(uint32_t vp, struct vmcb *vmcb, struct mailbox *mailbox)
{
    struct registers *guest = &mailbox->registers;

    if (vmcb->exit_code == EXIT_NESTED_FAULT && vmcb->exit_info2 >> 30 == WAKEUP_WINDOW >> 30) {
        first_wakeup();
        return;
    }
    vmcb->interrupt_shadow = 0; /* the instruction that was intercepted is the one it covered */
    switch (vmcb->exit_code) {
    case EXIT_CPUID:
        cpuid(vmcb, guest);
        break;
    case EXIT_MSR:
        msr(vp, vmcb, mailbox);
        break;
    case EXIT_VMMCALL:
        ask(vp, mailbox, HYPERCALL, guest->rcx, guest->rdx, guest->r8);
        vmcb->rax = mailbox->result;
        vmcb->rip += 3;
        break;
    case EXIT_SHUTDOWN:
        ask(vp, mailbox, SHUTDOWN, vmcb->rip, 0, 0);
        break;
    default:
        ask(vp, mailbox, UNEXPECTED, vmcb->exit_code, vmcb->exit_info1, vmcb->exit_info2);
    }
}

/* One virtual processor, for ever. */
void shim(unsigned char *block, uint32_t vp)
{
    struct vmcb *vmcb = (struct vmcb *)(block + VMCB);
    struct mailbox *mailbox = (struct mailbox *)(block + MAILBOX);

    wrmsr(MSR_MTRR_DEFAULT, 0x806); /* memory is write-back; without any setting Linux distrusts its page attributes */
    wrmsr(MSR_HOST_SAVE, (uintptr_t)(block + HOST_SAVE));
    if (vp == 0) {
        set_up_power_management();
        set_up_ivshmem();
        ask(vp, mailbox, STARTED, 0, 0, 0);
    }
    for (;;) {
        vmcb->efer |= EFER_SVME; /* VMRUN insists on it, and Linux writes EFER without it */
        enter(&mailbox->registers, (uintptr_t)vmcb);
        intercepted(vp, vmcb, mailbox);
    }
}
