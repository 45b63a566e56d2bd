import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { deflateSync } from 'node:zlib';
import { lineTable } from '../../../src/guest/dwarf/line';
import { joinPath } from '../../../src/guest/dwarf/line-program';
import type { ElfFile } from '../../../src/guest/elf';
import { readElf } from '../../../src/guest/elf';
import { ImageError } from '../../../src/guest/error';
import { symbolsOfElf } from '../../../src/guest/symbols';
import type { SectionSpec } from '../../support/elf-builder';
import { buildElf, cString, concat, words } from '../../support/elf-builder';
import { createRandom } from '../../support/random';

const BASE = 0x1000n;
const u8 = (...values: number[]): Uint8Array => words(1, values);
const unit = (body: Uint8Array, long = false): Uint8Array =>
  concat(long ? [words(4, [0xffffffff]), words(8, [body.length]), body] : [words(4, [body.length]), body]);

/** min_inst_length 1, max_ops 1, default_is_stmt 1, line_base -5, line_range 14, opcode_base 13. */
const parameters = (version: number): Uint8Array =>
  u8(1, ...(version >= 4 ? [1] : []), 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1);
const special = (operations: number, lines: number): number => lines + 5 + operations * 14 + 13;
const setAddress = (address: bigint): Uint8Array => concat([u8(0, 9, 2), words(8, [address])]);

/** f: lines 10, 11, 10 again; a gap of line 0; then, from another file, line 3 with column 7. */
const program = concat([
  setAddress(BASE),
  u8(3, 9, 1), // advance_line 9; copy: line 10
  u8(special(2, 1)), // +2: line 11
  u8(6, special(3, -1), 6), // +3: line 10, not a statement
  u8(special(1, 0)), // +1: line 10 again, a statement
  u8(3, 0x76, 2, 4, 1), // advance_line -10, advance_pc 4; copy: line 0
  u8(4, 2, 5, 7, 3, 3, 9, 2, 0, 1), // file 2, column 7, line 3, fixed_advance_pc 2; copy
  u8(2, 6, 0, 1, 1), // advance_pc 6; end of sequence
  // What the linker dropped: its addresses are nowhere.
  setAddress(0n),
  u8(1, 2, 4, 0, 1, 1),
]);

function version5(offsetSize: 4 | 8 = 4): Uint8Array {
  const tables = concat([
    u8(1, 1, 0x1f, 2),
    words(offsetSize, [0, 5]), // directories: line_strp
    u8(2, 1, 0x08, 2, 0x0b, 3), // files: string, data1
    cString('main.c'),
    u8(0),
    cString('main.c'),
    u8(0),
    cString('../lib/x.h'),
    u8(1),
  ]);
  const header = concat([parameters(5), tables]);
  return unit(
    concat([words(2, [5]), u8(8, 0), words(offsetSize, [header.length]), header, program]),
    offsetSize === 8,
  );
}
const lineStrings = concat([cString('/src'), cString('inc')]);

function version4(): Uint8Array {
  const header = concat([
    parameters(4),
    cString('inc'),
    u8(0),
    cString('main.c'),
    u8(0, 0, 0),
    cString('../lib/x.h'),
    u8(1, 0, 0),
    u8(0),
  ]);
  return unit(concat([words(2, [4]), words(4, [header.length]), header, program]));
}
/** One unit whose root says where the compiler ran, and which line program is its own. */
const info = unit(
  concat([words(2, [4]), words(4, [0]), u8(8), u8(1), cString('main.c'), words(4, [0]), cString('/src')]),
);
const abbrev = u8(2, 0x2e, 0, 0, 0, 1, 0x11, 0, 0x03, 0x08, 0x10, 0x17, 0x1b, 0x08, 0, 0, 0);

const image = (...sections: SectionSpec[]): ElfFile =>
  readElf(buildElf({ segments: [{ vaddr: BASE, data: new Uint8Array(64) }], sections }), 'k');
const images = {
  'version 5': image(
    { name: '.debug_line', data: version5() },
    { name: '.debug_line_str', data: lineStrings },
  ),
  'version 5 in the 64-bit format': image(
    { name: '.debug_line', data: version5(8) },
    { name: '.debug_line_str', data: lineStrings },
  ),
  'version 4': image(
    { name: '.debug_line', data: version4() },
    { name: '.debug_info', data: info },
    { name: '.debug_abbrev', data: abbrev },
  ),
  'a compressed section': image(
    {
      name: '.debug_line',
      flags: 1n << 11n,
      data: concat([words(4, [1, 0]), words(8, [version5().length, 1]), deflateSync(version5())]),
    },
    { name: '.debug_line_str', data: lineStrings },
  ),
};

describe('guest/dwarf/line', () => {
  for (const [name, elf] of Object.entries(images)) {
    it(`maps addresses to lines and back: ${name}`, () => {
      const table = lineTable(elf, () => BASE);
      const at = (offset: bigint): string => {
        const found = table.at(BASE + offset);
        return found === undefined
          ? '-'
          : `${found.file}:${found.line}${found.column === undefined ? '' : `:${found.column}`} [${found.low - BASE},${found.high - BASE})`;
      };
      assert.deepEqual(table.problems, []);
      assert.deepEqual(table.files, ['/src/lib/x.h', '/src/main.c']);
      assert.equal(at(0n), '/src/main.c:10 [0,2)');
      assert.equal(at(4n), '/src/main.c:11 [2,5)');
      assert.equal(at(5n), '/src/main.c:10 [5,6)');
      assert.equal(at(9n), '/src/main.c:10 [6,10)');
      assert.equal(at(10n), '-', 'line 0 is no line');
      assert.equal(at(12n), '/src/lib/x.h:3:7 [12,18)');
      assert.equal(at(18n), '-', 'after the end of the sequence');
      assert.equal(table.at(0n), undefined, 'a dropped function is nowhere');

      assert.deepEqual(table.code('/src/main.c', 10), { line: 10, addresses: [BASE] });
      assert.deepEqual(table.code('/src/main.c', 1), { line: 10, addresses: [BASE] });
      assert.deepEqual(table.code('/src/main.c', 11), { line: 11, addresses: [BASE + 2n] });
      assert.equal(table.code('/src/main.c', 12), undefined);
      assert.equal(table.code('/src/other.c', 1), undefined);
      // Without symbols, each run of the line is a place of its own.
      assert.deepEqual(lineTable(elf).code('/src/main.c', 10), { line: 10, addresses: [BASE, BASE + 6n] });
    });
  }

  it('joins paths without looking at the disk', () => {
    for (const [directory, name, joined] of [
      ['/a/b', 'c.h', '/a/b/c.h'],
      ['/a/b', '../c.h', '/a/c.h'],
      ['/a', '/x//y', '/x/y'],
      ['.', './boot.S', 'boot.S'],
      ['', '../x', '../x'],
      ['a', '../../x', '../x'],
      ['/', '../x', '/x'],
    ] as const)
      assert.equal(joinPath(directory, name), joined);
  });

  it('reports what it cannot read, and serves the rest', () => {
    const odd = unit(concat([words(2, [9]), new Uint8Array(20)]));
    const elf = image(
      { name: '.debug_line', data: concat([odd, version5(), words(4, [0x7fffffff])]) },
      { name: '.debug_line_str', data: lineStrings },
    );
    const table = lineTable(elf);
    assert.equal(table.at(BASE)?.line, 10);
    assert.equal(table.problems.length, 2);
    assert.match(table.problems[0] ?? '', /unit at offset .*: a length of 2147483647 bytes does not fit/);
    assert.match(
      table.problems[1] ?? '',
      /section \.debug_line, line program at 0x4, offset 0x2: line table version 9/,
    );
    const without = lineTable(image({ name: '.debug_line', data: version5() }));
    assert.match(without.problems[0] ?? '', /\.debug_line_str: is missing/);
    assert.deepEqual([lineTable(image()).files, lineTable(image()).problems], [[], []]);
  });

  it('survives damaged tables', () => {
    const random = createRandom(11);
    const sections = [version5(), lineStrings, info, abbrev];
    for (let round = 0; round < 1500; round++) {
      const [line = version5(), strings, units, abbreviations] = sections.map((section) => {
        const copy = section.slice();
        for (let spots = random.next(3); spots > 0; spots--)
          copy[random.next(copy.length)] = random.next(256);
        return copy;
      });
      const elf = image(
        { name: '.debug_line', data: line },
        ...[
          ['.debug_line_str', strings],
          ['.debug_info', units],
          ['.debug_abbrev', abbreviations],
        ].map(([name, data]): SectionSpec => ({ name: name as string, data: data as Uint8Array })),
      );
      try {
        const table = lineTable(elf);
        table.at(BASE + 4n);
        for (const file of table.files) table.code(file, 1);
      } catch (error) {
        assert.ok(
          error instanceof ImageError,
          `round ${round}: ${error instanceof Error ? (error.stack ?? '') : String(error)}`,
        );
      }
    }
  });

  it('the sample guest: each function lies on the line that opens it', () => {
    const folder = path.join(__dirname, '../../../media/samples/first-hypercall');
    const elf = readElf(new Uint8Array(readFileSync(path.join(folder, 'first-hypercall.elf'))), 'sample');
    const symbols = symbolsOfElf(elf);
    const table = lineTable(elf, (address) => symbols.at(address)?.address);
    assert.deepEqual(table.problems, []);
    const functions = symbols
      .between(0n, 2n ** 64n - 1n)
      .filter(({ kind, global }) => kind === 'function' && global);
    let checked = 0;
    for (const { name, address } of functions) {
      const at = table.at(address);
      if (at === undefined || !at.file.endsWith('.c')) continue;
      const lines = readFileSync(path.join(folder, at.file), 'utf8').split('\n');
      // The compiler may give the first instruction to the opening line or to the first statement after it.
      const opening = [0, 1, 2, 3]
        .map((up) => at.line - up)
        .find((line) => lines[line - 1]?.includes(`${name}(`));
      assert.ok(opening !== undefined, `${name} at ${at.file}:${at.line}`);
      assert.deepEqual(
        table.code(at.file, opening)?.addresses,
        [address],
        `${name} at ${at.file}:${opening}`,
      );
      checked++;
    }
    assert.ok(checked >= 5, `only ${checked} functions have lines`);
  });
});
