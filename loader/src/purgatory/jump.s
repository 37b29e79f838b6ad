/*
 * The way from the crashed kernel's jump to the capture kernel's entry. Its first instruction is the purgatory's first byte, where
 * an x86_64 kernel jumps to.
 */

    .globl  kexec_load_purgatory_start, kexec_load_purgatory_entry32, kexec_load_purgatory_data
    .hidden kexec_load_purgatory_start, kexec_load_purgatory_entry32, kexec_load_purgatory_data

    /* Page table entries: present and writable; and a page of 2 MiB (AMD64 manual volume 2, 5.4). */
    .set    PAGE, 4096
    .set    PTE_TABLE, 0x03
    .set    PTE_2MIB, 0x83

    .macro  load_data_segments
    movl    ${data_selector}, %eax
    movl    %eax, %ds
    movl    %eax, %es
    movl    %eax, %fs
    movl    %eax, %gs
    movl    %eax, %ss
    .endm

    /* What the boot protocol wants to be zero, and nothing of what this code had. */
    .macro  clear_registers
    xorl    %ebx, %ebx
    xorl    %ecx, %ecx
    xorl    %edx, %edx
    xorl    %edi, %edi
    xorl    %ebp, %ebp
    .endm

    .code64
kexec_load_purgatory_start:
    cli
    cld
    leaq    .Ldata(%rip), %rbx
    lgdt    {gdt_pointer}(%rbx)
    load_data_segments

    /* An i386 kernel's purgatory joins here. */
.Ljoin_64:
    movq    {stack}(%rbx), %rsp
    movq    %rbx, %rdi
    call    .Lverify_64
    movq    %rax, %rsi
    testq   %rax, %rax
    jnz     .Lstop_64
    leaq    {greeting}(%rbx), %rsi
    cmpb    $0, (%rsi)
    je      1f
    call    .Lsay_64

    /* The crashed kernel's low memory, before the capture kernel uses it. With nothing to copy the size is 0. */
1:  movq    {backup_from}(%rbx), %rsi
    movq    {backup_to}(%rbx), %rdi
    movq    {backup_size}(%rbx), %rcx
    shrq    $3, %rcx
    rep movsq
    movl    {backup_size}(%rbx), %ecx
    andl    $7, %ecx
    rep movsb

    cmpl    $64, {exit_bits}(%rbx)
    jne     3f

    /* 64-bit exit. The far return loads CS from the new table. Paging stays as it is, with four levels or five. */
    pushq   ${code_selector}
    leaq    2f(%rip), %rax
    pushq   %rax
    lretq
2:  movq    {boot_params}(%rbx), %rsi
    movq    {kernel_entry}(%rbx), %rax
    clear_registers
    jmpq    *%rax

    /* Mode drop. CS becomes a 32-bit segment (compatibility mode), then paging and long mode go. */
3:  pushq   ${code_selector}
    leaq    4f(%rip), %rax
    pushq   %rax
    lretq
    .code32
4:  movl    %cr0, %eax
    andl    $0x7fffffff, %eax                   /* CR0.PG */
    movl    %eax, %cr0
    movl    $0xc0000080, %ecx                   /* EFER */
    rdmsr
    andl    $~0x100, %eax                       /* EFER.LME */
    wrmsr
    xorl    %eax, %eax
    movl    %eax, %cr4                          /* PAE and LA57 */
    jmp     8f

kexec_load_purgatory_entry32:
    cli
    cld
    call    5f
5:  popl    %ebx
    addl    $(.Ldata - 5b), %ebx
    lgdt    {gdt_pointer}(%ebx)
    load_data_segments
    movl    {stack}(%ebx), %esp

    /* Is there long mode? (CPUID 0x80000001, EDX bit 29) The loader has asked this CPU in the same way, so that it has the instruction. */
    movl    %ebx, %ebp
    movl    $0x80000000, %eax
    cpuid
    cmpl    $0x80000001, %eax
    jb      9f
    movl    $0x80000001, %eax
    cpuid
    btl     $29, %edx
    jnc     9f

    /* The climb. The first 4 GiB are mapped to themselves, in pages of 2 MiB; whole entries are written, whatever was there. */
    movl    %ebp, %ebx
    movl    {tables}(%ebx), %edi
    movl    %edi, %cr3
    leal    PAGE+PTE_TABLE(%edi), %eax
    movl    %eax, (%edi)
    movl    $0, 4(%edi)
    addl    $PAGE, %edi
    leal    PAGE+PTE_TABLE(%edi), %eax
    movl    $PAGE, %edx
    movl    $4, %ecx
    call    .Lfill_table
    movl    {tables}(%ebx), %edi
    addl    $2*PAGE, %edi
    movl    $PTE_2MIB, %eax
    movl    $0x200000, %edx
    movl    $2048, %ecx
    call    .Lfill_table
    movl    %cr4, %eax
    orl     $0x20, %eax                         /* CR4.PAE */
    movl    %eax, %cr4
    movl    $0xc0000080, %ecx                   /* EFER */
    rdmsr
    orl     $0x100, %eax                        /* EFER.LME */
    wrmsr
    movl    %cr0, %eax
    orl     $0x80000000, %eax                   /* CR0.PG */
    movl    %eax, %cr0
    pushl   ${climb_selector}
    call    6f
6:  addl    $(7f - 6b), (%esp)
    lretl
    .code64
7:  movl    %ebx, %ebx                          /* the upper halves of registers are undefined after the switch */
    jmp     .Ljoin_64
    .code32

    /* ECX entries at EDI, the first EAX, each larger by EDX. */
.Lfill_table:
    movl    %eax, (%edi)
    movl    $0, 4(%edi)
    addl    $8, %edi
    addl    %edx, %eax
    loop    .Lfill_table
    ret

9:  movl    %ebp, %ebx
    pushl   %ebx
    call    .Lverify_32
    movl    %eax, %esi
    testl   %eax, %eax
    jnz     .Lstop_32
    leal    {greeting}(%ebx), %esi
    cmpb    $0, (%esi)
    je      6f
    call    .Lsay_32

6:  movl    {backup_from}(%ebx), %esi
    movl    {backup_to}(%ebx), %edi
    movl    {backup_size}(%ebx), %ecx
    shrl    $2, %ecx
    rep movsl
    movl    {backup_size}(%ebx), %ecx
    andl    $3, %ecx
    rep movsb

    pushl   ${code_selector}
    call    7f
7:  addl    $(8f - 7b), (%esp)
    lretl

    /* 32-bit exit. EBX still holds the data's address. */
8:  movl    {stack}(%ebx), %esp
    movl    {boot_params}(%ebx), %esi
    movl    {kernel_entry}(%ebx), %eax
    clear_registers
    jmpl    *%eax
