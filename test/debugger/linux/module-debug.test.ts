import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Breakpoint } from '../../../src/debugger/breakpoints';
import { MODULE_LOADED, createBreakpoints } from '../../../src/debugger/breakpoints';
import { noHypervisorSources } from '../../../src/debugger/hypervisor-source';
import { joined, openModuleDebug } from '../../../src/debugger/linux/module-debug';
import type { Linux, LinuxModule } from '../../../src/debugger/linux';
import { withModules } from '../../../src/debugger/linux/modules';
import type { PlainSymbol } from '../../../src/debugger/symbols';
import { indexSymbols, noSymbols, symbolsOfDomains } from '../../../src/debugger/symbols';
import type { DebugInfo } from '../../../src/guest/dwarf';
import { AT, bare, createDebugInfo } from '../../../src/guest/dwarf';
import { readElf } from '../../../src/guest/elf';
import { ImageError } from '../../../src/guest/error';
import { memoryFile } from '../../../src/guest/file';
import { elfSymbols } from '../../../src/guest/symbols';
import { skipBecause } from '../../support/skip';

// The linker puts the same sections at the same places as a kernel that loads a module; what it makes of the debugging
// information is what a relocatable debug file has to say once it is placed.

const SOURCE = `
struct item { int kind; unsigned flag : 3; const char *name; struct item *next; };
static struct item first = { 7, 5, "first", 0 };
int counter;
static __attribute__((noinline)) int helper(int x) { volatile int y = x * 3; return y + first.kind; }
int module_work(int irq, struct item *it)
{
  int sum = helper(irq);
  for (int i = 0; i < irq; i++) sum += it->kind;
  counter = sum;
  return sum;
}
__attribute__((section(".init.text"))) int module_start(void)
{
  counter = 1;
  return module_work(2, &first);
}
`;
/** How far away another kernel has put it. */
const ELSEWHERE = 0x40000n;
const PLACES: Readonly<Record<string, bigint>> = {
  '.text': 0xffffffffc0201000n,
  '.data': 0xffffffffc0205100n,
  '.bss': 0xffffffffc0207000n,
  '.init.text': 0xffffffffc020b000n,
};

describe('debugger/linux: debug files of modules', function () {
  this.timeout(60_000);
  const folder = mkdtempSync(path.join(tmpdir(), 'module-debug-'));
  after(() => rmSync(folder, { recursive: true, force: true }));

  const run = (tool: string, args: readonly string[]): void => {
    const { status, stderr } = spawnSync(tool, args, { cwd: folder, encoding: 'utf8' });
    assert.equal(status, 0, `${tool} ${args.join(' ')}: ${stderr}`);
  };
  const build = (flags: readonly string[]): { readonly object: Uint8Array; readonly linked: Uint8Array } => {
    writeFileSync(path.join(folder, 'module.c'), SOURCE);
    run('gcc', [
      ...flags,
      '-mcmodel=kernel',
      '-ffreestanding',
      '-fno-pic',
      '-fno-asynchronous-unwind-tables',
      '-c',
      'module.c',
      '-o',
      'module.o',
    ]);
    const sections = Object.entries(PLACES).map(
      ([name, at]) => `--section-start=${name}=0x${at.toString(16)}`,
    );
    run('ld', ['--no-warn-rwx-segments', '-e', 'module_work', ...sections, 'module.o', '-o', 'module.elf']);
    return {
      object: new Uint8Array(readFileSync(path.join(folder, 'module.o'))),
      linked: new Uint8Array(readFileSync(path.join(folder, 'module.elf'))),
    };
  };
  /** As the kernel has them; those of a section that it has freed are not there. */
  const symbolsOf = (linked: Uint8Array, freed = ''): PlainSymbol[] =>
    elfSymbols(readElf(linked, 'linked'))
      .filter(({ address }) => address < (PLACES[freed] ?? 1n << 64n))
      .map(({ name, address, size }) => ({ name, address, size: BigInt(size) }));

  const say = (debug: DebugInfo, address: bigint): unknown => {
    const { dwarf, lines, scopes, frames, types } = debug;
    const line = lines.at(address);
    const frame = frames.at(address);
    return {
      line: line && `${path.basename(line.file)}:${line.line} ${line.low}-${line.high}`,
      scopes: scopes
        .at(address)
        .map((scope) => [
          dwarf.text(scope.entry, AT.name),
          dwarf.ranges(scope.entry),
          scopes
            .variables(scope)
            .map((entry) => [
              dwarf.text(entry, AT.name),
              bare(types.typeOf(entry)).kind,
              dwarf.expression(entry, AT.location, address)?.bytes.slice(),
            ]),
        ]),
      frame: frame && [frame.cfa, [...frame.rules], frame.low, frame.high],
    };
  };

  for (const flags of [
    ['-g', '-gdwarf-5', '-O1'],
    ['-g', '-gdwarf-4', '-O0', '-gz=zlib'],
  ])
    it(`${flags.join(' ')}: says what the linked file says`, function () {
      if (spawnSync('gcc', ['--version']).status !== 0) skipBecause(this, 'there is no gcc');
      const { object, linked } = build(flags);
      const symbols = symbolsOf(linked);
      const module = openModuleDebug(memoryFile(object, 'module.ko'), symbols);
      assert.ok(module);
      const whole = createDebugInfo(readElf(linked, 'linked'), (address) => address);
      const debug = joined(undefined, [module]) ?? assert.fail();
      let compared = 0;
      for (const { address, size } of symbols)
        for (let at = address; at < address + size; at++) {
          assert.deepEqual(say(debug, at), say(whole, at), at.toString(16));
          assert.equal(module.holds(at), true);
          compared++;
        }
      assert.ok(compared > 100, `${compared}`);
      assert.equal(module.holds(0xffffffff81000000n), false);
      for (const name of ['counter', 'first']) {
        const places = [debug, whole].map((one) => {
          const entry = one.find(name, undefined) ?? assert.fail(name);
          return one.dwarf.block(entry, AT.location)?.bytes.slice();
        });
        assert.deepEqual(places[0], places[1], name);
      }
      assert.equal(debug.lines.code(debug.lines.filesNamed('module.c')[0] ?? '', 8)?.line, 8);
    });

  it('a section that has been freed has no code, and a file of another build is refused', function () {
    if (spawnSync('gcc', ['--version']).status !== 0) skipBecause(this, 'there is no gcc');
    const { object, linked } = build(['-g', '-O1']);
    const symbols = symbolsOf(linked, '.init.text');
    assert.ok(!symbols.some(({ name }) => name === 'module_start'));
    const { debug } = openModuleDebug(memoryFile(object, 'module.ko'), symbols) ?? assert.fail();
    const file = debug.lines.filesNamed('module.c')[0] ?? '';
    const start = SOURCE.split('\n').findIndex((line) => line.includes('counter = 1')) + 1;
    assert.equal(debug.lines.code(file, start), undefined);
    assert.equal(debug.lines.at(0n), undefined);

    const other = build(['-g', '-O0']).object;
    assert.throws(
      () => openModuleDebug(memoryFile(other, 'module.ko'), symbols),
      (error: unknown) =>
        error instanceof ImageError && /another build.*symbols are elsewhere/.test(error.message),
    );
    assert.throws(() => openModuleDebug(memoryFile(linked, 'module.ko'), symbols), /no relocatable file/);
    assert.throws(() => openModuleDebug(memoryFile(object, 'module.ko'), []), /no symbol in common/);
    const stripped = build(['-O1']).object;
    assert.equal(openModuleDebug(memoryFile(stripped, 'module.ko'), symbols), undefined);
  });

  it('of two domains of one image, each has its breakpoints in the module where its own kernel has put it', function () {
    if (spawnSync('gcc', ['--version']).status !== 0) skipBecause(this, 'there is no gcc');
    const { object, linked } = build(['-g', '-O1']);
    const modules = [0n, ELSEWHERE].map((far): LinuxModule => {
      const symbols = symbolsOf(linked).map((one) => ({ ...one, address: one.address + far }));
      const debug = openModuleDebug(memoryFile(object, 'module.ko'), symbols);
      const named = symbols.map((one) => ({ ...one, name: `${one.name} [module]` }));
      return { address: 1n, name: 'module', base: 0n, size: 0, state: 'live', symbols: named, debug };
    });
    const loaded = new Set(modules.slice(0, 1));
    const linux: Linux = {
      problem: undefined,
      current: () => Promise.resolve(undefined),
      tasks: () => Promise.resolve([]),
      modules: () => Promise.resolve([]),
    };
    const own = ['start_kernel', 'do_init_module'].map((name, i) => ({ name, address: BigInt(i + 1) << 12n, size: 16n })); // prettier-ignore
    const kernel = { ...noSymbols, ...indexSymbols(own) };
    let made = 0;
    const symbols = symbolsOfDomains([kernel, kernel], (one) => {
      const module = modules[made++] ?? assert.fail();
      // The second loads it later.
      return Object.assign(
        withModules(one, () => (loaded.has(module) ? [module] : [])),
        { linux },
      );
    });
    assert.equal(symbols.images.length, 1);
    const breakpoints = createBreakpoints();
    breakpoints.resolve({ symbols, hypercalls: [], hypervisor: noHypervisorSources });
    const places = (one: Breakpoint | undefined): string[] =>
      (one?.points ?? []).map((point) =>
        point.kind === 'instruction' ? `d${point.domain ?? '*'} ${point.address.toString(16)}` : point.kind,
      );
    const file = modules.flatMap(({ debug }) => (typeof debug === 'object' ? debug.debug.lines.filesNamed('module.c') : []))[0] ?? ''; // prettier-ignore
    const work = symbolsOf(linked).find(({ name }) => name === 'module_work')?.address ?? assert.fail();
    const both = [`d1 ${work.toString(16)}`, `d2 ${(work + ELSEWHERE).toString(16)}`];
    breakpoints.set('function', '', [{ name: 'start_kernel' }, { name: 'module_work' }]);
    const [, early] = breakpoints.all();
    assert.deepEqual(places(early), both.slice(0, 1));
    const waits = (): unknown => breakpoints.points().filter(({ id }) => id === MODULE_LOADED);
    const load = { id: MODULE_LOADED, kind: 'instruction', address: 0x2000n, domain: 2 };
    assert.deepEqual(waits(), [load], 'for the domain that has not loaded it');
    loaded.add(modules[1] ?? assert.fail());
    breakpoints.resolve();
    assert.deepEqual(waits(), []);
    const [name, second, core] = breakpoints.set('function', '', [
      { name: 'module_work' },
      { name: 'module_work:d2' },
      { name: 'start_kernel' },
    ]);
    assert.deepEqual(places(name), both);
    assert.deepEqual(places(second), both.slice(1));
    assert.deepEqual(places(core), ['d1 1000', 'd2 1000']);
    const line = SOURCE.split('\n').findIndex((text) => text.startsWith('int module_work')) + 1;
    const [source] = breakpoints.set('source', file, [{ file, line }]);
    assert.equal(source?.verified, true);
    const found = places(source);
    assert.ok(found.length > 0 && found.length % 2 === 0, String(found));
    for (const [domain, far] of [
      [1, 0n],
      [2, ELSEWHERE],
    ] as const) {
      const own = found.filter((one) => one.startsWith(`d${domain} `));
      assert.equal(own.length, found.length / 2);
      const low = (PLACES['.text'] ?? 0n) + far;
      for (const one of own) {
        const at = BigInt(`0x${one.slice(3)}`);
        assert.ok(low <= at && at < low + 0x1000n, one);
      }
    }
  });
});
