import assert from 'node:assert/strict';
import { readElf } from '../../../src/guest/elf';
import { ImageError } from '../../../src/guest/error';
import type { SymbolEntry } from '../../../src/guest/symbols';
import { createSymbolTable, elfSymbols, emptySymbolTable, symbolsOfElf } from '../../../src/guest/symbols';
import { buildElf, symbolSections } from '../../support/elf-builder';

const symbol = (name: string, address: bigint, more: Partial<SymbolEntry> = {}): SymbolEntry => ({
  name,
  address,
  size: 0,
  kind: 'function',
  global: true,
  ...more,
});
const K = 0xffffffff81000000n;

describe('guest/symbols', () => {
  const table = createSymbolTable([
    symbol('late', K + 0x100n, { size: 0x10 }),
    symbol('early', K),
    symbol('alias_label', K + 0x40n, { kind: 'label' }),
    symbol('__alias', K + 0x40n),
    symbol('alias', K + 0x40n),
    symbol('a_local', K + 0x40n, { global: false }),
    symbol('late', K + 0x200n, { global: false }),
    symbol('per_cpu', 0x40n, { kind: 'absolute' }),
  ]);

  it('finds the symbol an address belongs to, with the offset', () => {
    const at = (address: bigint) => {
      const found = table.at(address);
      return found && `${found.name}+${found.offset}`;
    };
    assert.equal(at(K), 'early+0');
    assert.equal(at(K + 0x3fn), 'early+63');
    assert.equal(at(K + 0x40n), 'alias+0', 'a global function with the plainest name');
    assert.equal(at(K + 0x10fn), 'late+15');
    assert.equal(at(K + 0x110n), undefined, 'past the end of a symbol with a size');
    assert.equal(at(K + 0x201n), 'late+1');
    assert.equal(at(K - 1n), undefined);
    assert.equal(at(K + (1n << 30n)), undefined, 'far beyond the last');
    assert.equal(at(0x50n), undefined, 'an absolute symbol is no place');
  });

  it('finds by name, range and prefix', () => {
    assert.deepEqual(
      table.named('late').map(({ address }) => address),
      [K + 0x100n, K + 0x200n],
    );
    assert.deepEqual(
      table.named('per_cpu').map(({ address }) => address),
      [0x40n],
    );
    assert.deepEqual(table.named('constructor'), []);
    assert.deepEqual(
      table.between(K, K + 0x100n).map(({ name }) => name),
      ['early', 'alias', '__alias', 'a_local', 'alias_label'],
    );
    assert.deepEqual(table.between(K + 0x100n, K), []);
    assert.deepEqual(table.complete('al', 10), ['alias', 'alias_label']);
    assert.deepEqual(table.complete('', 2), ['__alias', 'a_local']);
    assert.deepEqual(table.complete('zz', 2), []);
    assert.deepEqual([emptySymbolTable.count, emptySymbolTable.at(0n)], [0, undefined]);
  });

  it('reads ELF symbols, passing over what is no place', () => {
    const sections = symbolSections(
      [
        { name: 'main', value: K, size: 4n },
        { name: 'local', value: K + 4n, info: 0x02 },
        { name: 'file.c', value: 0n, info: 0x04 },
        { name: 'undefined', value: 0n, section: 0 },
        { name: 'constant', value: 7n, section: 0xfff1, info: 0x10 },
        { name: 'datum', value: K + 8n, info: 0x11 },
        { name: 'runqueues', value: 0x40n, section: 2, info: 0x11 },
      ],
      2,
    );
    // The first section is the symbols' own; Linux's offsets into per-CPU data have one, too, and are no places.
    const [symbols, strings] = sections;
    assert.ok(symbols !== undefined && strings !== undefined);
    const perCpu = { name: '.data..percpu' };
    const elf = readElf(buildElf({ sections: [{ ...symbols, link: 3 }, perCpu, strings] }), 'k');
    assert.deepEqual(elfSymbols(elf), [
      symbol('main', K, { size: 4 }),
      symbol('local', K + 4n, { global: false }),
      symbol('constant', 7n, { kind: 'absolute' }),
      symbol('datum', K + 8n, { kind: 'object' }),
      symbol('runqueues', 0x40n, { kind: 'absolute' }),
    ]);
    assert.equal(symbolsOfElf(elf).at(K + 3n)?.name, 'main');
    assert.deepEqual(elfSymbols(readElf(buildElf({}), 'k')), []);
  });

  it('refuses an ELF table of a wrong shape', () => {
    const [symtab, strtab] = symbolSections([{ name: 'a', value: 1n }], 2);
    assert.ok(symtab && strtab);
    for (const [wrong, pattern] of [
      [{ ...symtab, entsize: 16n }, /section \.symtab, sh_entsize: is 16/],
      [{ ...symtab, link: 1 }, /sh_link: section 1 is not a string table/],
      [{ ...symtab, link: 99 }, /sh_link: section 99/],
      [{ ...symtab, claim: { size: 1n << 40n } }, /reach beyond/],
    ] as const) {
      const elf = readElf(buildElf({ sections: [wrong, strtab] }), 'k');
      assert.throws(
        () => elfSymbols(elf),
        (error: unknown) => error instanceof ImageError && pattern.test(error.message),
      );
    }
  });
});
