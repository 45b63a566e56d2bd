import assert from 'node:assert/strict';
import { buildId, findSection, readElf, sectionData, sectionNotes, segmentNotes } from '../../src/guest/elf';
import { ImageError } from '../../src/guest/error';
import type { ElfSpec } from '../support/elf-builder';
import { ascii, buildElf, concat, note, noteSegment, words } from '../support/elf-builder';

const text = new Uint8Array(32).fill(0x90);
const plain: ElfSpec = {
  entry: 0x1000n,
  segments: [{ vaddr: 0x1000n, paddr: 0x2000n, memsz: 0x3000n, flags: 5, data: text }],
  sections: [
    { name: '.text', addr: 0x1000n, data: text },
    { name: '.bss', type: 8, claim: { size: 1n << 40n } },
  ],
};
const throwsAt = (bytes: Uint8Array, where: RegExp, problem: RegExp) => {
  assert.throws(
    () => readElf(bytes, 'k'),
    (error: unknown) => {
      assert.ok(error instanceof ImageError, String(error));
      assert.match(`${error.thing}, ${error.where}`, where);
      assert.match(error.problem, problem);
      return true;
    },
  );
};

describe('guest/elf', () => {
  it('reads headers, names and contents', () => {
    const elf = readElf(buildElf(plain), 'k');
    assert.equal(elf.entry, 0x1000n);
    const [segment] = elf.segments;
    assert.deepEqual(
      [segment?.type, segment?.flags, segment?.vaddr, segment?.paddr, segment?.filesz, segment?.memsz],
      [1, 5, 0x1000n, 0x2000n, 32, 0x3000],
    );
    assert.deepEqual(
      elf.sections.map(({ name }) => name),
      ['', '.text', '.bss', '.shstrtab'],
    );
    const section = findSection(elf, '.text');
    assert.ok(section);
    assert.deepEqual(sectionData(elf, section).bytes, text);
  });

  it('finds nothing in a section without contents, whatever its size', () => {
    const elf = readElf(buildElf(plain), 'k');
    const bss = findSection(elf, '.bss');
    assert.ok(bss);
    assert.equal(sectionData(elf, bss).size, 0);
  });

  it('refuses every truncation of the headers', () => {
    const whole = buildElf({ segments: plain.segments ?? [] });
    for (let length = 0; length < 64 + 56; length++) {
      assert.throws(() => readElf(whole.subarray(0, length), 'k'), ImageError, `${length} bytes`);
    }
    readElf(whole, 'k');
    const sections = buildElf(plain);
    throwsAt(sections.subarray(0, sections.length - 1), /e_shoff/, /truncated, or a lying header/);
  });

  it('says what the file is, where that is the trouble', () => {
    throwsAt(ascii('#!/bin/sh'.padEnd(64)), /offset 0x0/, /not an ELF/);
    throwsAt(buildElf({ elfClass: 1, machine: 3 }), /EI_CLASS/, /32-bit x86 image/);
    throwsAt(buildElf({ machine: 183 }), /e_machine/, /64-bit ARM \(aarch64\)/);
    throwsAt(buildElf({ machine: 243 }), /e_machine/, /RISC-V/);
    throwsAt(buildElf({ machine: 4711 }), /e_machine/, /machine number 4711/);
    throwsAt(buildElf({ elfClass: 1, machine: 40 }), /e_machine/, /32-bit ARM/);
    throwsAt(buildElf({ elfClass: 1 }), /EI_CLASS/, /32-bit/);
    throwsAt(buildElf({ order: 2, patches: [[18, 2, 0x1600n]] }), /EI_DATA/, /big-endian, for s390/);
    throwsAt(buildElf({ order: 0 }), /EI_DATA/, /byte order 0/);
  });

  it('does the arithmetic of lying headers without overflow', () => {
    const all = 2n ** 64n - 1n;
    throwsAt(buildElf({ ...plain, patches: [[32, 8, all]] }), /e_phoff/, /believable/);
    throwsAt(buildElf({ ...plain, patches: [[32, 8, 2n ** 53n - 1n]] }), /e_phoff/, /lying header/);
    throwsAt(buildElf({ ...plain, patches: [[40, 8, all - 63n]] }), /e_shoff/, /believable/);
    throwsAt(buildElf({ ...plain, patches: [[54, 2, 32n]] }), /e_phentsize/, /is 32/);
    throwsAt(buildElf({ ...plain, patches: [[56, 2, 0xffffn]] }), /e_phnum/, /65535 headers/);
    throwsAt(buildElf({ ...plain, patches: [[60, 2, 0xff01n]] }), /e_shnum/, /believed/);
    throwsAt(buildElf({ ...plain, patches: [[64 + 40, 8, all]] }), /program header 0, p_memsz/, /believable/);
  });

  it('refuses a lying section only when it is asked for', () => {
    const elf = readElf(
      buildElf({ sections: [{ name: '.x', claim: { offset: 2n ** 53n - 1n, size: 2n ** 53n - 1n } }] }),
      'k',
    );
    const section = findSection(elf, '.x');
    assert.ok(section);
    assert.throws(() => sectionData(elf, section), /k, section \.x, sh_offset, sh_size: .*lying header/);
  });

  it('reads notes from segments and from sections, each with its place', () => {
    const notes = concat([note('Xen', 6, ascii('x')), note('GNU', 3, words(1, [0xab, 0x01]))]);
    const inSegment = readElf(buildElf({ segments: [noteSegment(notes)] }), 'k');
    assert.deepEqual(
      segmentNotes(inSegment).map(({ owner, type, desc }) => [owner, type, desc.size]),
      [
        ['Xen', 6, 1],
        ['GNU', 3, 2],
      ],
    );
    assert.equal(sectionNotes(inSegment).length, 0);
    assert.equal(buildId(inSegment), 'ab01');
    const inSection = readElf(buildElf({ sections: [{ name: '.note', type: 7, data: notes }] }), 'k');
    assert.equal(segmentNotes(inSection).length, 0);
    assert.match(sectionNotes(inSection)[1]?.place ?? '', /section \.note, note 1 at offset 0x14/);
    assert.equal(buildId(inSection), 'ab01');
  });

  it('names the note that lies about its size', () => {
    const lying = concat([note('Xen', 6, ascii('fine')), words(4, [4, 0xffffffff, 3])]);
    const elf = readElf(buildElf({ segments: [noteSegment(lying)] }), 'k');
    assert.throws(
      () => segmentNotes(elf),
      /program header 0, note 1 at offset 0x14: .*4294967295 bytes do not fit/,
    );
  });
});
