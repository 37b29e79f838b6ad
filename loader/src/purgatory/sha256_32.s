/*
 * SHA-256 (FIPS 180-4) in 32-bit mode, without SSE:
 *
 *     void kexec_load_sha256_32(uint32_t digest[8], const uint8_t *message, uint32_t length)      cdecl
 *
 * The same function as in sha256_64.s, with the same aim: few accesses to memory. Seven registers do not hold the state and a
 * schedule, so a frame of slots does, made so that each word is stored once and stays at the same distance from ESP in each of the
 * 16 rounds that are written out: a round's slot first holds its word W[t], to which the round four before adds its new e (which this
 * round knows as h), and at last the round's own new a (which the round four later knows as d).
 *
 *     slot    0..3          4..67         68..71
 *     before  d, c, b, a    W[0..63]      h, g, f, e of the digest so far
 *     after                 new a's       the digest's new h, g, f, e
 *
 * ESP itself walks up the slots, one slot of 8 bytes a round. The second half of each slot holds the round's constant, which stays:
 * nothing may use this stack meanwhile. The purgatory has no interrupts, and the loader handles no signals.
 */

    .set    SHA32_SLOTS, 0
    .set    SHA32_CALLER, 576                   /* ESP in the caller's frame */
    .set    SHA32_BLOCKS, 580
    .set    SHA32_MESSAGE, 584
    .set    SHA32_PADDED, 588
    .set    SHA32_PADDING, 592                  /* 128 bytes */
    .set    SHA32_FRAME, 720
    /* The arguments, from SHA32_CALLER: four saved registers and the return address lie before them. */
    .set    SHA32_DIGEST_ARGUMENT, 20
    .set    SHA32_MESSAGE_ARGUMENT, 24
    .set    SHA32_LENGTH_ARGUMENT, 28

    /*
     * The word t = W[t-16] + sigma0(W[t-15]) + W[t-7] + sigma1(W[t-2]). W[t-16] is in EAX, where W[t-15] takes its place for the
     * next; W[t-2] is in w2, where W[t] takes its place. ESI points at the slot of the first of 8 words.
     */
    .macro  sha32_extend t, w2
    addl    8*(\t-7)(%esi), %eax
    movl    8*(\t-15)(%esi), %ecx
    movl    %\w2, %edx                          /* sigma1: rotated by 17 ^ by 19 ^ shifted by 10 */
    rorl    $2, %edx
    xorl    %\w2, %edx
    rorl    $17, %edx
    shrl    $10, %\w2
    xorl    %edx, %\w2
    addl    %eax, %\w2
    movl    %ecx, %edx                          /* sigma0: rotated by 7 ^ by 18 ^ shifted by 3 */
    movl    %ecx, %eax
    rorl    $11, %edx
    xorl    %ecx, %edx
    rorl    $7, %edx
    shrl    $3, %eax
    xorl    %eax, %edx
    movl    %ecx, %eax
    addl    %edx, %\w2
    movl    %\w2, 8*(\t)(%esi)
    .endm

    /*
     * One round. `bc` holds b ^ c. Afterwards b holds a ^ b, the next round's b ^ c, bc holds the new a, and g the new e.
     * All accesses to memory stand together: the fewer registers change between them, the fewer does an emulator write back.
     */
    .macro  sha32_round t, a, b, bc, e, f, g
    movl    %\f, %ebp                           /* Ch(e, f, g) = g ^ (e & (f ^ g)) */
    xorl    %\g, %ebp
    andl    %\e, %ebp
    xorl    %ebp, %\g
    movl    %\e, %ebp                           /* Sigma1(e): rotated by 6 ^ by 11 ^ by 25 */
    rorl    $14, %ebp
    xorl    %\e, %ebp
    rorl    $5, %ebp
    xorl    %\e, %ebp
    rorl    $6, %ebp
    addl    %ebp, %\g
    xorl    %\a, %\b                            /* Maj(a, b, c) = ((a ^ b) & (b ^ c)) ^ (a ^ b) ^ a */
    andl    %\b, %\bc
    xorl    %\b, %\bc
    xorl    %\a, %\bc
    movl    %\a, %ebp                           /* Sigma0(a): rotated by 2 ^ by 13 ^ by 22 */
    rorl    $9, %ebp
    xorl    %\a, %ebp
    rorl    $11, %ebp
    xorl    %\a, %ebp
    rorl    $2, %ebp
    addl    %ebp, %\bc
    addl    8*(\t+4)+4(%esp), %\g               /* K[t] */
    addl    8*(\t+4)(%esp), %\g                 /* W[t] + h */
    addl    %\g, %\bc
    addl    8*(\t)(%esp), %\g                     /* d */
    movl    %\bc, 8*(\t+4)(%esp)
    addl    %\g, 8*(\t+8)(%esp)
    .endm

    /* Three rounds, after which every name is where it was. */
    .macro  sha32_three_rounds t
    sha32_round \t,   eax, ebx, ecx, edx, esi, edi
    sha32_round \t+1, ecx, eax, ebx, edi, edx, esi
    sha32_round \t+2, ebx, ecx, eax, esi, edi, edx
    .endm

    .globl  kexec_load_sha256_32
    .hidden kexec_load_sha256_32
    .code32
kexec_load_sha256_32:
.Lsha256_32:
    pushl   %ebx
    pushl   %esi
    pushl   %edi
    pushl   %ebp
    movl    %esp, %ebp
    subl    $SHA32_FRAME, %esp
    andl    $-512, %esp                         /* 64 rounds of 8 bytes: the walk's end is where these bits are zero again */
    movl    %ebp, SHA32_CALLER(%esp)
    call    1f
1:  popl    %ebx
    movl    SHA32_DIGEST_ARGUMENT(%ebp), %edi
    leal    (.Linitial_hash-1b)(%ebx), %esi
    movl    $8, %ecx
    rep movsl
    xorl    %ecx, %ecx
2:  lodsl                                       /* the constants follow */
    movl    %eax, SHA32_SLOTS+8*4+4(%esp,%ecx,8)
    incl    %ecx
    cmpl    $64, %ecx
    jne     2b
    movl    SHA32_MESSAGE_ARGUMENT(%ebp), %eax
    movl    %eax, SHA32_MESSAGE(%esp)
    movl    SHA32_LENGTH_ARGUMENT(%ebp), %eax
    shrl    $6, %eax
    movl    %eax, SHA32_BLOCKS(%esp)
    movl    $0, SHA32_PADDED(%esp)

.Lsha32_block:
    cmpl    $0, SHA32_BLOCKS(%esp)
    je      .Lsha32_no_more
    movl    SHA32_MESSAGE(%esp), %esi
    xorl    %ecx, %ecx
3:  lodsl
    bswapl  %eax
    movl    %eax, SHA32_SLOTS+8*4(%esp,%ecx,8)
    incl    %ecx
    cmpl    $16, %ecx
    jne     3b
    movl    %esi, SHA32_MESSAGE(%esp)

    leal    SHA32_SLOTS+8*(4+16)(%esp), %esi
    movl    SHA32_SLOTS+8*4(%esp), %eax
    movl    SHA32_SLOTS+8*(4+14)(%esp), %ebx
    movl    SHA32_SLOTS+8*(4+15)(%esp), %ebp
4:  .irp    t, 0, 2, 4, 6
    sha32_extend \t, ebx
    sha32_extend \t+1, ebp
    .endr
    addl    $8*8, %esi
    leal    SHA32_SLOTS+8*(4+64)(%esp), %ecx
    cmpl    %ecx, %esi
    jne     4b

    movl    SHA32_CALLER(%esp), %ebp
    movl    SHA32_DIGEST_ARGUMENT(%ebp), %ebp
    .irp    n, 0, 1, 2, 3
    movl    4*\n(%ebp), %eax
    movl    %eax, SHA32_SLOTS+8*(3-\n)(%esp)
    movl    4*(7-\n)(%ebp), %eax
    addl    %eax, SHA32_SLOTS+8*(4+\n)(%esp)
    movl    %eax, SHA32_SLOTS+8*(68+\n)(%esp)
    .endr
    movl    (%ebp), %eax
    movl    4(%ebp), %ebx
    movl    8(%ebp), %ecx
    xorl    %ebx, %ecx
    movl    16(%ebp), %edx
    movl    20(%ebp), %esi
    movl    24(%ebp), %edi
5:  .irp    t, 0, 3, 6, 9, 12
    sha32_three_rounds \t
    .endr
    sha32_round 15, eax, ebx, ecx, edx, esi, edi
    xchgl   %eax, %ecx                          /* the names of 16 rounds, back to those of 15 */
    xchgl   %ecx, %ebx
    xchgl   %edx, %edi
    xchgl   %edi, %esi
    addl    $8*16, %esp
    testl   $511, %esp
    jnz     5b
    subl    $512, %esp

    movl    SHA32_CALLER(%esp), %ebp
    movl    SHA32_DIGEST_ARGUMENT(%ebp), %ebp
    .irp    n, 0, 1, 2, 3
    movl    SHA32_SLOTS+8*(4+63-\n)(%esp), %eax
    addl    %eax, 4*\n(%ebp)
    movl    SHA32_SLOTS+8*(68+\n)(%esp), %eax
    movl    %eax, 4*(7-\n)(%ebp)
    .endr
    decl    SHA32_BLOCKS(%esp)
    jmp     .Lsha32_block

    /* All whole blocks are done: then the rest of the message, a bit that is set, zeros, and the length in bits. */
.Lsha32_no_more:
    movl    SHA32_CALLER(%esp), %ebp
    cmpl    $0, SHA32_PADDED(%esp)
    jne     .Lsha32_done
    movl    SHA32_MESSAGE(%esp), %esi
    movl    SHA32_LENGTH_ARGUMENT(%ebp), %edx
    leal    SHA32_PADDING(%esp), %edi
    movl    %edi, SHA32_MESSAGE(%esp)
    movl    %edx, %ecx
    andl    $63, %ecx
    movl    $1, SHA32_BLOCKS(%esp)
    movl    $55, %ebx                           /* zeros beside a rest of none in one block */
    subl    %ecx, %ebx
    jns     6f
    addl    $64, %ebx
    incl    SHA32_BLOCKS(%esp)
6:  rep movsb
    movb    $0x80, %al
    stosb
    movl    %ebx, %ecx
    xorl    %eax, %eax
    rep stosb
    movl    %edx, %eax
    shrl    $29, %eax
    bswapl  %eax
    stosl
    leal    (,%edx,8), %eax
    bswapl  %eax
    stosl
    movl    $1, SHA32_PADDED(%esp)
    jmp     .Lsha32_block

.Lsha32_done:
    movl    %ebp, %esp
    popl    %ebp
    popl    %edi
    popl    %esi
    popl    %ebx
    ret
