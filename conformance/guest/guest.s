# SPDX-License-Identifier: MIT
#
# The guest of the conformance suite: a boot image that dirties its memory at a known rate with a
# pattern that can be checked from inside (it does, all the time) and from outside (check_guest.c).
#
#   as --32 -o guest.o guest.s
#   ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o guest.bin guest.o
#
# Sector 0 loads the rest; sector 1 holds the parameter block, which mkguest patches; the program
# follows. Memory: control block at CTRL, a scratch page behind it, one 32-bit generation for each
# page at TABLE, then the region of the parameters. The words of the control block, the pattern
# and the order of the stores in write_page are a contract with guest_pattern.c and check_guest.c;
# VERSION changes with them.

.intel_syntax noprefix

.equ VERSION, 1
.equ SECTORS, 6             # read by stage 1: the parameter sector and the program
.equ CTRL,    0x10000
.equ SCRATCH, 0x11000
.equ TABLE,   0x20000
.equ IDT,     0xf000
.equ STACK,   0x7c00
.equ COM1,    0x3f8
.equ MAX_BAD_LINES, 16

# Parameters, as in the image.
.equ P_MAGIC,     CTRL + 0
.equ P_VERSION,   CTRL + 4
.equ P_REGION,    CTRL + 8
.equ P_PAGES,     CTRL + 12
.equ P_PER_TICK,  CTRL + 16
.equ P_VERIFY,    CTRL + 20
.equ P_TICK,      CTRL + 24
.equ P_SEED,      CTRL + 28
.equ P_MODE,      CTRL + 32
.equ P_GEN_MASK,  CTRL + 36
.equ P_RUN_SHIFT, CTRL + 40
.equ P_ZERO,      CTRL + 44
.equ P_WINDOW,    CTRL + 48
.equ P_PREFILL,   CTRL + 52
# State.
.equ S_READY,     CTRL + 64
.equ S_BEAT,      CTRL + 68
.equ S_WRITES,    CTRL + 72
.equ S_INFLIGHT,  CTRL + 76
.equ S_CURSOR,    CTRL + 80
.equ S_RANDOM,    CTRL + 84
.equ S_VERIFY,    CTRL + 88
.equ S_BAD,       CTRL + 92
.equ S_NOW,       CTRL + 96
.equ S_COUNTER,   CTRL + 100
.equ S_DEADLINE,  CTRL + 104
.equ S_OVERRUNS,  CTRL + 108
.equ S_VERIFIED,  CTRL + 112
.equ S_BASE,      CTRL + 116
.equ S_TABLE,     CTRL + 120

.text
.globl _start

# ---------------------------------------------------------------- stage 1, real mode
.code16
_start:
    cli
    cld
    ljmp 0, offset 1f
1:  xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, STACK
    sti
    mov bp, 3                           # floppies want to be asked more than once
2:  mov ax, 0x0200 + SECTORS
    mov bx, 0x7e00
    mov cx, 0x0002
    xor dh, dh                          # dl is still the BIOS's boot drive
    int 0x13
    jnc 3f
    xor ah, ah
    int 0x13
    dec bp
    jnz 2b
    mov si, offset disk_text
4:  lodsb
    test al, al
    jz 5f
    xor ah, ah
    mov dx, 0                           # COM1 through the BIOS
    mov ah, 1
    int 0x14
    jmp 4b
5:  hlt
    jmp 5b

3:  cli
    in al, 0x92                         # A20 on, without touching the reset bit
    or al, 2
    and al, 0xfe
    out 0x92, al
    lgdt [gdt_pointer]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    ljmp 0x08, offset protected

disk_text: .asciz "BAD disk\n"

.balign 8
gdt:
    .quad 0
    .quad 0x00cf9a000000ffff            # flat code
    .quad 0x00cf92000000ffff            # flat data
gdt_pointer:
    .word . - gdt - 1
    .long gdt

.org 510
    .word 0xaa55

# ---------------------------------------------------------------- parameters (file offset 512)
parameters:
    .ascii "VMSG"
    .long VERSION
    .long 0x100000, 1024, 64, 64, 119318, 1, 0, 0, 0, 0, 0, 1024, 0, 0
parameters_end:
.org 1024

# ---------------------------------------------------------------- stage 2, protected mode
.code32
protected:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    mov esp, STACK
    call setup_memory
    call setup_serial
    call setup_timer
    call setup_interrupts
    sti
    call prefill
    mov dword ptr [S_READY], 1
    mov esi, offset ready_text
    call print
    call read_time
    mov eax, [S_NOW]
    mov [S_DEADLINE], eax

main_loop:
    call write_batch
    call verify_batch
    call heartbeat
    call wait_tick
    jmp main_loop

# Control block: the parameters, then zeroed state. The table is zeroed for the region's pages.
setup_memory:
    mov edi, CTRL
    xor eax, eax
    mov ecx, 1024
    rep stosd
    mov esi, offset parameters
    mov edi, CTRL
    mov ecx, (parameters_end - parameters) / 4
    rep movsd
    mov edi, TABLE
    xor eax, eax
    mov ecx, [P_PAGES]
    rep stosd
    mov dword ptr [S_INFLIGHT], -1
    mov dword ptr [S_TABLE], TABLE
    mov eax, [P_SEED]
    or eax, 1                           # xorshift needs a state that is not 0
    mov [S_RANDOM], eax
    ret

setup_serial:
    mov dx, COM1 + 1
    xor al, al
    out dx, al                          # no interrupts
    mov dx, COM1 + 3
    mov al, 0x80
    out dx, al
    mov dx, COM1
    mov al, 1
    out dx, al                          # 115200
    mov dx, COM1 + 1
    xor al, al
    out dx, al
    mov dx, COM1 + 3
    mov al, 3
    out dx, al                          # 8N1
    ret

# Channel 0 wakes us 100 times a second; channel 2 runs freely and is the clock.
setup_timer:
    mov al, 0x34
    out 0x43, al
    mov al, 0x9c                        # 11932
    out 0x40, al
    mov al, 0x2e
    out 0x40, al
    in al, 0x61
    and al, 0xfc
    or al, 1                            # gate on, speaker off
    out 0x61, al
    mov al, 0xb4
    out 0x43, al
    xor al, al
    out 0x42, al
    out 0x42, al
    ret

setup_interrupts:
    mov edi, IDT
    xor eax, eax
    mov ecx, 0x30 * 2
    rep stosd
    mov edi, IDT + 0x20 * 8
    mov ecx, 16
    mov eax, offset on_other
1:  call set_gate
    loop 1b
    mov edi, IDT + 0x20 * 8
    mov eax, offset on_timer
    call set_gate
    lidt [idt_pointer]
    mov al, 0x11
    out 0x20, al
    out 0xa0, al
    mov al, 0x20
    out 0x21, al
    mov al, 0x28
    out 0xa1, al
    mov al, 4
    out 0x21, al
    mov al, 2
    out 0xa1, al
    mov al, 1
    out 0x21, al
    out 0xa1, al
    mov al, 0xfe                        # only the timer
    out 0x21, al
    mov al, 0xff
    out 0xa1, al
    ret

# Interrupt gate for the handler eax at edi; advances edi.
set_gate:
    mov [edi], ax
    mov word ptr [edi + 2], 0x08
    mov word ptr [edi + 4], 0x8e00
    mov edx, eax
    shr edx, 16
    mov [edi + 6], dx
    add edi, 8
    ret

on_timer:
    push eax
    mov al, 0x20
    out 0x20, al
    pop eax
on_other:
    iret

# ---------------------------------------------------------------- time
# Adds what passed on channel 2 to S_NOW. Right as long as calls are less than 54 ms apart.
read_time:
    mov al, 0x80
    out 0x43, al
    in al, 0x42
    mov cl, al
    in al, 0x42
    mov ch, al
    movzx ecx, cx
    mov eax, [S_COUNTER]
    mov [S_COUNTER], ecx
    sub eax, ecx
    and eax, 0xffff
    add [S_NOW], eax
    ret

# Until the tick is over. A late tick is counted and not made up for: no bursts.
wait_tick:
    mov eax, [P_TICK]
    add [S_DEADLINE], eax
    call read_time
    mov eax, [S_NOW]
    sub eax, [S_DEADLINE]
    js 1f
    inc dword ptr [S_OVERRUNS]
    mov eax, [S_NOW]
    mov [S_DEADLINE], eax
    ret
1:  hlt
    call read_time
    mov eax, [S_NOW]
    sub eax, [S_DEADLINE]
    js 1b
    ret

# ---------------------------------------------------------------- writing
prefill:
    xor eax, eax
1:  cmp eax, [P_PREFILL]
    jae 2f
    push eax
    call write_page
    call read_time
    pop eax
    inc eax
    jmp 1b
2:  ret

write_batch:
    mov ecx, [P_PER_TICK]
1:  test ecx, ecx
    jz 2f
    push ecx
    call pick_page
    call write_page
    call read_time
    pop ecx
    dec ecx
    jmp 1b
2:  inc dword ptr [S_BASE]
    mov eax, [S_BASE]
    cmp eax, [P_PAGES]
    jb 3f
    mov dword ptr [S_BASE], 0
3:  ret

# The next page by P_MODE, in eax: 0 one after the other, 1 anywhere, 2 in a moving window.
pick_page:
    mov ecx, [P_MODE]
    cmp ecx, 1
    je pick_random
    ja pick_window
    mov eax, [S_CURSOR]
    lea ecx, [eax + 1]
    cmp ecx, [P_PAGES]
    jb 1f
    xor ecx, ecx
1:  mov [S_CURSOR], ecx
    ret
pick_random:
    call random
    mul dword ptr [P_PAGES]
    mov eax, edx
    ret
pick_window:
    call random
    mul dword ptr [P_WINDOW]
    mov eax, edx
    add eax, [S_BASE]
    xor edx, edx
    div dword ptr [P_PAGES]
    mov eax, edx
    ret

random:
    mov eax, [S_RANDOM]
    mov ecx, eax
    shl ecx, 13
    xor eax, ecx
    mov ecx, eax
    shr ecx, 17
    xor eax, ecx
    mov ecx, eax
    shl ecx, 5
    xor eax, ecx
    mov [S_RANDOM], eax
    ret

# Page eax gets its next generation. S_INFLIGHT names it while its words, its generation in the
# table and the count of writes may disagree; the words are stored in ascending order.
write_page:
    mov [S_INFLIGHT], eax
    mov edx, [TABLE + eax * 4]
    inc edx
    mov edi, eax
    shl edi, 12
    add edi, [P_REGION]
    push eax
    push edx
    call emit
    pop edx
    pop eax
    mov [TABLE + eax * 4], edx
    inc dword ptr [S_WRITES]
    mov dword ptr [S_INFLIGHT], -1
    ret

# The content of page eax in generation edx goes to edi (1024 words).
emit:
    test edx, edx
    jz emit_zero
    mov ecx, [P_ZERO]
    test ecx, ecx
    jz 1f
    push eax
    push edx
    add eax, edx
    xor edx, edx
    div ecx
    mov ecx, edx
    pop edx
    pop eax
    test ecx, ecx
    jz emit_zero
1:  push ebp
    mov esi, eax
    imul esi, esi, 0x85ebca6b
    xor esi, [P_SEED]                   # the page's key
    mov ebx, edx
    imul ebx, ebx, 0x9e3779b1           # the generation's mix
    mov ebp, eax
    stosd
    mov eax, edx
    add ebp, eax
    stosd
    mov eax, [P_SEED]
    add ebp, eax
    stosd
    mov edx, 3
2:  mov ecx, [P_RUN_SHIFT]
    mov eax, edx
    shr eax, cl
    imul eax, eax, 0x9e3779b1
    add eax, esi
    mov ecx, eax
    shr ecx, 15
    xor eax, ecx
    imul eax, eax, 0x2c1b3c6d
    mov ecx, eax
    shr ecx, 12
    xor eax, ecx
    test [P_GEN_MASK], edx
    jnz 3f
    xor eax, ebx
3:  add ebp, eax
    stosd
    inc edx
    cmp edx, 1023
    jb 2b
    mov eax, ebp
    stosd
    pop ebp
    ret
emit_zero:
    xor eax, eax
    mov ecx, 1024
    rep stosd
    ret

# ---------------------------------------------------------------- verifying
verify_batch:
    mov ecx, [P_VERIFY]
1:  test ecx, ecx
    jz 2f
    push ecx
    call verify_next
    call read_time
    pop ecx
    dec ecx
    jmp 1b
2:  ret

verify_next:
    mov eax, [S_VERIFY]
    lea ecx, [eax + 1]
    cmp ecx, [P_PAGES]
    jb 1f
    xor ecx, ecx
1:  mov [S_VERIFY], ecx
    inc dword ptr [S_VERIFIED]
    push eax
    mov edx, [TABLE + eax * 4]
    mov edi, SCRATCH
    call emit
    pop eax
    mov edi, eax
    shl edi, 12
    add edi, [P_REGION]
    mov esi, SCRATCH
    mov ecx, 1024
    repe cmpsd
    jne 2f
    ret
2:  inc dword ptr [S_BAD]
    cmp dword ptr [S_BAD], MAX_BAD_LINES
    ja 3f
    push eax
    mov esi, offset bad_text
    call print
    mov eax, [esp]
    call print_hex
    mov esi, offset gen_text
    call print
    pop eax
    mov eax, [TABLE + eax * 4]
    call print_hex
    mov al, 10
    call put_char
3:  ret

# ---------------------------------------------------------------- serial port
heartbeat:
    inc dword ptr [S_BEAT]
    mov esi, offset beat_text
    call print
    mov eax, [S_BEAT]
    call print_hex
    mov esi, offset gen_text
    call print
    mov eax, [S_WRITES]
    xor edx, edx
    div dword ptr [P_PAGES]
    call print_hex
    mov al, 10
    jmp put_char

print:
    lodsb
    test al, al
    jz 1f
    call put_char
    jmp print
1:  ret

print_hex:
    mov ecx, 8
1:  rol eax, 4
    push eax
    and al, 15
    cmp al, 10
    jb 2f
    add al, 'a' - '0' - 10
2:  add al, '0'
    call put_char
    pop eax
    loop 1b
    ret

# al goes out; only edx and ah are lost.
put_char:
    mov ah, al
    mov dx, COM1 + 5
1:  in al, dx
    test al, 0x20
    jz 1b
    mov al, ah
    mov dx, COM1
    out dx, al
    ret

ready_text: .asciz "ready\n"
beat_text:  .asciz "hb "
gen_text:   .asciz " gen "
bad_text:   .asciz "BAD page "

idt_pointer:
    .word 0x30 * 8 - 1
    .long IDT

.org 512 + 512 * SECTORS
