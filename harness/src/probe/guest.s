# The probe's guest: a ROM that QEMU starts at the reset vector (-bios). It enters long mode, says "begin" on the first serial
# port, does a fixed amount of the work that a kernel's early boot consists of, says "end" with the number of exceptions that
# it took, and halts.
#
# AT&T syntax: it tells constants ($) from memory, which expressions of label differences need. Every address is a constant
# plus a distance between labels: the assembler knows it, and nothing is left to relocate in whatever program this is linked
# into. Bits and layouts are those of the Intel SDM, volume 3A: reset state 11.1.4, entry to long mode 11.8.5, gates 7.14.1,
# page tables 5.5. Ports are those of the PC: 0x92 fast A20, 0x80 POST codes, 0x3f8 the first 16550.
#
# In braces: numbers of rom.rs, which has their meaning.

    .section .rodata.kdump_rig_probe, "a", @progbits
    .globl kdump_rig_probe_begin, kdump_rig_probe_end
    .balign 16
kdump_rig_probe_begin:

    # The reset vector jumps here: real mode, CS based at the ROM, no stack.
    .code16
    cli
    cld
    lgdtl %cs:(.Lgdt_in_rom - kdump_rig_probe_begin)
    movl %cr0, %eax
    andl $0x9fffffff, %eax              # CR0.CD and CR0.NW off: caches work, as firmware leaves them
    orl $0x1, %eax                      # CR0.PE
    movl %eax, %cr0
    ljmpl $0x08, $({ROM} + .Lprotected - kdump_rig_probe_begin)

    .code32
.Lprotected:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    inb $0x92, %al                      # A20 on, and no reset (bit 0)
    orb $0x2, %al
    andb $0xfe, %al
    outb %al, $0x92
    # Into RAM, where kernels run.
    movl ${ROM}, %esi
    movl ${IMAGE}, %edi
    movl $((kdump_rig_probe_end - kdump_rig_probe_begin) / 4), %ecx
    rep movsl
    ljmpl $0x08, $({IMAGE} + .Lin_ram - kdump_rig_probe_begin)
.Lin_ram:
    # Tables: the first GiB as it is, in pages of 2 MiB; at 1 GiB a window of 512 pages of 4 KiB, none of them present yet.
    movl ${PML4}, %edi
    xorl %eax, %eax
    movl $(5 * 4096 / 4), %ecx
    rep stosl
    movl $({PML4} + 0x1000 + 0x3), {PML4}               # PDPT; present, writable
    movl $({PML4} + 0x2000 + 0x3), {PML4} + 0x1000      # PD of the first GiB
    movl $({PML4} + 0x3000 + 0x3), {PML4} + 0x1008      # PD of the window
    movl $({WINDOW_PT} + 0x3), {PML4} + 0x3000
    movl $({PML4} + 0x2000), %edi
    movl $0x83, %eax                                    # present, writable, 2 MiB
    movl $512, %ecx
1:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    decl %ecx
    jnz 1b
    movl ${PML4}, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax                     # CR4.PAE
    movl %eax, %cr4
    movl $0xc0000080, %ecx              # EFER
    rdmsr
    orl $0x100, %eax                    # EFER.LME
    wrmsr
    movl %cr0, %eax
    orl $0x80000000, %eax               # CR0.PG
    movl %eax, %cr0
    lgdtl {IMAGE} + .Lgdt_in_ram - kdump_rig_probe_begin
    ljmpl $0x18, $({IMAGE} + .Llong - kdump_rig_probe_begin)

    .code64
.Llong:
    movl ${IMAGE}, %esp                 # the stack lies below the image
    lidt .Lidt_pointer(%rip)
    xorl %r14d, %r14d                   # exceptions taken
    leaq .Lsays_begin(%rip), %rsi
    call .Lsay

    movl ${ROUNDS}, %r15d
.Lround:
    # What a decompressor does: bits out of a word, a byte through a table (the image will do), a match copied from what was
    # written before.
    movl $1, %eax
    movl ${BUFFER}, %edi
    movl ${SYMBOLS}, %r8d
2:  imull $1103515245, %eax, %eax       # the generator of ISO C's example of rand(), 7.24.2
    addl $12345, %eax
    movl %eax, %edx
    shrl $24, %edx
    movzbl {IMAGE}(%rdx), %ecx
    movb %cl, (%rdi)
    movq %rdi, %rsi
    subq %rdx, %rsi
    movq -16(%rsi), %rbx
    movq %rbx, 1(%rdi)
    addq $3, %rdi
    decl %r8d
    jnz 2b

    # Pages cleared and an image moved.
    movl ${BUFFER}, %edi
    xorl %eax, %eax
    movl $({BULK} / 8), %ecx
    rep stosq
    movl ${BUFFER}, %esi
    movl $({BUFFER} + {BULK}), %edi
    movl $({BULK} / 8), %ecx
    rep movsq

    # Code that is new and runs once, as most of a boot's does: what an emulator that translates is slowest at.
    movl ${CODE}, %edi
    movl ${COPIES}, %r8d
4:  leaq .Lonce(%rip), %rsi
    movl $(.Lonce_end - .Lonce), %ecx
    rep movsb
    decl %r8d
    jnz 4b
    movb $0xc3, (%rdi)                  # ret
    movl ${BUFFER}, %ebx
    movl ${CODE}, %eax
    call *%rax

    # The window mapped page by page, each touched and flushed.
    movl ${WINDOW_PT}, %edi
    movl $({FRAMES} + 0x3), %eax
    movl ${WINDOW}, %esi
    movl $512, %r8d
5:  movq %rax, (%rdi)
    invlpg (%rsi)
    addl %eax, (%rsi)
    addl $0x1000, %eax
    addl $0x1000, %esi
    addq $8, %rdi
    decl %r8d
    jnz 5b

    # Unmapped as a whole, then mapped by the page-fault handler as it is touched, as the early kernel builds its direct map.
    movl ${WINDOW_PT}, %edi
    xorl %eax, %eax
    movl $512, %ecx
    rep stosq
    movq %cr3, %rax
    movq %rax, %cr3
    movl ${WINDOW}, %esi
    movl ${FAULTS}, %r8d
6:  incl (%rsi)
    addl $0x1000, %esi
    decl %r8d
    jnz 6b

    # Address spaces switched, features and model-specific registers asked, ports polled, traps taken.
    movl ${PRIVILEGED}, %r8d
7:  movq %cr3, %rax
    movq %rax, %cr3
    xorl %eax, %eax
    cpuid
    movl $0x80000001, %eax
    cpuid
    movl $0x1b, %ecx                    # IA32_APIC_BASE
    rdmsr
    movl $0x277, %ecx                   # IA32_PAT, written back as it is
    rdmsr
    wrmsr
    movw $0x3fd, %dx                    # line status of the first serial port
    inb %dx, %al
    outb %al, $0x80
    int3
    ud2
    decl %r8d
    jnz 7b

    decl %r15d
    jnz .Lround

    leaq .Lsays_end(%rip), %rsi
    call .Lsay
    movl $8, %r8d
8:  roll $4, %r14d
    movl %r14d, %ecx
    andl $0xf, %ecx
    leaq .Ldigits(%rip), %rsi
    movb (%rsi,%rcx), %al
    call .Lput
    decl %r8d
    jnz 8b
    movb $'\n', %al
    call .Lput
9:  cli
    hlt
    jmp 9b

# Says the text at RSI, which ends with a NUL.
.Lsay:
    lodsb
    testb %al, %al
    jz 9f
    call .Lput
    jmp .Lsay
9:  ret

# Writes AL to the first serial port.
.Lput:
    movb %al, %bl
    movw $0x3fd, %dx
1:  inb %dx, %al
    testb $0x20, %al                    # transmit holding register empty
    jz 1b
    movb %bl, %al
    movw $0x3f8, %dx
    outb %al, %dx
    ret

# A piece of the code that runs once, of the kinds of instructions that compilers make. RBX is where it may write.
.Lonce:
    addl %eax, %edx
    movl %edx, 8(%rbx)
    leal 7(%rax, %rcx), %esi
    cmpl %esi, %edx
    jb 1f
    xorl %esi, %ecx
1:  movl 4(%rbx), %eax
    shrl $3, %eax
    addq $1, (%rbx)
    testb $1, %cl
    je 2f
    subl $5, %ecx
2:  movzwl %ax, %edx
    orl $0x10, %eax
    pushq %rdx
    popq %rcx
.Lonce_end:

.Lon_breakpoint:
    incl %r14d
    iretq

.Lon_undefined:
    incl %r14d
    addq $2, (%rsp)                     # over the ud2
    iretq

.Lon_page_fault:
    incl %r14d
    pushq %rax
    pushq %rcx
    movq %cr2, %rcx
    shrl $12, %ecx
    andl $511, %ecx
    movl %ecx, %eax
    shll $12, %eax
    addl $({FRAMES} + 0x3), %eax
    movq %rax, {WINDOW_PT}(, %rcx, 8)
    popq %rcx
    popq %rax
    addq $8, %rsp                       # the error code
    iretq

    # Marked as accessed (bit 40) already: the CPU would write that mark, and the first table lies in ROM.
    .balign 8
.Lgdt:
    .quad 0
    .quad 0x00cf9b000000ffff            # 0x08: code, 32 bits, flat
    .quad 0x00cf93000000ffff            # 0x10: data, flat
    .quad 0x00af9b000000ffff            # 0x18: code, 64 bits
.Lgdt_in_rom:
    .word 4 * 8 - 1
    .long {ROM} + .Lgdt - kdump_rig_probe_begin
.Lgdt_in_ram:
    .word 4 * 8 - 1
    .long {IMAGE} + .Lgdt - kdump_rig_probe_begin

    # Interrupt gates of the three exceptions that are meant to come. Any other finds none, and shuts the machine down.
    .macro gate handler
    .word \handler - kdump_rig_probe_begin, 0x18, 0x8e00, {IMAGE} >> 16
    .quad 0
    .endm
    .balign 16
.Lidt:
    .fill 3 * 16, 1, 0
    gate .Lon_breakpoint                # 3, #BP
    .fill 2 * 16, 1, 0
    gate .Lon_undefined                 # 6, #UD
    .fill 7 * 16, 1, 0
    gate .Lon_page_fault                # 14, #PF
.Lidt_end:
    .purgem gate
.Lidt_pointer:
    .word .Lidt_end - .Lidt - 1
    .quad {IMAGE} + .Lidt - kdump_rig_probe_begin

.Lsays_begin:
    .asciz "kdump-rig probe: begin\n"
.Lsays_end:
    .asciz "kdump-rig probe: end "
.Ldigits:
    .ascii "0123456789abcdef"
    .balign 4
kdump_rig_probe_end:
    .text
