/*
 * The verification, for either mode:
 *
 *     const char *kexec_load_verify_64(const uint8_t *data)                                       System V ABI
 *     const char *kexec_load_verify_32(const uint8_t *data)                                       cdecl
 *
 * Compares the SHA-256 of each piece of memory in the data's list with what the list says. Gives the text of the first that differs,
 * or null. The list ends by its size, not by a count of pieces, so that no single bit that flips makes it empty.
 *
 * The first piece is the purgatory itself, with the list. Until that is found to be as it was, nothing in the list is believed so far as to
 * leave the mapped memory, where a fault would stop the machine without a word: the piece must begin where this code does and be no longer
 * than a purgatory, and of the offsets of texts and digests only those bits count that they need.
 */

    .globl  kexec_load_verify_64, kexec_load_verify_32
    .hidden kexec_load_verify_64, kexec_load_verify_32

    .code64
kexec_load_verify_64:
.Lverify_64:
    pushq   %rbx
    pushq   %r12
    pushq   %r13
    subq    $32, %rsp                           /* the digest that is found */
    movq    %rdi, %rbx
    leaq    {checks}(%rbx), %r12
    movl    {checks_size}(%rbx), %r13d
    addq    %r12, %r13
    cmpq    %r13, %r12
    jae     1f
    leaq    kexec_load_purgatory_start-.Ldata(%rbx), %rcx
    cmpq    %rcx, {check_address}(%r12)
    jne     3f
    cmpq    $(.Ldata - kexec_load_purgatory_start + {most}), {check_length}(%r12)
    jbe     1f
3:  movl    {check_text}(%r12), %eax
    andl    ${offset_mask}, %eax
    addq    %rbx, %rax
    jmp     2f
1:  xorl    %eax, %eax
    cmpq    %r13, %r12
    jae     2f
    movq    %rsp, %rdi
    movq    {check_address}(%r12), %rsi
    movq    {check_length}(%r12), %rdx
    call    .Lsha256_64
    movq    %rsp, %rdi
    movl    {check_digest}(%r12), %esi
    andl    ${offset_mask}, %esi
    addq    %rbx, %rsi
    movl    {check_text}(%r12), %eax
    andl    ${offset_mask}, %eax
    addq    %rbx, %rax
    addq    ${check_size}, %r12
    movl    $8, %ecx
    repe cmpsl
    je      1b
2:  addq    $32, %rsp
    popq    %r13
    popq    %r12
    popq    %rbx
    ret

    .code32
kexec_load_verify_32:
.Lverify_32:
    pushl   %ebx
    pushl   %esi
    pushl   %edi
    pushl   %ebp
    movl    20(%esp), %ebx                      /* the argument, behind the registers and the return address */
    subl    $32, %esp                           /* the digest that is found */
    leal    {checks}(%ebx), %ebp
    cmpl    $0, {checks_size}(%ebx)
    je      1f
    leal    kexec_load_purgatory_start-.Ldata(%ebx), %ecx
    cmpl    %ecx, {check_address}(%ebp)
    jne     3f
    cmpl    $(.Ldata - kexec_load_purgatory_start + {most}), {check_length}(%ebp)
    jbe     1f
3:  movl    {check_text}(%ebp), %eax
    andl    ${offset_mask}, %eax
    addl    %ebx, %eax
    jmp     2f
1:  movl    {checks_size}(%ebx), %edx
    leal    {checks}(%ebx,%edx), %edx
    xorl    %eax, %eax
    cmpl    %edx, %ebp
    jae     2f
    movl    %esp, %edi
    pushl   {check_length}(%ebp)
    pushl   {check_address}(%ebp)
    pushl   %edi
    call    .Lsha256_32
    addl    $12, %esp
    movl    %esp, %edi
    movl    {check_digest}(%ebp), %esi
    andl    ${offset_mask}, %esi
    addl    %ebx, %esi
    movl    {check_text}(%ebp), %eax
    andl    ${offset_mask}, %eax
    addl    %ebx, %eax
    addl    ${check_size}, %ebp
    movl    $8, %ecx
    repe cmpsl
    je      1b
2:  addl    $32, %esp
    popl    %ebp
    popl    %edi
    popl    %esi
    popl    %ebx
    ret
