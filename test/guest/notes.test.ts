import assert from 'node:assert/strict';
import { readElf } from '../../src/guest/elf';
import { ImageError } from '../../src/guest/error';
import { featureNames, parseFeatures } from '../../src/guest/features';
import type { XenNotesFound } from '../../src/guest/notes';
import { readXenNotes } from '../../src/guest/notes';
import { buildElf, cString, concat, note, noteSegment, words, xenNote } from '../support/elf-builder';

const inSegment = (...notes: Uint8Array[]): XenNotesFound | undefined =>
  readXenNotes(readElf(buildElf({ segments: [noteSegment(concat(notes))] }), 'k'));
const legacy = (text: string): XenNotesFound | undefined =>
  readXenNotes(readElf(buildElf({ sections: [{ name: '__xen_guest', data: cString(text) }] }), 'k'));

describe('guest/notes', () => {
  it('decodes each kind of note', () => {
    const found = inSegment(
      xenNote(0, 'a=b'),
      xenNote(1, 0xffffffff81000000n),
      xenNote(2, words(4, [0x1000])),
      xenNote(3, words(4, [0xffffffff])),
      xenNote(4, 5n),
      xenNote(5, 'xen-3.0'),
      xenNote(6, 'os'),
      xenNote(7, '1.0'),
      xenNote(8, 'generic'),
      xenNote(9, 'yes'),
      xenNote(10, '!writable_page_tables|pae_pgdir_above_4gb'),
      xenNote(11, 'yes'),
      xenNote(12, 1n << 63n),
      xenNote(13, words(8, [1n, 1n, 3n, 2n])),
      xenNote(14, words(4, [1])),
      xenNote(15, 0x8000000000n),
      xenNote(16, words(4, [0])),
      xenNote(17, words(4, [0x8801])),
      xenNote(18, words(4, [0x100000])),
    );
    assert.equal(found?.source, 'PT_NOTE');
    assert.deepEqual(found.notes, {
      info: 'a=b',
      entry: 0xffffffff81000000n,
      hypercall_page: 0x1000n,
      virt_base: 0xffffffffn,
      paddr_offset: 5n,
      xen_version: 'xen-3.0',
      guest_os: 'os',
      guest_version: '1.0',
      loader: 'generic',
      pae_mode: 'yes',
      features: { supported: 0x11, required: 1, unknown: [], unknownRequired: [] },
      bsd_symtab: true,
      hv_start_low: 1n << 63n,
      l1_mfn_valid: [
        { mask: 1n, value: 1n },
        { mask: 3n, value: 2n },
      ],
      suspend_cancel: true,
      init_p2m: 0x8000000000n,
      mod_start_pfn: false,
      supported_features: 0x8801,
      phys32_entry: 0x100000n,
    });
  });

  it('tells zero from absent', () => {
    const zero = inSegment(xenNote(1, 0n), xenNote(3, 0n))?.notes;
    assert.deepEqual(zero, { entry: 0n, virt_base: 0n });
    const absent = inSegment(xenNote(6, 'x'))?.notes;
    assert.ok(absent !== undefined && !('entry' in absent) && !('virt_base' in absent));
  });

  it('prefers segments to sections, and sections to the legacy string', () => {
    const section = { name: '.note.Xen', type: 7, data: xenNote(6, 'section') };
    const old = { name: '__xen_guest', data: cString('GUEST_OS=legacy') };
    const read = (spec: Parameters<typeof buildElf>[0]) => readXenNotes(readElf(buildElf(spec), 'k'));
    const all = read({ segments: [noteSegment(xenNote(6, 'segment'))], sections: [section, old] });
    assert.deepEqual([all?.source, all?.notes.guest_os], ['PT_NOTE', 'segment']);
    const some = read({ segments: [noteSegment(note('GNU', 3, words(4, [1])))], sections: [section, old] });
    assert.deepEqual([some?.source, some?.notes.guest_os], ['SHT_NOTE', 'section']);
    assert.deepEqual(read({ sections: [old] }), { source: '__xen_guest', notes: { guest_os: 'legacy' } });
    assert.equal(read({ sections: [{ name: '.data' }] }), undefined);
  });

  it('passes over notes of other owners and of unknown types', () => {
    assert.deepEqual(
      inSegment(note('Linux', 1, words(8, [7n])), xenNote(0x1000001, 'crash'), xenNote(8, 'generic'))?.notes,
      { loader: 'generic' },
    );
  });

  it('refuses a number of a wrong size and a list that is none, naming the note', () => {
    for (const bad of [
      xenNote(1, words(1, [1, 2, 3])),
      xenNote(13, words(8, [1n])),
      xenNote(17, words(2, [1])),
    ]) {
      assert.throws(
        () => inSegment(bad),
        (error: unknown) =>
          error instanceof ImageError && /k, program header 0, note 0 at offset 0x0/.test(error.message),
      );
    }
  });

  it('reads the legacy string, with its numbers and its page number', () => {
    const found = legacy(
      'GUEST_OS=linux,GUEST_VER=2.6,XEN_VER=xen-3.0,VIRT_BASE=0xC0000000,ELF_PADDR_OFFSET=0x10,VIRT_ENTRY=3221225472,HYPERCALL_PAGE=0x102,FEATURES=!writable_page_tables|x,PAE=yes,LOADER=generic,BSD_SYMTAB,NEW=1',
    );
    assert.deepEqual(found, {
      source: '__xen_guest',
      notes: {
        guest_os: 'linux',
        guest_version: '2.6',
        xen_version: 'xen-3.0',
        virt_base: 0xc0000000n,
        paddr_offset: 0x10n,
        entry: 0xc0000000n,
        hypercall_page: 0xc0102000n,
        features: { supported: 1, required: 1, unknown: ['x'], unknownRequired: [] },
        pae_mode: 'yes',
        loader: 'generic',
        bsd_symtab: true,
      },
    });
    assert.equal(legacy('VIRT_BASE=017')?.notes.virt_base, 15n);
    assert.throws(() => legacy('VIRT_BASE=0xZZ'), /section __xen_guest, 0xZZ: is not a number/);
  });

  it('parses feature strings', () => {
    assert.deepEqual(parseFeatures(''), { supported: 0, required: 0, unknown: [], unknownRequired: [] });
    assert.deepEqual(parseFeatures('dom0|!future|hasOwnProperty'), {
      supported: 1 << 11,
      required: 0,
      unknown: ['hasOwnProperty'],
      unknownRequired: ['future'],
    });
    assert.deepEqual(featureNames(0x8801), ['writable_page_tables', 'dom0', 'linux_rsdp_unrestricted']);
    assert.deepEqual(featureNames(0x80000000), ['bit 31']);
  });
});
