# Compiler settings for freestanding Xen PV guests.
CC = gcc

CFLAGS = -std=gnu11 -Wall -Wextra -Og -gdwarf-5 -gno-record-gcc-switches \
  -gno-variable-location-views -ffreestanding \
  -fno-pie -mcmodel=kernel -mno-red-zone -mgeneral-regs-only -march=x86-64 -mtune=generic \
  -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables \
  -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-strict-aliasing -fno-common \
  -ffile-prefix-map=$(CURDIR)=.
LDFLAGS = -static -no-pie -nostdlib -Wl,--build-id=none -Wl,-X -Wl,-z,max-page-size=4096 \
  -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments
