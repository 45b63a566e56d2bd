import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { DebugInfo } from '../../../src/guest/dwarf';
import { AT, TAG, bare, createDebugInfo, typeName } from '../../../src/guest/dwarf';
import { findSection, readElf } from '../../../src/guest/elf';
import { ImageError } from '../../../src/guest/error';
import { createRandom } from '../../support/random';
import { skipBecause } from '../../support/skip';

// The same source, as compilers describe it: what a debugger asks must not depend on the version, the optimization
// or the packing. The layout below is what `pahole` and gdb's `ptype /o` say of it.

const folder = path.join(__dirname, '../../../media/samples/c-tour');
const source = path.join(folder, 'shapes.c');
const image = (): Uint8Array => new Uint8Array(readFileSync(path.join(folder, 'c-tour.elf')));

const SHAPE = [
  '0 const char *name',
  '8 enum colour colour',
  '12 int tilt : 5 at 96',
  '12 unsigned int visible : 1 at 101',
  '16 struct point corners[4]',
  '48 u8 access',
  '56 long int (*area)(const struct shape *)',
  '64 struct shape *next',
];

const open = (bytes: Uint8Array): DebugInfo => createDebugInfo(readElf(bytes, 'k'), () => undefined);

function membersOf(debug: DebugInfo, keyword: 'struct' | 'union', name: string): string[] {
  const type = debug.findType(keyword, name, undefined);
  const it = type === undefined ? undefined : bare(type);
  assert.ok(it?.kind === 'struct' || it?.kind === 'union', `${keyword} ${name}`);
  return it.members().map((member) => {
    const { offset, bits } = member;
    const declared = typeName(member.type(), member.name ?? '');
    return `${offset} ${declared}${bits === undefined ? '' : ` : ${bits.width} at ${bits.at}`}`;
  });
}

function checkShapes(debug: DebugInfo): void {
  assert.deepEqual(membersOf(debug, 'struct', 'shape'), SHAPE);
  assert.equal(debug.findEnumerator('BLUE', undefined)?.value, 4n);
  assert.equal(debug.findType('struct', 'nothing', undefined), undefined);
  const drawn = debug.find('drawn', undefined);
  assert.ok(drawn);
  assert.equal(typeName(debug.types.typeOf(drawn)), 'u32');
  checkNames(debug);
}

/** What units themselves have is found by its name; what only members are called is not, and is not looked for twice. */
function checkNames(debug: DebugInfo): void {
  const { dwarf } = debug;
  const things = new Set<number>([TAG.variable, TAG.subprogram]);
  const looked = new Set<number>([...things, TAG.typedef, TAG.base_type]);
  let found = 0;
  for (const unit of dwarf.units)
    for (const entry of unit.below(unit.root, looked)) {
      const name = dwarf.text(entry, AT.name);
      if (name === undefined) continue;
      found++;
      if (!things.has(entry.tag)) {
        assert.ok(debug.findType(undefined, name, undefined) !== undefined, name);
        continue;
      }
      assert.equal(dwarf.text(debug.find(name, undefined) ?? assert.fail(name), AT.name), name);
    }
  assert.ok(found > 5, `${found} names`);
  let looks = 0;
  const get = dwarf.sections.get.bind(dwarf.sections);
  Object.assign(dwarf.sections, {
    get: (...asked: Parameters<typeof get>) => {
      looks++;
      return get(...asked);
    },
  });
  assert.equal(debug.find('corners', undefined), undefined);
  assert.ok(looks > 0);
  looks = 0;
  assert.equal(debug.find('corners', undefined), undefined);
  assert.equal(debug.findEnumerator('corners', undefined), undefined);
  assert.equal(looks, 0, 'it is known that nothing but members has that name');
  Object.assign(dwarf.sections, { get });
}

/** Ways to build it, each with what must be in the result for the test to mean anything. */
const builds: readonly { readonly name: string; readonly flags: readonly string[]; readonly has: string }[] =
  [
    { name: 'DWARF 4, -O0', flags: ['-gdwarf-4', '-O0'], has: '.debug_info' },
    { name: 'DWARF 4, -O2', flags: ['-gdwarf-4', '-O2'], has: '.debug_loc' },
    { name: 'DWARF 4 with type units', flags: ['-gdwarf-4', '-fdebug-types-section'], has: '.debug_types' },
    { name: 'DWARF 5, -O0', flags: ['-gdwarf-5', '-O0'], has: '.debug_info' },
    { name: 'DWARF 5, -O2', flags: ['-gdwarf-5', '-O2'], has: '.debug_loclists' },
    { name: 'DWARF 5, 64-bit format', flags: ['-gdwarf-5', '-gdwarf64', '-O2'], has: '.debug_info' },
    { name: 'zlib', flags: ['-gdwarf-5', '-gz=zlib'], has: '.debug_info' },
    { name: 'zlib, as GNU had it first', flags: ['-gdwarf-4', '-gz=zlib-gnu'], has: '.zdebug_info' },
  ];

describe('guest/dwarf', function () {
  this.timeout(60_000);

  it('reads types, scopes and inlined functions of the optimized sample', () => {
    const debug = open(image());
    checkShapes(debug);
    assert.deepEqual(membersOf(debug, 'union', 'entry')[0], '0 u64 whole');
    assert.deepEqual(membersOf(debug, 'struct', 'message'), ['0 u32 length', '4 char text[]']);
    const [file = ''] = debug.lines.filesNamed('shapes.c');
    const line = readFileSync(source, 'utf8')
      .split('\n')
      .findIndex((text) => text.includes('shapes = shape;'));
    const pc = debug.lines.code(file, line + 1)?.addresses[0] ?? 0n;
    const names = debug.scopes
      .at(pc)
      .map(({ kind, entry }) => `${kind} ${debug.dwarf.text(entry, AT.name) ?? ''}`);
    assert.deepEqual(names, ['function add_shapes', 'inlined push_shape', 'block ']);
    const row = debug.frames.at(pc);
    assert.deepEqual(row?.cfa, { kind: 'register', register: 7, offset: 8n });
    assert.deepEqual(debug.problems(), []);
  });

  for (const { name, flags, has } of builds) {
    it(`reads ${name}`, function () {
      if (spawnSync('gcc', ['--version']).status !== 0) skipBecause(this, 'there is no gcc');
      const out = mkdtempSync(path.join(tmpdir(), 'dwarf-'));
      try {
        const built = path.join(out, 'shapes');
        const made = spawnSync(
          'gcc',
          ['-I', path.join(folder, '../first-hypercall'), ...flags, '-nostdlib', '-no-pie', '-static', '-Wl,-e,add_shapes', '-o', built, source], // prettier-ignore
          { encoding: 'utf8' },
        );
        if (made.status !== 0) skipBecause(this, `this gcc does not build it: ${made.stderr.trim()}`);
        const elf = readElf(new Uint8Array(readFileSync(built)), 'shapes');
        assert.ok(findSection(elf, has), `${has} is not there`);
        const debug = createDebugInfo(elf, () => undefined);
        checkShapes(debug);
        const depth = debug.find('depth_of', undefined);
        const [range] = depth === undefined ? [] : debug.dwarf.ranges(depth);
        assert.ok(range);
        assert.equal(debug.scopes.at(range.low).length > 0, true);
        assert.notEqual(debug.frames.at(range.low), undefined);
        assert.deepEqual(debug.problems(), []);
      } finally {
        rmSync(out, { recursive: true, force: true });
      }
    });
  }

  it('survives damaged files: an ImageError or an answer, and an end', () => {
    const random = createRandom(23);
    const whole = image();
    const elf = readElf(whole, 'k');
    const sections = elf.sections.filter(({ name }) => name.startsWith('.debug_'));
    for (let round = 0; round < 150; round++) {
      const bytes = whole.slice();
      for (let spots = 1 + random.next(6); spots > 0; spots--) {
        const section = sections[random.next(sections.length)];
        if (section !== undefined && section.size > 0)
          bytes[section.offset + random.next(section.size)] = random.next(256);
      }
      try {
        const debug = open(bytes);
        const [file = ''] = debug.lines.filesNamed('tour.c');
        const pc = debug.lines.code(file, 60)?.addresses[0] ?? 0xffffffff80101300n;
        for (const scope of debug.scopes.at(pc))
          for (const entry of debug.scopes.variables(scope)) typeName(debug.types.typeOf(entry));
        debug.frames.at(pc);
        const type = debug.findType('struct', 'shape', undefined);
        const it = type === undefined ? undefined : bare(type);
        if (it?.kind === 'struct') for (const member of it.members()) typeName(member.type());
      } catch (error) {
        assert.ok(
          error instanceof ImageError,
          `round ${round}: ${error instanceof Error ? (error.stack ?? '') : String(error)}`,
        );
      }
    }
  });
});
