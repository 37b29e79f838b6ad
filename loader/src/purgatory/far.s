/*
 * SHA-256 for a 32-bit program, which is not a part of the purgatory:
 *
 *     void kexec_load_sha256_any(uint32_t digest[8], const uint8_t *message, uint32_t length)     cdecl
 *
 * An x86_64 kernel lets every program run 64-bit code, which needs a third of the time: it is a far jump away. Whether the kernel
 * is one, the processor tells: LAR gives a segment's attributes to whoever may use it (Intel SDM volume 2A).
 *
 * Jumps, not a far call and return: QEMU 7.2 makes the accesses of those to the stack as the kernel's, which SMAP forbids, and the kernel dies
 * of the fault (seen with `-cpu max`).
 */

    .set    USER_CS, 0x33                       /* arch/x86/include/asm/segment.h, __USER_CS */
    .set    ACCESS_CODE_LONG, 0x00201800        /* L, S and the upper bit of the type, as LAR gives them */

    .globl  kexec_load_sha256_any
    .hidden kexec_load_sha256_any
    .code32
kexec_load_sha256_any:
    movl    $USER_CS, %ecx
    larl    %ecx, %eax
    jnz     kexec_load_sha256_32
    andl    $ACCESS_CODE_LONG, %eax
    cmpl    $ACCESS_CODE_LONG, %eax
    jne     kexec_load_sha256_32
    pushl   %edi
    pushl   %esi
    movl    12(%esp), %edi
    movl    16(%esp), %esi
    movl    20(%esp), %edx
    pushl   %cs                                 /* where it jumps back to */
    pushl   $2f
    ljmpl   $USER_CS, $1f
2:  addl    $8, %esp
    popl    %esi
    popl    %edi
    ret

    /* The upper halves of registers are undefined after the switch (Intel SDM volume 1, 3.4.1.1). */
    .code64
1:  movl    %edi, %edi
    movl    %esi, %esi
    movl    %edx, %edx
    movl    %esp, %esp
    call    kexec_load_sha256_64
    ljmpl   *(%rsp)
