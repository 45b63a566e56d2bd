import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { ImageError } from '../../src/guest/error';
import { loadImage } from '../../src/guest/image';
import {
  VIRT_BASE,
  ascii,
  buildElf,
  bzImage,
  cString,
  concat,
  noteSegment,
  pvKernel,
  pvNotes,
  words,
  xenNote,
} from '../support/elf-builder';
import type { SegmentSpec } from '../support/elf-builder';
import { guestPath } from '../support/guests';

const refused = async (bytes: Uint8Array, pattern: RegExp): Promise<void> => {
  await assert.rejects(loadImage(bytes, 'k'), (error: unknown) => {
    assert.ok(error instanceof ImageError, String(error));
    assert.match(error.message, pattern);
    return true;
  });
};
const text = new Uint8Array(64);
const at = (paddr: bigint, memsz = 0x1000n): SegmentSpec => ({
  vaddr: VIRT_BASE + paddr,
  paddr,
  data: text,
  memsz,
});
/** An image of these segments with VIRT_BASE and the entry at the first. */
const kernel = (segments: SegmentSpec[], ...notes: Uint8Array[]): Uint8Array =>
  buildElf({
    entry: segments[0]?.vaddr ?? 0n,
    segments: [...segments, noteSegment(pvNotes(xenNote(3, VIRT_BASE), ...notes))],
  });

describe('guest/image', () => {
  it('lays a kernel out as Xen does', async () => {
    const image = await loadImage(pvKernel(), 'k');
    assert.deepEqual(image.layout, {
      virtBase: VIRT_BASE,
      elfPaddrOffset: 0n,
      virtOffset: VIRT_BASE,
      virtKstart: VIRT_BASE + 0x100000n,
      virtKend: VIRT_BASE + 0x101000n,
      virtEntry: VIRT_BASE + 0x100000n,
    });
    const [segment] = image.segments;
    assert.equal(image.segments.length, 1);
    assert.deepEqual(
      [segment?.virtual, segment?.pseudoPhysical, segment?.filesz, segment?.memsz, segment?.data.length],
      [VIRT_BASE + 0x100000n, 0x100000n, 64, 0x1000, 64],
    );
    assert.deepEqual([image.format, image.compression, image.notesSource], ['elf', 'none', 'PT_NOTE']);
  });

  it('takes the entry from the note, zero included, and from the header without one', async () => {
    const low: SegmentSpec[] = [{ vaddr: 0n, data: text, memsz: 0x2000n }];
    const image = (entry: bigint, ...notes: Uint8Array[]) =>
      loadImage(buildElf({ entry, segments: [...low, noteSegment(pvNotes(...notes))] }), 'k');
    assert.equal((await image(0x40n, xenNote(1, 0n))).entry, 0n);
    assert.equal((await image(0x40n)).entry, 0x40n);
  });

  it('treats PADDR_OFFSET and the legacy string as Xen does', async () => {
    const high = { vaddr: VIRT_BASE, paddr: VIRT_BASE, data: text, memsz: 0x1000n };
    const offset = await loadImage(
      buildElf({
        entry: VIRT_BASE,
        segments: [high, noteSegment(pvNotes(xenNote(3, VIRT_BASE), xenNote(4, VIRT_BASE)))],
      }),
      'k',
    );
    assert.deepEqual([offset.layout.virtKstart, offset.segments[0]?.pseudoPhysical], [VIRT_BASE, 0n]);
    // Its default there is VIRT_BASE; with notes it is 0.
    const legacy = await loadImage(
      buildElf({
        entry: VIRT_BASE,
        segments: [high],
        sections: [
          {
            name: '__xen_guest',
            data: cString('LOADER=generic,XEN_VER=xen-3.0,VIRT_BASE=0xffffffff80000000'),
          },
        ],
      }),
      'k',
    );
    assert.deepEqual(
      [legacy.notesSource, legacy.layout.virtKstart, legacy.segments[0]?.pseudoPhysical],
      ['__xen_guest', VIRT_BASE, 0n],
    );
    await refused(
      buildElf({ segments: [{ data: text }, noteSegment(pvNotes(xenNote(4, 0n)))] }),
      /PADDR_OFFSET is set and VIRT_BASE is not/,
    );
  });

  it('finds notes that only a section holds, as in Mini-OS', async () => {
    const image = await loadImage(
      buildElf({
        segments: [{ data: text, memsz: 0x3000n }],
        sections: [{ name: '.note', type: 7, data: pvNotes(xenNote(2, 0x1000n)) }],
      }),
      'k',
    );
    assert.deepEqual([image.notesSource, image.layout.hypercallPage], ['SHT_NOTE', 0x1000n]);
  });

  it('loads segments in order of address, and none without a right', async () => {
    const image = await loadImage(kernel([at(0x3000n), at(0x1000n), { ...at(0x9000n), flags: 0 }]), 'k');
    assert.deepEqual(
      image.segments.map((segment) => [segment.index, segment.pseudoPhysical]),
      [
        [1, 0x1000n],
        [0, 0x3000n],
      ],
    );
    assert.equal(image.layout.virtKend, VIRT_BASE + 0x4000n);
  });

  it('refuses absurd segments', async () => {
    await refused(
      kernel([at(0x1000n), at(0x1800n)]),
      /program header 1, p_paddr: 0x1800 overlaps program header 0, which ends at 0x2000/,
    );
    await refused(kernel([at(0x1000n, 32n)]), /program header 0, p_filesz: 64 bytes .* p_memsz, 32 bytes/);
    await refused(kernel([at(0x1000n), { ...at(0x1000n), paddr: 2n ** 64n - 0x800n }]), /wrap around/);
    await refused(kernel([at(0x1000n), { ...at(0x1000n), paddr: 1n << 40n }]), /spans 1099511627776 bytes/);
    await refused(
      kernel([{ ...at(0x1000n), claim: { filesz: 2n ** 40n }, memsz: 2n ** 41n }]),
      /spans|lying header/,
    );
    await refused(
      kernel([{ ...at(0x1000n), claim: { offset: 2n ** 40n } }]),
      /program header 0, p_offset.*64 bytes at 0x10000000000 reach beyond/,
    );
    await refused(kernel([at(0x1010n)]), /must be page-aligned/);
    await refused(buildElf({ segments: [noteSegment(pvNotes())] }), /there is nothing to load/);
  });

  it('refuses entries and bases that lie elsewhere', async () => {
    const image = [at(0x1000n)];
    await refused(
      kernel(image, xenNote(1, 0x1000n)),
      /Xen notes, ENTRY: 0x1000 lies outside the image, 0xffffffff80001000 to/,
    );
    await refused(
      buildElf({ entry: 5n, segments: [at(0x1000n), noteSegment(pvNotes(xenNote(3, VIRT_BASE)))] }),
      /e_entry: 0x5 lies outside/,
    );
    await refused(kernel(image, xenNote(4, 0x2000n)), /VIRT_BASE: 0xffffffff80000000 lies above/);
    await refused(kernel(image, xenNote(15, VIRT_BASE + 0x1000n)), /INIT_P2M: .* lies inside the image/);
    await refused(
      kernel(image, xenNote(2, VIRT_BASE + 0x2000n)),
      /HYPERCALL_PAGE: .* lies outside the image/,
    );
    await refused(kernel(image, xenNote(2, VIRT_BASE + 0x1008n)), /HYPERCALL_PAGE: .* is not page-aligned/);
    assert.equal(
      (await loadImage(kernel(image, xenNote(2, VIRT_BASE + 0x1000n)), 'k')).layout.hypercallPage,
      VIRT_BASE + 0x1000n,
    );
  });

  it('says why an image is not for PV guests', async () => {
    const only = (...notes: Uint8Array[]) =>
      buildElf({ segments: [{ data: text }, noteSegment(concat(notes))] });
    await refused(buildElf({ segments: [{ data: text }] }), /is not built for Xen: .*CONFIG_XEN_PV=y/);
    await refused(only(xenNote(18, 0x100000n)), /HVM and PVH guests only.*CONFIG_XEN_PV=y/);
    await refused(
      only(xenNote(18, 0x100000n), xenNote(5, 'xen-3.0'), xenNote(8, 'generic')),
      /HVM and PVH guests only/,
    );
    await refused(only(xenNote(8, 'generic')), /XEN_VERSION: is missing/);
    await refused(only(xenNote(8, 'generic'), xenNote(5, 'xen-4.0')), /XEN_VERSION: is "xen-4.0"/);
    await refused(only(xenNote(5, 'xen-3.0'), xenNote(8, 'odd')), /LOADER: is "odd"/);
    await refused(only(pvNotes(xenNote(10, '!writable_page_tables|!warp_drive'))), /requires warp_drive/);
    await loadImage(only(xenNote(5, 'xen-3.0'), xenNote(6, 'linux')), 'k');
  });

  it('recognizes what is handed in by mistake', async () => {
    await refused(new Uint8Array(0), /^k: is empty$/);
    await refused(ascii('070701000000'), /cpio archive.*Give it as the ramdisk/);
    await refused(gzipSync(ascii('070701000000')), /k \(gzip\): is a cpio archive/);
    await refused(ascii('MZ'.padEnd(700)), /PE \(EFI\)/);
    await refused(ascii('QFI\xfb'), /qcow2/);
    await refused(ascii('Hello, \x01orld'), /starts with "Hello, \."/);
    await refused(gzipSync(gzipSync(pvKernel())), /neither an ELF file nor a bzImage/);
  });

  it('unwraps compression and bzImages', async () => {
    const plain = await loadImage(pvKernel(), 'k');
    const payload = concat([gzipSync(pvKernel())]);
    for (const [bytes, format, compression] of [
      [gzipSync(pvKernel()), 'elf', 'gzip'],
      [bzImage(payload, { version: '6.1 test' }), 'bzImage', 'gzip'],
      [bzImage(payload, { setupSects: 0 }), 'bzImage', 'gzip'],
      [bzImage(pvKernel()), 'bzImage', 'none'],
      [gzipSync(bzImage(payload)), 'bzImage', 'gzip'],
    ] as const) {
      const image = await loadImage(bytes, 'k');
      assert.deepEqual([image.format, image.compression, image.layout], [format, compression, plain.layout]);
    }
    assert.equal((await loadImage(bzImage(payload, { version: '6.1 test' }), 'k')).kernelVersion, '6.1 test');
  });

  it('refuses bzImages that lie', async () => {
    const payload = gzipSync(pvKernel());
    await refused(bzImage(payload, { protocol: 0x0207 }), /boot protocol 2\.07 .*vmlinux/);
    await refused(
      bzImage(payload, { length: 0xffffffff }),
      /payload_length: 4294967295 bytes .* reach beyond/,
    );
    await refused(bzImage(payload, { length: 4 }), /payload of 4 bytes/);
    await refused(bzImage(payload).subarray(0, 0x210), /bzImage header, offset/);
    await refused(bzImage(ascii('x'.repeat(64))), /k, payload.*not known here/);
    await refused(bzImage(concat([ascii('BZh9'), new Uint8Array(60)])), /is bzip2/);
    await refused(bzImage(concat([words(1, [0x5d, 0, 0]), new Uint8Array(60)])), /is lzma/);
    await refused(bzImage(concat([gzipSync(ascii('no kernel'.repeat(9)))])), /does not decompress to an ELF/);
    // The length behind an xz, zstd or lz4 payload is the build's word, and may be absurd.
    await refused(
      bzImage(concat([words(4, [0x184c2102, 5]), new Uint8Array(20), words(4, [0xffffffff])])),
      /announces 4294967295 bytes/,
    );
  });

  describe('real images', () => {
    const bytesOf = (path: string): Uint8Array => new Uint8Array(readFileSync(path));

    it('GRUB: entry and base are zero, and present', async function () {
      const path = guestPath('grub', this);
      const image = await loadImage(bytesOf(path), 'grub');
      assert.deepEqual(image.notes, {
        guest_os: 'GRUB',
        loader: 'generic',
        xen_version: 'xen-3.0',
        entry: 0n,
        virt_base: 0n,
      });
      assert.deepEqual(
        [image.entry, image.layout.virtBase, image.layout.virtKstart, image.layout.hypercallPage],
        [0n, 0n, 0n, undefined],
      );
      assert.equal(image.segments.length, 2);
    });

    it('GRUB for other machines: refused by name', async function () {
      const path = guestPath('grub', this);
      for (const other of ['grub-i386-xen.bin', 'grub-i386-xen_pvh.bin']) {
        await refused(bytesOf(path.replace('grub-x86_64-xen.bin', other)), /32-bit x86 image/);
      }
    });

    it('busybox: an ELF file, but no kernel', async function () {
      await refused(bytesOf(guestPath('busybox', this)), /is not built for Xen/);
    });

    for (const [name, compression] of [
      ['linux', 'xz'],
      ['linux-cloud', 'lz4'],
    ] as const) {
      it(`Debian's ${name}: an ${compression} bzImage with Linux's notes`, async function () {
        this.timeout(60000);
        const image = await loadImage(bytesOf(guestPath(name, this)), name);
        assert.deepEqual([image.format, image.compression], ['bzImage', compression]);
        assert.match(image.kernelVersion, /^6\.1\.0-\d+-.*amd64/);
        const { entry, phys32_entry, ...fixed } = image.notes;
        assert.deepEqual(fixed, {
          guest_os: 'linux',
          guest_version: '2.6',
          xen_version: 'xen-3.0',
          loader: 'generic',
          pae_mode: 'yes',
          virt_base: 0xffffffff80000000n,
          paddr_offset: 0n,
          init_p2m: 0x8000000000n,
          hv_start_low: 0xffff800000000000n,
          features: { supported: 0x11, required: 1, unknown: [], unknownRequired: [] },
          supported_features: 0x8801,
          mod_start_pfn: true,
          suspend_cancel: true,
          l1_mfn_valid: [{ mask: 1n, value: 1n }],
        });
        assert.ok(entry !== undefined && phys32_entry !== undefined);
        assert.equal(image.layout.virtKstart, 0xffffffff81000000n);
        // The per-CPU segment is linked at 0 and loaded by its physical address.
        assert.ok(
          image.segments.some(({ vaddr, virtual }) => vaddr === 0n && virtual > image.layout.virtKstart),
        );
      });
    }
  });
});
