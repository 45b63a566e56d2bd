/*
 * The first sector of a disk for machines that boot from nothing else: reads the kernel behind it (kernels.c as flat
 * binary, at most 32 KiB), puts it at 1 MiB and goes there in 32-bit protected mode, as a multiboot loader would.
 */
	.set KERNEL, 0x100000
	.set SECTORS, 64
	.code16
	.globl _start
_start:
	cli
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %ss
	mov $0x7c00, %sp
	/* INT 13h, AH=42h: extended read. The BIOS leaves the drive in DL. */
	mov $packet, %si
	mov $0x42, %ah
	int $0x13
	jc failed
	/* A20: port 92h. */
	in $0x92, %al
	or $2, %al
	out %al, $0x92
	lgdt table
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	ljmp $8, $protected
failed:
	hlt
	jmp failed
	.code32
protected:
	mov $16, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	cld
	mov $0x10000, %esi
	mov $KERNEL, %edi
	mov $(SECTORS * 128), %ecx
	rep movsl
	mov $ENTRY, %eax
	jmp *%eax
	.align 8
packet:	.word 16, SECTORS
	.word 0, 0x1000			/* offset, segment */
	.quad 1				/* from the second sector */
	/* Flat segments: code and data, 32 bits, 4 GiB. */
descriptors: .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
table:	.word table - descriptors - 1
	.long descriptors
	.org 510
	.word 0xaa55
