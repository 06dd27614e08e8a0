/*
 * The way into the shim, the way into the guest, and the place where idle processors wait.
 *
 * Every processor starts here in real mode: the first one at the reset vector, the others at the page that the
 * start-up interrupt names, which is in this ROM too.
 */

#define CODE32 0x08
#define DATA   0x10
#define CODE64 0x18

#define MSR_EFER  0xC0000080
#define EFER_LME  (1 << 8)
#define EFER_SVME (1 << 12)
#define CR0_PE    (1 << 0)
#define CR0_ET    (1 << 4)
#define CR0_NE    (1 << 5)
#define CR0_PG    (1 << 31)
#define CR4_PAE   (1 << 5)

    .section .entry, "ax"
    .code16
entry:
    cli
    lgdtl %cs:(gdt_pointer - entry)
    movl $(CR0_PE | CR0_ET | CR0_NE), %eax
    movl %eax, %cr0
    ljmpl $CODE32, $protected

    .code32
protected:
    movl $DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $CR4_PAE, %eax
    movl %eax, %cr4
    movl $PAGE_TABLES, %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    movl $(EFER_LME | EFER_SVME), %eax
    xorl %edx, %edx
    wrmsr
    movl $(CR0_PE | CR0_ET | CR0_NE | CR0_PG), %eax
    movl %eax, %cr0
    ljmpl $CODE64, $long_mode

    .code64
long_mode:
    movl $1, %eax
    cpuid
    shrl $24, %ebx                  /* the APIC id, which is the VP index */
    imull $VP_STRIDE, %ebx, %edi
    addl $VPS, %edi
    leaq STACK_END(%rdi), %rsp
    movl %ebx, %esi
    jmp shim

    .balign 8
gdt:
    .quad 0
    .quad 0x00CF9B000000FFFF        /* CODE32 */
    .quad 0x00CF93000000FFFF        /* DATA */
    .quad 0x00AF9B000000FFFF        /* CODE64 */
gdt_pointer:
    .word . - gdt - 1
    .long gdt

    .section .reset, "ax"
    .code16
    ljmp $0xFF00, $0                /* entry, by the copy of the ROM below 1 MiB */
    .balign 16

/*
 * void enter(struct registers *guest, uint64_t vmcb): run the guest until its next intercept.
 *
 * VMRUN switches RAX and RSP and what the VMCB holds; the other general registers are ours to switch. Everything else
 * (segment bases, system-call MSRs, floating point) stays the guest's, for the shim does not use it.
 */
    .section .text
    .code64
    .globl enter
enter:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rdi
    movq %rsi, %rax
    movq 0x00(%rdi), %rbx
    movq 0x08(%rdi), %rcx
    movq 0x10(%rdi), %rdx
    movq 0x18(%rdi), %rsi
    movq 0x28(%rdi), %rbp
    movq 0x30(%rdi), %r8
    movq 0x38(%rdi), %r9
    movq 0x40(%rdi), %r10
    movq 0x48(%rdi), %r11
    movq 0x50(%rdi), %r12
    movq 0x58(%rdi), %r13
    movq 0x60(%rdi), %r14
    movq 0x68(%rdi), %r15
    movq 0x20(%rdi), %rdi
    vmrun %rax
    pushq %rdi
    movq 8(%rsp), %rdi
    popq 0x20(%rdi)
    movq %rbx, 0x00(%rdi)
    movq %rcx, 0x08(%rdi)
    movq %rdx, 0x10(%rdi)
    movq %rsi, 0x18(%rdi)
    movq %rbp, 0x28(%rdi)
    movq %r8, 0x30(%rdi)
    movq %r9, 0x38(%rdi)
    movq %r10, 0x40(%rdi)
    movq %r11, 0x48(%rdi)
    movq %r12, 0x50(%rdi)
    movq %r13, 0x58(%rdi)
    movq %r14, 0x60(%rdi)
    movq %r15, 0x68(%rdi)
    popq %rdi
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

/*
 * Where a processor waits as part of the guest until the mailbox of ACPI's multiprocessor wake-up structure calls it:
 * at the start, and again when Linux has taken it offline and jumped to the structure's reset vector. It comes with
 * whatever page tables map this page and the mailbox; it has no stack.
 */
#define COMMAND 0
#define APIC_ID 4
#define VECTOR  8
#define NOOP    0
#define WAKEUP  1
#define TEST    2
#define CR4_PCIDE_BIT 17

    .section .park, "ax"
park:
    cli
    movq %cr4, %rax
    btrq $CR4_PCIDE_BIT, %rax       /* the next owner loads page tables that know nothing of PCIDs */
    movq %rax, %cr4
    movl $1, %eax
    cpuid
    shrl $24, %ebx
    movabsq $WAKEUP_MAILBOX, %rdi
1:  pause
    movzwl COMMAND(%rdi), %eax
    testl %eax, %eax
    jz 1b
    cmpl %ebx, APIC_ID(%rdi)
    jne 1b
    movq VECTOR(%rdi), %rdx
    movw $NOOP, COMMAND(%rdi)       /* tells Linux that we have heard */
    cmpl $WAKEUP, %eax
    jne 1b
    jmp *%rdx
