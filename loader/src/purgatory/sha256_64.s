/*
 * SHA-256 (FIPS 180-4) in 64-bit mode, without SSE:
 *
 *     void kexec_load_sha256_64(uint32_t digest[8], const uint8_t *message, uint64_t length)      System V ABI
 *
 * The digest is left as eight words in the machine's order, as rounds produce them.
 *
 * It is made for machines where memory is dear, emulated ones above all, where an access costs as much as several instructions
 * and makes the emulator write back the registers that it holds. So a block is done in two passes, each with all that it
 * works on in registers. The first extends the block's 16 words to 64: two words to a register, eight registers, each new pair in the place
 * of the oldest, and one store a pair. The second does the rounds: a to h in registers that change their names rather than their
 * contents, and one load for the words of two rounds.
 */

    /* The frame. The padded end of the message takes one block or two. */
    .set    SHA64_WORDS, 0
    .set    SHA64_PADDING, 256
    .set    SHA64_DIGEST, 384
    .set    SHA64_MESSAGE, 392
    .set    SHA64_BLOCKS, 400
    .set    SHA64_LENGTH, 408
    .set    SHA64_PADDED, 416
    .set    SHA64_FRAME, 424

    /* sigma0 of %edx into %ecx: rotated by 7 ^ rotated by 18 ^ shifted by 3. Two rotations are one of the other: 18 = 7 + 11. */
    .macro  sha64_small_sigma0
    movl    %edx, %ecx
    rorl    $11, %ecx
    xorl    %edx, %ecx
    rorl    $7, %ecx
    shrl    $3, %edx
    xorl    %edx, %ecx
    .endm

    /* sigma1 of %edx into %ecx: rotated by 17 ^ rotated by 19 ^ shifted by 10. */
    .macro  sha64_small_sigma1
    movl    %edx, %ecx
    rorl    $2, %ecx
    xorl    %edx, %ecx
    rorl    $17, %ecx
    shrl    $10, %edx
    xorl    %edx, %ecx
    .endm

    /*
     * The words t and t+1, each W[t-16] + sigma0(W[t-15]) + W[t-7] + sigma1(W[t-2]), in place of W[t-16] and W[t-15].
     * A pair holds its first word in its lower half. w16, w14, w8, w6 and w2 are the pairs that begin so far back.
     */
    .macro  sha64_extend w16, w14, w8, w6, w2, offset
    movq    %\w16, %rax
    shrq    $32, %rax                           /* W[t-15] */
    movl    %eax, %edx
    sha64_small_sigma0
    addl    %ecx, %\w16\()d
    movq    %\w8, %rcx
    shrq    $32, %rcx                           /* W[t-7] */
    addl    %ecx, %\w16\()d
    movl    %\w2\()d, %edx
    sha64_small_sigma1
    addl    %ecx, %\w16\()d                     /* W[t] */

    movl    %\w14\()d, %edx
    sha64_small_sigma0
    addl    %ecx, %eax
    addl    %\w6\()d, %eax
    movq    %\w2, %rdx
    shrq    $32, %rdx                           /* W[t-1] */
    sha64_small_sigma1
    addl    %ecx, %eax                          /* W[t+1] */
    shlq    $32, %rax
    orq     %rax, %\w16
    movq    %\w16, \offset(%rdi)
    .endm

    /*
     * One round without its word and constant, which h has in it. `ab` becomes a ^ b; `bc` is the a ^ b of the round before, b ^ c
     * by now, and is used up. The round's new a is in h, its new e in d. Words are zero-extended, so that the logic may be 64 bits wide,
     * which spares the emulator an extension.
     */
    .macro  sha64_round a, b, c, d, e, f, g, h, ab, bc, bc_low
    movq    %\f, %rdx                           /* Ch(e, f, g) = g ^ (e & (f ^ g)) */
    xorq    %\g, %rdx
    andq    %\e, %rdx
    xorq    %\g, %rdx
    addl    %edx, %\h\()d
    movl    %\e\()d, %edx                       /* Sigma1(e): rotated by 6 ^ by 11 ^ by 25 */
    rorl    $14, %edx
    xorl    %\e\()d, %edx
    rorl    $5, %edx
    xorl    %\e\()d, %edx
    rorl    $6, %edx
    addl    %edx, %\h\()d
    addl    %\h\()d, %\d\()d
    movq    %\a, %\ab                           /* Maj(a, b, c) = b ^ ((a ^ b) & (b ^ c)) */
    xorq    %\b, %\ab
    andq    %\ab, %\bc
    xorq    %\b, %\bc
    movl    %\a\()d, %edx                       /* Sigma0(a): rotated by 2 ^ by 13 ^ by 22 */
    rorl    $9, %edx
    xorl    %\a\()d, %edx
    rorl    $11, %edx
    xorl    %\a\()d, %edx
    rorl    $2, %edx
    addl    %edx, %\h\()d
    addl    %\bc_low, %\h\()d
    .endm

    /* Two rounds. Each one's new a is the next one's, so the names move on by two. */
    .macro  sha64_two_rounds a, b, c, d, e, f, g, h, offset
    movq    \offset(%rdi), %rax
    movq    \offset(%rsi), %rbp
    addl    %eax, %\h\()d
    addl    %ebp, %\h\()d
    shrq    $32, %rax
    shrq    $32, %rbp
    addl    %ebp, %eax
    sha64_round \a, \b, \c, \d, \e, \f, \g, \h, rbx, rcx, ecx
    addl    %eax, %\g\()d
    sha64_round \h, \a, \b, \c, \d, \e, \f, \g, rcx, rbx, ebx
    .endm

    .globl  kexec_load_sha256_64
    .hidden kexec_load_sha256_64
    .code64
kexec_load_sha256_64:
.Lsha256_64:
    pushq   %rbx
    pushq   %rbp
    pushq   %r12
    pushq   %r13
    pushq   %r14
    pushq   %r15
    subq    $SHA64_FRAME, %rsp
    movq    %rdi, SHA64_DIGEST(%rsp)
    movq    %rsi, SHA64_MESSAGE(%rsp)
    movq    %rdx, SHA64_LENGTH(%rsp)
    shrq    $6, %rdx
    movq    %rdx, SHA64_BLOCKS(%rsp)
    movq    $0, SHA64_PADDED(%rsp)
    leaq    .Linitial_hash(%rip), %rsi
    movl    $8, %ecx
    rep movsl

.Lsha64_block:
    cmpq    $0, SHA64_BLOCKS(%rsp)
    je      .Lsha64_no_more
    movq    SHA64_MESSAGE(%rsp), %rsi
    .irp    n, 8, 9, 10, 11, 12, 13, 14, 15
    movq    8*(\n-8)(%rsi), %r\n
    bswapq  %r\n
    rorq    $32, %r\n
    movq    %r\n, SHA64_WORDS+8*(\n-8)(%rsp)
    .endr
    addq    $64, %rsi
    movq    %rsi, SHA64_MESSAGE(%rsp)
    leaq    SHA64_WORDS+64(%rsp), %rdi
    leaq    SHA64_WORDS+256(%rsp), %rsi
1:  sha64_extend r8,  r9,  r12, r13, r15, 0
    sha64_extend r9,  r10, r13, r14, r8,  8
    sha64_extend r10, r11, r14, r15, r9,  16
    sha64_extend r11, r12, r15, r8,  r10, 24
    sha64_extend r12, r13, r8,  r9,  r11, 32
    sha64_extend r13, r14, r9,  r10, r12, 40
    sha64_extend r14, r15, r10, r11, r13, 48
    sha64_extend r15, r8,  r11, r12, r14, 56
    addq    $64, %rdi
    cmpq    %rdi, %rsi
    jne     1b

    movq    SHA64_DIGEST(%rsp), %rax
    .irp    n, 8, 9, 10, 11, 12, 13, 14, 15
    movl    4*(\n-8)(%rax), %r\n\()d
    .endr
    leaq    SHA64_WORDS(%rsp), %rdi
    leaq    .Lround_constants(%rip), %rsi
    movq    %r9, %rcx
    xorq    %r10, %rcx
2:  sha64_two_rounds r8,  r9,  r10, r11, r12, r13, r14, r15, 0
    sha64_two_rounds r14, r15, r8,  r9,  r10, r11, r12, r13, 8
    sha64_two_rounds r12, r13, r14, r15, r8,  r9,  r10, r11, 16
    sha64_two_rounds r10, r11, r12, r13, r14, r15, r8,  r9,  24
    addq    $32, %rdi
    addq    $32, %rsi
    leaq    SHA64_WORDS+256(%rsp), %rax
    cmpq    %rax, %rdi
    jne     2b

    movq    SHA64_DIGEST(%rsp), %rax
    .irp    n, 8, 9, 10, 11, 12, 13, 14, 15
    addl    %r\n\()d, 4*(\n-8)(%rax)
    .endr
    decq    SHA64_BLOCKS(%rsp)
    jmp     .Lsha64_block

    /* All whole blocks are done: then the rest of the message, a bit that is set, zeros, and the length in bits. */
.Lsha64_no_more:
    cmpq    $0, SHA64_PADDED(%rsp)
    jne     .Lsha64_done
    movq    SHA64_MESSAGE(%rsp), %rsi
    movq    SHA64_LENGTH(%rsp), %rdx
    leaq    SHA64_PADDING(%rsp), %rdi
    movq    %rdi, SHA64_MESSAGE(%rsp)
    movl    %edx, %ecx
    andl    $63, %ecx
    movl    $1, %ebp                            /* blocks */
    movl    $55, %ebx                           /* zeros beside a rest of none in one block */
    subl    %ecx, %ebx
    jns     3f
    addl    $64, %ebx
    incl    %ebp
3:  rep movsb
    movb    $0x80, %al
    stosb
    movl    %ebx, %ecx
    xorl    %eax, %eax
    rep stosb
    shlq    $3, %rdx
    bswapq  %rdx
    movq    %rdx, (%rdi)
    movq    %rbp, SHA64_BLOCKS(%rsp)
    movq    $1, SHA64_PADDED(%rsp)
    jmp     .Lsha64_block

.Lsha64_done:
    addq    $SHA64_FRAME, %rsp
    popq    %r15
    popq    %r14
    popq    %r13
    popq    %r12
    popq    %rbp
    popq    %rbx
    ret
