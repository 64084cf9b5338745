// SPDX-License-Identifier: MIT
// The assembled guest.s as data. The build passes the folder of guest.bin with -Wa,-I or -I.
    .section .rodata
    .balign 16
    .globl vms_guest_blob
vms_guest_blob:
    .incbin "guest.bin"
    .globl vms_guest_blob_end
vms_guest_blob_end:
    .byte 0
    .section .note.GNU-stack, "", @progbits
