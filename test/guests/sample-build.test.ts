/**
 * The committed guest images are what their sources give: rebuild and compare. With the compiler that made the
 * committed image (its `.comment` says which) every loaded byte must be the same; with another one the image must
 * build and offer the same notes and symbols.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { latin1 } from '../../src/base/bytes';
import type { ElfFile, ElfSection } from '../../src/guest/elf';
import { SHT_SYMTAB, findSection, readElf, sectionData } from '../../src/guest/elf';
import { readXenNotes } from '../../src/guest/notes';
import { skipBecause } from '../support/skip';

const root = join(__dirname, '..', '..');

const images = [
  { name: 'first-hypercall', folder: join(root, 'media/samples/first-hypercall'), limit: 60 * 1024 },
  { name: 'neighbours', folder: join(root, 'media/samples/neighbours'), limit: 60 * 1024 },
  { name: 'hostile', folder: join(root, 'test/guests/hostile'), limit: 40 * 1024 },
  { name: 'crossings', folder: join(root, 'test/guests/crossings'), limit: 48 * 1024 },
];

const SHF_ALLOC = 2n;
const STB_GLOBAL = 1;
const SYMBOL_SIZE = 24;

const load = (folder: string, name: string): ElfFile =>
  readElf(readFileSync(join(folder, `${name}.elf`)), `${name}.elf`);

function bytesOf(elf: ElfFile, name: string): Uint8Array {
  const section = findSection(elf, name);
  assert.ok(section, `${elf.name} has no section ${name}`);
  const data = sectionData(elf, section);
  return data.slice(0, data.size);
}

/** The zero-terminated strings of a section. */
const strings = (elf: ElfFile, name: string): string[] => latin1(bytesOf(elf, name)).split('\0');

/** The compiler that made an image, as it wrote it there. */
const compiler = (elf: ElfFile): string => strings(elf, '.comment').join(' ').trim();

const loadedSections = (elf: ElfFile): readonly ElfSection[] =>
  elf.sections.filter((section) => (section.flags & SHF_ALLOC) !== 0n);

function globalSymbols(elf: ElfFile): string[] {
  const table = elf.sections.find((section) => section.type === SHT_SYMTAB);
  assert.ok(table, `${elf.name} has no symbols`);
  const data = sectionData(elf, table);
  const names = latin1(bytesOf(elf, '.strtab'));
  const found: string[] = [];
  for (let at = 0; at < data.size; at += SYMBOL_SIZE) {
    const start = data.u32(at);
    if (data.u8(at + 4) >> 4 === STB_GLOBAL) found.push(names.slice(start, names.indexOf('\0', start)));
  }
  return found.sort();
}

/** What the image says to Xen, without the addresses, which move with the compiler. */
function notesWithoutAddresses(elf: ElfFile): object {
  const found = readXenNotes(elf);
  assert.ok(found, `${elf.name} has no Xen notes`);
  return { source: found.source, notes: { ...found.notes, entry: 'set', hypercall_page: 'set' } };
}

/** Why nothing can be built here, or undefined. */
function obstacle(): string | undefined {
  const gcc = spawnSync('gcc', ['-dumpmachine'], { encoding: 'utf8' });
  if (gcc.status !== 0) return 'there is no gcc';
  if (!gcc.stdout.startsWith('x86_64')) return `gcc is for ${gcc.stdout.trim()}, not for x86_64`;
  if (spawnSync('make', ['--version']).status !== 0) return 'there is no make';
  return undefined;
}

function build(folder: string, name: string): ElfFile {
  const out = mkdtempSync(join(tmpdir(), `${name}-`));
  try {
    const made = spawnSync('make', ['-s', '-C', folder, `OUT=${out}`], { encoding: 'utf8' });
    assert.equal(made.status, 0, made.stderr);
    return load(out, name);
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

for (const { name, folder, limit } of images) {
  describe(`guest image ${name}`, () => {
    const committed = load(folder, name);

    it('is small', () => {
      assert.ok(committed.file.size < limit, `${committed.file.size} bytes, limit ${limit}`);
    });

    it('names no file of the machine it was built on', () => {
      const paths = [...strings(committed, '.debug_line_str'), ...strings(committed, '.debug_str')];
      assert.deepEqual(
        paths.filter((path) => path.startsWith('/')),
        [],
      );
    });

    it('introduces itself in a PT_NOTE segment', () => {
      const found = readXenNotes(committed);
      assert.equal(found?.source, 'PT_NOTE');
      assert.equal(found.notes.guest_os, name);
      assert.equal(found.notes.xen_version, 'xen-3.0');
      assert.equal(found.notes.virt_base, 0xffffffff80000000n);
      assert.equal(found.notes.entry, committed.entry);
      assert.equal(found.notes.hypercall_page, findSection(committed, '.text')?.addr);
    });

    it('is what its sources build', function () {
      this.timeout(60_000);
      const reason = obstacle();
      if (reason !== undefined) skipBecause(this, reason);
      const built = build(folder, name);
      assert.deepEqual(notesWithoutAddresses(built), notesWithoutAddresses(committed));
      assert.deepEqual(globalSymbols(built), globalSymbols(committed));
      if (compiler(built) !== compiler(committed)) {
        console.log(
          `      bytes not compared: this is ${compiler(built)}, the committed image is by ${compiler(committed)}`,
        );
        return;
      }
      const places = (elf: ElfFile): object[] =>
        loadedSections(elf).map((section) => ({
          name: section.name,
          address: section.addr,
          size: section.size,
        }));
      assert.deepEqual(places(built), places(committed));
      for (const { name: section } of loadedSections(built)) {
        assert.deepEqual(bytesOf(built, section), bytesOf(committed, section), `${section} differs`);
      }
    });
  });
}
