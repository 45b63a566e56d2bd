import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { evaluateAt } from '../../../src/debugger/c/evaluate';
import { scalarFrom } from '../../../src/debugger/c/operand';
import { inFrame } from '../../../src/debugger/evaluate';
import type { EvaluationContext } from '../../../src/debugger/expressions';
import { localsOf } from '../../../src/debugger/expressions';
import { readRegisters } from '../../../src/debugger/registers';
import type { SymbolIndex } from '../../../src/debugger/symbols';
import { noSymbols } from '../../../src/debugger/symbols';
import type { Frame } from '../../../src/debugger/unwind';
import { frameName, unwind } from '../../../src/debugger/unwind';
import { Unavailable, bare, createDebugInfo, sizeOf } from '../../../src/guest/dwarf';
import { readElf } from '../../../src/guest/elf';
import { symbolsOfElf } from '../../../src/guest/symbols';
import { ExpressionError, parseExpression } from '../../../src/machine/expressions';
import { CORE_VCPU, coreTarget } from '../../support/core-file';
import { compareExpressions } from '../../support/c-expressions';
import { createRandom } from '../../support/random';
import { skipBecause } from '../../support/skip';

// gdb and this debugger, asked the same about the same core file of the same program: frames, lines, variables,
// expressions, the layout of types.

interface Answer {
  readonly frames: readonly {
    readonly name: string;
    readonly line: number;
    readonly pc: string;
    readonly inlined: boolean;
    readonly variables: Readonly<Record<string, string | null>>;
    readonly values: Readonly<Record<string, string | null>>;
  }[];
  /** Name, bit offset, bits of a bit-field, bytes. */
  readonly types: Readonly<Record<string, readonly (readonly [string, number, number, number])[]>>;
  readonly lines: Readonly<Record<string, readonly number[]>>;
}

const builds: readonly { readonly flags: readonly string[]; readonly pack?: string }[] = [
  { flags: ['-gdwarf-5', '-O0'] },
  { flags: ['-gdwarf-5', '-O2'] },
  { flags: ['-gdwarf-4', '-O0'], pack: 'zlib-gnu' },
  { flags: ['-gdwarf-4', '-O2'], pack: 'zlib' },
  { flags: ['-gdwarf-5', '-O2', '-fno-omit-frame-pointer'], pack: 'zstd' },
];

/** What gdb 13 leaves out: a variable that is a constant of floating point. */
const BEYOND: Readonly<Record<string, string>> = { half: '0.5' };

const GLOBALS = ['nodes', 'ratio', 'matrix', 'mail', 'sink', 'GONE', 'weight_of'];

/** A number as gdb says it, 'optimized out', or undefined for what is no number. */
async function valueOf(expression: string, context: EvaluationContext): Promise<string | undefined> {
  try {
    const { operand, evaluator } = await evaluateAt(parseExpression(expression), context);
    const { value } = await scalarFrom(operand, evaluator, 0);
    return typeof value === 'number' ? `${value}` : `${BigInt.asUintN(64, value)}`;
  } catch (error) {
    if (error instanceof Unavailable) return 'optimized out';
    if (error instanceof ExpressionError)
      return /optimized out/.test(error.message) ? 'optimized out' : undefined;
    throw error;
  }
}

/** gdb writes 2.5 and 5.0, JavaScript 2.5 and 5. */
const same = (ours: string | undefined, gdbs: string | null): boolean =>
  gdbs === null
    ? ours === undefined
    : ours === gdbs || (ours !== undefined && Number(ours) === Number(gdbs) && gdbs.includes('.'));

describe('beside gdb', function () {
  this.timeout(120_000);

  for (const { flags, pack } of builds) {
    const name = [...flags, ...(pack === undefined ? [] : [`sections packed by ${pack}`])].join(' ');
    it(`${name}: frames, lines, variables, expressions, types`, async function () {
      for (const tool of ['gdb', 'gcc', 'objcopy'])
        if (spawnSync(tool, ['--version']).status !== 0) skipBecause(this, `there is no ${tool}`);
      const out = mkdtempSync(path.join(tmpdir(), 'gdb-'));
      try {
        const built = path.join(out, 'program');
        const source = path.join(__dirname, 'program.c');
        const made = spawnSync('gcc', [...flags, '-nostdlib', '-static', '-no-pie', '-fno-stack-protector', '-o', built, source], { encoding: 'utf8' }); // prettier-ignore
        if (made.status !== 0) skipBecause(this, `this gcc does not build it: ${made.stderr.trim()}`);
        const core = path.join(out, 'core');
        const ask = spawnSync('gdb', ['-nx', '-batch', '-ex', `python core = ${JSON.stringify(core)}`, '-x', path.join(__dirname, 'ask.py'), built], { encoding: 'utf8', timeout: 60_000 }); // prettier-ignore
        const json = /^ANSWER (.*)$/m.exec(ask.stdout)?.[1];
        if (json === undefined)
          skipBecause(this, `gdb does not run it: ${ask.stderr.trim().split('\n').at(-1) ?? ''}`);
        const answer = JSON.parse(json) as Answer;
        if (pack !== undefined) {
          const packed = spawnSync('objcopy', [`--compress-debug-sections=${pack}`, built], {
            encoding: 'utf8',
          });
          if (packed.status !== 0) skipBecause(this, `this objcopy does not pack by ${pack}`);
        }
        await compare(built, core, answer);
      } finally {
        rmSync(out, { recursive: true, force: true });
      }
    });
  }
});

async function compare(built: string, core: string, answer: Answer): Promise<void> {
  const bytes = new Uint8Array(readFileSync(built));
  const symbols = symbolsOf(bytes);
  const target = coreTarget(core);
  const registers = await readRegisters(target, CORE_VCPU);
  const context: EvaluationContext = { target, vcpu: CORE_VCPU, symbols, registers };
  const frames = await unwind({ target, vcpu: CORE_VCPU, registers, symbols, call: undefined }, 64);
  // A clone of a function has the symbol `name.constprop.0`; gdb shows the name in the source.
  const shown = (frame: Frame): string =>
    `${frameName(frame).replace(/[.+].*| \(inlined\)/g, '')}:${frame.line?.line ?? 0}${frame.inlined === undefined ? '' : ' inlined'}`;
  assert.deepEqual(
    frames.map(shown),
    answer.frames.map((one) => `${one.name}:${one.line}${one.inlined ? ' inlined' : ''}`),
  );
  let compared = 0;
  let valued = 0;
  const random = createRandom(7);
  const differences: string[] = [];
  for (const [i, gdbs] of answer.frames.entries()) {
    const frame = frames[i] ?? assert.fail();
    assert.equal(`${frame.address}`, gdbs.pc, gdbs.name);
    const here = inFrame(context, frame, i === 0);
    const names = localsOf(here)
      .filter(({ hidden }) => !hidden)
      .map(({ name }) => name);
    const known = Object.keys(gdbs.variables);
    assert.deepEqual(
      known.filter((name) => !names.includes(name)),
      [],
      gdbs.name,
    );
    for (const name of names)
      if (!known.includes(name))
        assert.equal(await valueOf(name, here), BEYOND[name], `${gdbs.name}: ${name}`);
    // What the machine is given of a condition means the same as at a stop.
    const asked = await compareExpressions(here, GLOBALS, random, 60);
    assert.deepEqual(asked.differences, [], `${gdbs.name}: conditions in the machine`);
    valued += asked.valued;
    for (const [expression, wanted] of Object.entries({ ...gdbs.values, ...gdbs.variables })) {
      const ours = await valueOf(expression, here);
      compared++;
      if (!same(ours, wanted))
        differences.push(`#${i} ${gdbs.name}: ${expression}: ${ours ?? 'none'}, gdb ${wanted ?? 'none'}`);
    }
  }
  assert.deepEqual(differences, []);
  assert.ok(compared > 150, `${compared} values`);
  assert.ok(valued > 100, `${valued} conditions with a value`);
  compareTypes(bytes, answer);
  compareLines(symbols, answer);
}

/** As guestSymbols makes it of a guest's image, which a program is none. */
function symbolsOf(bytes: Uint8Array): SymbolIndex {
  const elf = readElf(bytes, 'program');
  const table = symbolsOfElf(elf);
  const debug = createDebugInfo(elf, (address) => table.at(address)?.address);
  assert.deepEqual(debug.problems(), []);
  const { lines } = debug;
  return {
    ...noSymbols,
    count: table.count,
    at: (address) => {
      const found = table.at(address);
      return found === undefined ? undefined : { ...found, offset: BigInt(found.offset) };
    },
    find: (name) => table.named(name)[0]?.address,
    line: (address) => lines.at(address),
    code: (file, line) => lines.code(file, line),
    hasLines: true,
    debug,
  };
}

function compareTypes(bytes: Uint8Array, { types }: Answer): void {
  const debug = createDebugInfo(readElf(bytes, 'program'), () => undefined);
  for (const [name, gdbs] of Object.entries(types)) {
    const type = debug.findType('struct', name.replace('struct ', ''), undefined);
    const it = type === undefined ? undefined : bare(type);
    assert.ok(it?.kind === 'struct', name);
    const ours = it.members().map((member) => {
      const { offset, bits } = member;
      return [member.name ?? '', bits?.at ?? offset * 8, bits?.width ?? 0, sizeOf(member.type())];
    });
    // An array without a length has no size; gdb gives it one element.
    const known = gdbs.map(([field, at, width, size]) => [field, at, width, field === 'text' ? 0 : size]);
    assert.deepEqual(ours, known, name);
  }
}

function compareLines(symbols: SymbolIndex, { lines }: Answer): void {
  const all = Object.entries(lines);
  assert.ok(all.length > 30, `${all.length} rows`);
  for (const [address, wanted] of all) {
    const at = symbols.line(BigInt(address));
    assert.ok(at !== undefined && wanted.includes(at.line), `${address}: ${at?.line ?? 'none'}, gdb ${wanted.join(' or ')}`); // prettier-ignore
  }
}
