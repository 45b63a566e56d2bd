import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { loadImage } from '../../../src/guest/image';
import { kallsymsIn, kernelSymbols } from '../../../src/guest/symbols';
import { cString, concat, words } from '../../support/elf-builder';
import { guestPath } from '../../support/guests';

const BASE = 0xffffffff81000000n;

interface Listed {
  readonly type: string;
  readonly name: string;
  readonly address: bigint;
}

/** Ascending: per-CPU symbols first, as the kernel's build sorts them. */
const listing = (perCpu: boolean): Listed[] => [
  ...(perCpu
    ? [
        { type: 'A', name: 'cpu_number', address: 0n },
        { type: 'D', name: 'current_task', address: 0x1fb80n },
      ]
    : []),
  ...Array.from({ length: 600 }, (_, index) => ({
    type: index % 3 === 0 ? 't' : 'T',
    name: `function_${index}`,
    address: BASE + BigInt(index * 16),
  })),
  { type: 'b', name: `long_${'x'.repeat(200)}`, address: BASE + 0x100000n },
  { type: 'R', name: 'linux_banner', address: BASE + 0x100000n },
];

type Layout = '5.x' | '6.2' | '6.4' | 'addresses' | '4.19';

/** Writes kallsyms as a kernel's build does, with one token per character and one pair token. */
function encode(symbols: readonly Listed[], layout: Layout, perCpu: boolean): Uint8Array {
  const tokens = Array.from({ length: 256 }, (_, code) =>
    code >= 0x20 && code < 0x7f ? String.fromCharCode(code) : code === 1 ? 'function_' : '',
  );
  const tokenTable = concat(tokens.map(cString));
  let at = 0;
  const tokenIndex = words(
    2,
    tokens.map((token) => {
      const start = at;
      at += token.length + 1;
      return start;
    }),
  );
  const marks: number[] = [];
  let end = 0;
  const names = concat(
    symbols.map(({ type, name }, index) => {
      if (index % 256 === 0) marks.push(end);
      const codes = Array.from((type + name).replace('function_', '\x01'), (character) =>
        character.charCodeAt(0),
      );
      const length = codes.length < 0x80 ? [codes.length] : [(codes.length & 0x7f) | 0x80, codes.length >> 7];
      const encoded = words(1, [...length, ...codes]);
      end += encoded.length;
      return encoded;
    }),
  );
  const markers = words(layout === '4.19' ? 8 : 4, marks);
  const count = words(4, [symbols.length]);
  const offsets = words(
    4,
    symbols.map(({ address }) =>
      perCpu
        ? BigInt.asUintN(32, address < BASE ? address : BASE - 1n - address)
        : BigInt.asUintN(32, address - BASE),
    ),
  );
  const base = words(8, [BASE]);
  const sequence = new Uint8Array(symbols.length * 3).fill(0xaa);
  const rest = [count, names, markers];
  const parts: Record<Layout, Uint8Array[]> = {
    '4.19': [offsets, base, ...rest, tokenTable, tokenIndex],
    '5.x': [offsets, base, ...rest, tokenTable, tokenIndex],
    '6.2': [offsets, base, ...rest, sequence, tokenTable, tokenIndex],
    '6.4': [...rest, tokenTable, tokenIndex, offsets, base, sequence],
    addresses: [
      words(
        8,
        symbols.map(({ address }) => address),
      ),
      ...rest,
      tokenTable,
      tokenIndex,
    ],
  };
  // Among other read-only data, some of it deceptive.
  const before = concat(
    [
      cString('0'),
      cString('1'),
      words(4, [600, 0]),
      new Uint8Array(333).fill(0x30),
      words(4, [100, 0, 1, 1]),
    ],
    8,
  );
  return concat([before, ...parts[layout], new Uint8Array(100).fill(0xff)], 8);
}

describe('guest/symbols/kallsyms', () => {
  for (const [layout, perCpu] of [
    ['5.x', true],
    ['5.x', false],
    ['6.2', true],
    ['6.4', true],
    ['6.4', false],
    ['addresses', true],
    ['4.19', true],
  ] as const) {
    it(`reads the layout of ${layout}, ${perCpu ? 'with' : 'without'} absolute per-CPU symbols`, () => {
      const symbols = listing(perCpu);
      const found = kallsymsIn(encode(symbols, layout, perCpu));
      assert.deepEqual(
        found?.map(({ name, address }) => ({ name, address })),
        symbols.map(({ name, address }) => ({ name, address })),
      );
      const of = (name: string) => found.find((entry) => entry.name === name);
      assert.deepEqual(
        [of('function_1')?.kind, of('function_1')?.global, of('function_0')?.global],
        ['function', true, false],
      );
      assert.equal(of('linux_banner')?.kind, 'object');
      if (perCpu) assert.equal(of('current_task')?.kind, 'absolute');
    });
  }

  it('finds nothing in data that has none, or a damaged one', () => {
    assert.equal(kallsymsIn(new Uint8Array(0)), undefined);
    assert.equal(kallsymsIn(new Uint8Array(4096).fill(0x30)), undefined);
    const good = encode(listing(true), '5.x', true);
    const tokenTable = good.length - 104 - 512 - 8;
    for (const at of [tokenTable, tokenTable + 600]) {
      const damaged = good.slice();
      damaged[at] = (damaged[at] ?? 0) ^ 0x55;
      kallsymsIn(damaged);
    }
    // Descending addresses prove that something was misread.
    const symbols = listing(false);
    assert.equal(kallsymsIn(encode([...symbols].reverse(), '5.x', false)), undefined);
  });

  for (const [name, fewest] of [
    ['linux', 94000],
    ['linux-cloud', 87000],
  ] as const) {
    it(`Debian's ${name}: names every function of a stripped kernel`, async function () {
      this.timeout(60000);
      const image = await loadImage(new Uint8Array(readFileSync(guestPath(name, this))), name);
      const { source, table } = kernelSymbols(image);
      assert.equal(source, 'kallsyms');
      assert.ok(table.count >= fewest, `${table.count} names`);
      const one = (symbol: string): bigint => {
        const [found, ...more] = table.named(symbol);
        assert.ok(found && more.length === 0, symbol);
        return found.address;
      };
      const bytesAt = (address: bigint, length: number): Uint8Array => {
        const segment = image.segments.find(
          ({ virtual, filesz }) => virtual <= address && address < virtual + BigInt(filesz),
        );
        assert.ok(segment);
        return segment.data.subarray(
          Number(address - segment.virtual),
          Number(address - segment.virtual) + length,
        );
      };

      // Facts from outside kallsyms: the notes, the section headers, and what lies at the addresses.
      assert.equal(one('startup_xen'), image.notes.entry);
      assert.equal(one('pvh_start_xen') - 0xffffffff80000000n, image.notes.phys32_entry);
      const section = (wanted: string) => image.elf.sections.find((each) => each.name === wanted);
      assert.equal(one('_text'), section('.text')?.addr);
      assert.equal(one('__bss_start'), section('.bss')?.addr);
      assert.equal(one('__start___ksymtab'), section('__ksymtab')?.addr);
      assert.match(Buffer.from(bytesAt(one('linux_banner'), 20)).toString('latin1'), /^Linux version 6\.1/);
      // push %rcx; push %r11; push %rbx?; syscall: the hypercall is a bare `syscall`.
      assert.ok(Buffer.from(bytesAt(one('xen_hypercall_pv'), 16)).includes(Buffer.from([0x0f, 0x05])));

      assert.equal(table.at(one('schedule') + 3n)?.name, 'schedule');
      assert.ok(table.complete('xen_hypercall_', 10).includes('xen_hypercall_pv'));
      assert.equal(table.named('current_task')[0]?.kind, 'absolute');
    });
  }

  it('an image without any symbols has an empty table', async function () {
    const image = await loadImage(new Uint8Array(readFileSync(guestPath('grub', this))), 'grub');
    const { source, table } = kernelSymbols(image);
    assert.deepEqual([source, table.count], ['none', 0]);
  });
});
