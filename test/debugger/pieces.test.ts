import assert from 'node:assert/strict';
import { loadDecoder } from '../../src/dap/disassembler';
import { parseHitCondition } from '../../src/machine/hit-condition';
import { parseLogMessage } from '../../src/debugger/breakpoints/log-message';
import { disassemble } from '../../src/debugger/disassembly';
import { bitsOf32, bitsOf64, float32, float64, float80Text, parseFloatText } from '../../src/debugger/floats';
import { LocationError, formatLocation, parseLocation } from '../../src/debugger/locations';
import { bytesToNumber, numberToBytes } from '../../src/base/bytes';
import { registerFile } from '../../src/debugger/registers';
import { indexSymbols, noSymbols } from '../../src/debugger/symbols';
import { createTurnstile } from '../../src/debugger/turnstile';
import { program, CODE } from '../support/fake-program';
import { createFakeTarget } from '../support/fake-target';

describe('debugger: small parts', () => {
  it('memory references name their address space, and read back', () => {
    const current = { domain: 1, vcpu: 0 };
    for (const text of [
      'virtual:d1v0:0xffffffff80000000',
      'virtual:d12v3:0x0',
      'pseudophysical:d1:0x1000',
      'machine:0xffffffffffffffff',
    ]) {
      assert.equal(formatLocation(parseLocation(text, undefined)), text);
    }
    assert.equal(formatLocation(parseLocation('0x10', current)), 'virtual:d1v0:0x10');
    assert.equal(formatLocation(parseLocation('16', current)), 'virtual:d1v0:0x10');
    for (const bad of [
      '',
      ':',
      'x',
      'virtual:0x0',
      'virtual:d1:0x0',
      'machine:',
      'machine:-1',
      'machine:0x10000000000000000',
      'machine:18446744073709551616',
    ]) {
      assert.throws(() => parseLocation(bad, current), LocationError, bad);
    }
    assert.throws(() => parseLocation('0x10', undefined), /no vCPU is stopped/);
  });

  it('hit conditions', () => {
    const stopsAt = (text: string): number[] => {
      const condition = parseHitCondition(text);
      assert.ok(typeof condition !== 'string', text);
      return [1, 2, 3, 4, 5, 6].filter((hits) => condition(hits));
    };
    const cases: [string, number[]][] = [
      ['3', [3]], ['== 3', [3]], ['=3', [3]], ['>= 5', [5, 6]], ['>4', [5, 6]], ['< 3', [1, 2]], ['<= 2', [1, 2]], ['% 2', [2, 4, 6]], ['%0', []],
    ]; // prettier-ignore
    for (const [text, hits] of cases) assert.deepEqual(stopsAt(text), hits, text);
    for (const bad of ['', 'x', '1.5', '-1', '!= 2', '>= ', '1 2'])
      assert.equal(typeof parseHitCondition(bad), 'string', bad);
  });

  it('log messages: braces, and what is wrong in them', () => {
    assert.deepEqual(parseLogMessage('a {{b}} c'), ['a ', '{', 'b', '}', ' c']);
    assert.equal(parseLogMessage('a {b'), "log message: '{' at 2 has no partner");
    const broken = parseLogMessage('{1 +}');
    assert.match(typeof broken === 'string' ? broken : '', /\{1 \+\}: the expression ends/);
  });

  it('floating-point registers', () => {
    assert.deepEqual([float64(bitsOf64(-0.1)), float32(Number(bitsOf32(1.5)))], [-0.1, 1.5]);
    const cases: [bigint, string][] = [
      [0n, '0'], [1n << 79n, '-0'],
      [0x3fff_8000000000000000n, '1'], [0xc000_c000000000000000n, '-3'],
      [0x4000_c90fdaa22168c235n, '3.141592653589793'],
      [0x7fff_8000000000000000n, 'Infinity'], [0xffff_8000000000000000n, '-Infinity'],
      [0x7fff_c000000000000000n, 'QNaN'], [0x7fff_a000000000000000n, 'SNaN'],
      [0x7ffe_8000000000000000n, '0x8000000000000000p16320'],
    ]; // prettier-ignore
    for (const [bits, text] of cases) assert.equal(float80Text(bits), text);
    assert.deepEqual(['1.5', '-.25e3', '2', 'NaN', '0x10', 'rax', '1.'].map(parseFloatText), [
      1.5,
      -250,
      2,
      NaN,
      undefined,
      undefined,
      1,
    ]);
  });

  it('parts of registers', () => {
    const register = (name: string, value: bigint) => ({
      name,
      group: 'general' as const,
      bits: 64,
      bytes: numberToBytes(value, 8),
      writable: true,
    });
    const file = registerFile([
      register('rax', 0x1122334455667788n),
      register('rsi', 0xfedcba9876543210n),
      register('r9', 0x0102030405060708n),
      register('rflags', 0x3246n),
      register('rip', 7n),
    ]);
    const cases: [string, bigint | undefined][] = [
      ['rax', 0x1122334455667788n], ['EAX', 0x55667788n], ['$ax', 0x7788n], ['ah', 0x77n], ['%al', 0x88n],
      ['sil', 0x10n], ['r9d', 0x05060708n], ['r9b', 8n], ['zf', 1n], ['cf', 0n], ['iopl', 3n], ['pc', 7n], ['rbx', undefined], ['r16', undefined],
    ]; // prettier-ignore
    for (const [name, value] of cases) assert.equal(file.get(name), value, name);
    assert.throws(() => file.need('rbx'), /no register 'rbx'/);
    assert.equal(bytesToNumber(numberToBytes(-2n, 2)), 0xfffen);
  });

  it('an index of symbols', () => {
    const index = indexSymbols([
      { name: 'b', address: 0x20n, size: 0x10n },
      { name: 'a', address: 0x10n, size: 0n },
      { name: 'alias', address: 0x20n, size: 0n },
    ]);
    const at = (address: bigint): string | undefined => {
      const found = index.at(address);
      return found === undefined ? undefined : `${found.name}+${found.offset}`;
    };
    assert.deepEqual([0xfn, 0x10n, 0x1fn, 0x20n, 0x2fn, 0x30n].map(at), [
      undefined,
      'a+0',
      'a+15',
      'b+0',
      'b+15',
      undefined,
    ]);
    assert.deepEqual(
      [index.find('alias'), index.find('c'), index.complete('a', 1)],
      [0x20n, undefined, ['a']],
    );
  });

  it('the turnstile lets one in at a time, in the order they came', async () => {
    const turnstile = createTurnstile();
    const order: string[] = [];
    const visit = async (name: string): Promise<void> => {
      const leave = await turnstile.enter();
      order.push(`${name} in`);
      await new Promise((resolve) => setImmediate(resolve));
      order.push(`${name} out`);
      leave();
      leave();
    };
    await Promise.all(['a', 'b', 'c'].map(visit));
    assert.deepEqual(order, ['a in', 'a out', 'b in', 'b out', 'c in', 'c out']);
  });

  it('reads code backwards without symbols', async () => {
    const decoder = await loadDecoder();
    const target = createFakeTarget({ domains: [] });
    const space = { kind: 'virtual', vcpu: { domain: 1, vcpu: 0 } } as const;
    const straight = decoder.decode(program.bytes, CODE, 1000);
    const last = straight.at(-1)?.address ?? 0n;
    const before = await disassemble({
      target,
      space,
      decoder,
      symbols: noSymbols,
      address: last,
      offset: -20,
      count: 20,
    });
    const expected = straight.slice(-21, -1).map(({ address }) => address);
    assert.deepEqual(
      before.map((one) => one?.address),
      expected,
      'the vote finds the instructions that forward decoding has',
    );
  });
});
