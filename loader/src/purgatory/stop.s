/*
 * What the purgatory says and how it stops, for either mode: the same lines are assembled twice, with the pointer registers of the
 * mode. It speaks by polling the UART that the capture kernel's command line names, and leaves that as it is set unless a speed was asked for; but
 * it ends what the crashed kernel may have been in the middle of: setting the divisor, or a break.
 */

    /* Offsets of a 16550's registers, and bits of its line status register (PC16550D data sheet, table II). */
    .set    UART_DATA, 0                        /* with DLAB: the divisor's lower byte */
    .set    UART_INTERRUPTS, 1                  /* with DLAB: its upper byte */
    .set    UART_LINE_CONTROL, 3
    .set    UART_MODEM_CONTROL, 4
    .set    UART_LINE_STATUS, 5
    .set    UART_8N1, 0x03
    .set    UART_DLAB, 0x80
    .set    UART_FRAME, 0x3f                    /* all but DLAB and break */
    .set    UART_DTR_RTS, 0x03
    .set    UART_TAKES, 0x20                    /* THRE */
    .set    UART_EMPTY, 0x40                    /* TEMT */

    /*
     * How often a register of the UART is read before it is given up. A read takes a microsecond or so on a real bus: a tenth of a second,
     * which is a character at 100 bits per second.
     */
    .set    UART_PATIENCE, 100000
    /* Reads of port 0x80, of a microsecond or so each, to wait for a reset to happen. */
    .set    RESET_PATIENCE, 100000

    /*
     * NAME: writes the text that ends with a zero at *SI to the serial port, if there is one, and returns when it is sent. A port that
     * stays busy loses the rest: nothing is worth hanging a capture for. BX holds the data's address. Uses AX, CX, DX, SI, DI.
     */
    .macro  define_say name, bx, si
\name:
    movl    {serial_port}(%\bx), %edi
    testl   %edi, %edi
    jz      9f
    leal    UART_LINE_CONTROL(%edi), %edx
    inb     %dx, %al
    andb    $UART_FRAME, %al
    outb    %al, %dx
    movl    {serial_divisor}(%\bx), %ecx
    jecxz   1f
    movb    $(UART_DLAB | UART_8N1), %al
    outb    %al, %dx
    leal    UART_DATA(%edi), %edx
    movb    %cl, %al
    outb    %al, %dx
    leal    UART_INTERRUPTS(%edi), %edx
    movb    %ch, %al
    outb    %al, %dx
    leal    UART_LINE_CONTROL(%edi), %edx
    movb    $UART_8N1, %al
    outb    %al, %dx
    leal    UART_INTERRUPTS(%edi), %edx
    xorl    %eax, %eax
    outb    %al, %dx
    leal    UART_MODEM_CONTROL(%edi), %edx
    movb    $UART_DTR_RTS, %al
    outb    %al, %dx
1:  movb    $UART_TAKES, %ah
    cmpb    $0, (%\si)
    jne     2f
    movb    $UART_EMPTY, %ah
2:  movl    $UART_PATIENCE, %ecx
    leal    UART_LINE_STATUS(%edi), %edx
3:  inb     %dx, %al
    testb   %ah, %al
    jnz     4f
    decl    %ecx
    jnz     3b
    jmp     9f
4:  lodsb
    testb   %al, %al
    jz      9f
    leal    UART_DATA(%edi), %edx
    outb    %al, %dx
    jmp     1b
9:  ret
    .endm

    /*
     * NAME: says the text at *SI and starts nothing. BX holds the data's address, SP a stack. The reset is tried by the chipset's
     * reset control register, by the keyboard controller, and by a fault that cannot be handled.
     */
    .macro  define_stop name, say, bx, sp
\name:
    call    \say
    cmpl    ${reset}, {on_mismatch}(%\bx)
    jne     8f
    movl    $0xcf9, %edx
    movb    $0x02, %al                          /* SYS_RST: a hard reset, at the next write that sets RST_CPU */
    outb    %al, %dx
    movb    $0x06, %al
    outb    %al, %dx
    movl    $RESET_PATIENCE, %ecx
5:  inb     $0x80, %al
    decl    %ecx
    jnz     5b
    movb    $0xfe, %al                          /* pulse the reset line */
    outb    %al, $0x64
    movl    $RESET_PATIENCE, %ecx
6:  inb     $0x80, %al
    decl    %ecx
    jnz     6b
    push    $0                                  /* an IDT without entries */
    push    $0
    lidt    (%\sp)
    ud2
8:  hlt
    jmp     8b
    .endm

    .code64
    define_say .Lsay_64, rbx, rsi
    define_stop .Lstop_64, .Lsay_64, rbx, rsp
    .code32
    define_say .Lsay_32, ebx, esi
    define_stop .Lstop_32, .Lsay_32, ebx, esp
