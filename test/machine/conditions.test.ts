import assert from 'node:assert/strict';
import {
  ExpressionError,
  conditionHolds,
  evaluateExpression,
  findValue,
  hypercallScope,
  parseExpression,
  truth,
} from '../../src/machine/conditions';
import type { Scope, Value } from '../../src/machine/conditions';
import type { DecodedValue, HypercallView } from '../../src/machine/target';
import { createRandom } from '../support/random';

const u64 = (name: string, value: bigint): DecodedValue => ({
  name,
  type: 'u64',
  text: `0x${value.toString(16)}`,
  value,
});
const call: HypercallView = {
  name: 'mmu_update',
  nr: 1,
  args: [
    {
      name: 'ureqs',
      type: 'mmu_update_t[]',
      text: '[2]',
      children: [0n, 1n].map((i) => ({
        name: `[${i}]`,
        type: 'mmu_update_t',
        text: '{…}',
        children: [u64('ptr', 0x1000n + i), u64('val', i)],
      })),
    },
    u64('count', 2n),
    { name: 'foreigndom', type: 'domid_t', text: 'DOMID_SELF', value: 0x7ff0n },
    {
      name: 'arg',
      type: 'struct',
      text: '{…}',
      children: [
        u64('nr_extents', 16n),
        { name: 'domid', type: 'domid_t', text: 'DOMID_SELF', value: 0x7ff0n },
      ],
    },
  ],
  result: 0xffffffffffffffean,
  errno: 'EINVAL',
};
const memory = (address: bigint, bytes: number): bigint => address * 0x100n + BigInt(bytes);
const scope: Scope = { ...hypercallScope(call), memory };
const evaluate = (text: string, where: Scope = scope): Value =>
  evaluateExpression(parseExpression(text), where);

describe('conditions', () => {
  const numbers: [string, bigint][] = [
    ['1 + 2 * 3', 7n],
    ['(1 + 2) * 3', 9n],
    ['1 << 4 | 1', 17n],
    ['0xff & ~0xf', 0xf0n],
    ['10 - 2 - 3', 5n],
    ['7 / 2 * 2 + 7 % 2', 7n],
    ['0b101 ^ 1_000', 0b101n ^ 1000n],
    ['1 < 2 == 1', 1n],
    ['-1 < 0', 1n],
    ['0xffffffffffffffff > 0', 1n],
    ['0xffffffffffffffff == -1', 1n],
    ['!0 + !5', 1n],
    ['1 << 64', 0n],
    ['010 + 0', 8n],
    ['ureqs[0].ptr == 0x1000 && count > 1', 1n],
    ['ureqs[1].ptr == 0x1000 || 0', 0n],
    ['result == -22', 1n],
    ['nr_extents', 16n],
    ['*8', 0x808n],
    ['u16[0x10] + 1', 0x1003n],
    ['**1', 0x10808n],
    ['count %count', 0n],
  ];
  for (const [text, value] of numbers) {
    it(text, () => {
      const result = evaluate(text);
      assert.equal(typeof result === 'object' ? result.value : result, value);
    });
  }

  it('compares by the text that is shown', () => {
    const cases: [string, boolean][] = [
      ['foreigndom == DOMID_SELF', true],
      ["foreigndom == 'DOMID_SELF'", true],
      ['foreigndom != DOMID_XEN', true],
      ['DOMID_SELF == foreigndom', true],
      ['foreigndom == 0x7ff0', true],
      ["name == 'mmu_update' && errno == EINVAL", true],
      ['errno == ENOSYS', false],
    ];
    for (const [text, expected] of cases) assert.equal(truth(evaluate(text)), expected, text);
  });

  it('takes the thing a pointer points at for its element 0', () => {
    const one = { name: 'uops', type: 'mmuext_op *', text: '0x8', value: 8n, children: [u64('cmd', 3n)] };
    const word = { name: 'pdone', type: 'uint32_t *', text: '0x9', value: 9n, children: [u64('*pdone', 5n)] };
    const where = hypercallScope({ name: 'x', nr: 0, args: [one, word] });
    for (const text of ['uops[0].cmd == 3', 'uops.cmd == 3', 'cmd == 3', 'pdone[0] == 5', 'uops == 8']) {
      assert.equal(truth(evaluate(text, where)), true, text);
    }
    assert.throws(() => evaluate('uops[1]', where), /no element 1/);
  });

  it('finds a name at the shallowest level that has one of it, and not inside arrays', () => {
    assert.equal(findValue(call.args, 'nr_extents')?.value, 16n);
    assert.equal(findValue(call.args, 'ptr'), undefined);
    const twice = [
      { name: 'a', type: 's', text: '', children: [u64('x', 1n)] },
      { name: 'b', type: 's', text: '', children: [u64('x', 2n)] },
    ];
    assert.equal(findValue(twice, 'x'), undefined, 'which of them?');
    assert.equal(findValue([...twice, u64('x', 3n)], 'x')?.value, 3n);
  });

  const errors: [string, RegExp][] = [
    ['', /ends where a value is expected/],
    ['1 +', /ends where a value is expected/],
    ['(1', /'\)' expected at the end/],
    ['a[1', /'\]' expected at the end/],
    ['a.1', /member's name expected/],
    ['1 2', /'2' does not belong here/],
    ['&& 1', /a value expected before '&&'/],
    ['a = 1', /an assignment has no meaning/],
    ['0x', /'x' does not belong here|not part/],
    ['"open', /not part of an expression/],
    ['nobody + 1', /there is no 'nobody' here/],
    ['nobody == 1', /there is no 'nobody' here/],
    ['nobody == noone', /there is no '/],
    ['ureqs[2]', /there is no element 2/],
    ['ureqs[0].pointer', /no member 'pointer'; there are ptr, val/],
    ['count.x', /no member 'x'/],
    ['ureqs + 1', /ureqs \(mmu_update_t\[\]\) is not a number/],
    ["'text' + 1", /"text" is a text/],
    ['1 % 0', /division by zero/],
    [`${'-'.repeat(1000)}1`, /nested too deeply/],
  ];
  for (const [text, message] of errors) {
    it(`refuses ${text.slice(0, 20)}`, () => {
      assert.throws(
        () => evaluate(text),
        (error) => error instanceof ExpressionError && message.test(error.message),
      );
    });
  }

  it('a condition that cannot be evaluated does not hold', () => {
    assert.equal(conditionHolds(parseExpression('nobody > 1'), scope), false);
    assert.equal(conditionHolds(parseExpression('*8'), hypercallScope(call)), false, 'no memory here');
  });

  it('never fails but with an ExpressionError (fuzz)', () => {
    const random = createRandom(12);
    const pieces = [
      '1',
      '0x1f',
      'count',
      'ureqs',
      '[0]',
      '.ptr',
      '(',
      ')',
      '+',
      '*',
      '&&',
      '==',
      '<<',
      '!',
      '-',
      '"a"',
      ' ',
      '`x.0`',
      '$rax',
      ']',
      '[',
    ];
    for (let i = 0; i < 20_000; i++) {
      const text = Array.from({ length: random.next(9) }, () => random.pick(pieces)).join('');
      try {
        evaluate(text);
      } catch (error) {
        assert.ok(error instanceof ExpressionError, `${text}: ${String(error)}`);
      }
    }
  });
});
