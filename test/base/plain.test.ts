import assert from 'node:assert/strict';
import { PIECE, PlainError, plainReader, plainWriter } from '../../src/base/plain';
import {
  bool,
  bytes,
  choice,
  count,
  list,
  maybe,
  oneOf,
  optional,
  record,
  text,
  u8,
} from '../../src/base/schema';
import { seeded } from '../support/random';

function encode(value: unknown): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  const writer = plainWriter((piece) => pieces.push(piece.slice()));
  writer.value(value, 'it');
  writer.end();
  return pieces;
}
function decode(pieces: readonly Uint8Array[]): unknown {
  const rest = [...pieces];
  const reader = plainReader(() => rest.shift());
  const value = reader.value('it');
  reader.end('it');
  return value;
}

describe('plain data as bytes', () => {
  const values: Readonly<Record<string, unknown>> = {
    nothing: undefined,
    truths: [true, false],
    numbers: [0, 1, -1, 127, 128, 2 ** 31, -(2 ** 52), 2 ** 53, 1.5, -0, Infinity, 1e300],
    bigints: [0n, 1n, -1n, 255n, 256n, 2n ** 64n - 1n, -(2n ** 63n), 2n ** 200n],
    texts: ['', 'a', 'ÿ\0\u{1f600}', 'x'.repeat(100_000)],
    records: [{ a: 1, b: { a: 2, c: [] } }, { b: undefined }, {}],
    maps: new Map<unknown, unknown>([
      [1, { a: 'x' }],
      ['two', [2n]],
    ]),
    arrays: [
      new Uint8Array([1, 2, 3]),
      new Int32Array([-1, 2 ** 31 - 1]),
      new Uint16Array([65535]),
      new Uint32Array([2 ** 32 - 1]),
      new BigUint64Array([2n ** 64n - 1n]),
    ],
    'more than a piece': [new Uint8Array(PIECE + 17).fill(7), new Uint32Array(PIECE)],
  };
  for (const [name, value] of Object.entries(values)) {
    it(`gives back ${name}`, () => {
      const pieces = encode(value);
      assert.ok(pieces.every((p) => p.length <= PIECE));
      assert.deepEqual(decode(pieces), value);
    });
  }

  it('says where something is that is no plain data', () => {
    assert.throws(
      () => encode({ a: [1, { b: () => 1 }] }),
      (e) => e instanceof PlainError && e.at === 'it.a[1].b',
    );
    assert.throws(() => encode(new Date(0)), /a object is no plain data/);
    const circle: unknown[] = [];
    circle.push(circle);
    assert.throws(() => encode(circle), /nested too deeply/);
  });

  it('refuses cut, lengthened and damaged bytes with a PlainError, and no other', () => {
    const whole = Buffer.concat(
      encode([values['records'], values['texts'], values['arrays'], values['bigints']]),
    );
    for (const length of [0, 1, 5, whole.length - 1])
      assert.throws(() => decode([whole.subarray(0, length)]), PlainError);
    assert.throws(() => decode([whole, Uint8Array.of(0)]), /more follows/);
    const rng = seeded(7);
    for (let i = 0; i < 2000; i++) {
      const bad = Uint8Array.from(whole.subarray(0, 200));
      bad[rng.below(bad.length)] = rng.below(256);
      try {
        decode([bad]);
      } catch (e) {
        assert.ok(e instanceof PlainError, String(e));
      }
    }
  });

  it('does not believe lengths', () => {
    // A list, a text and bytes of 2^49 elements.
    for (const tag of [8, 7, 11])
      assert.throws(() => decode([Uint8Array.of(tag, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)]), PlainError);
  });
});

describe('declared data', () => {
  interface Thing {
    readonly name: string;
    readonly size: number | undefined;
    readonly parts: readonly ({ readonly kind: 'a'; readonly on: boolean } | { readonly kind: 'b' })[];
    readonly raw: Uint8Array;
    readonly extra?: number;
  }
  type Part = Thing['parts'][number];
  const thing = record<Thing>({
    name: text,
    size: maybe(count),
    parts: list(
      choice<Part, 'kind'>('kind', {
        a: record<Extract<Part, { kind: 'a' }>>({ kind: oneOf('a'), on: bool }),
        b: record<Extract<Part, { kind: 'b' }>>({ kind: oneOf('b') }),
      }),
    ),
    raw: bytes(2),
    extra: optional(u8),
  });
  const good = {
    name: 'x',
    size: undefined,
    parts: [{ kind: 'a', on: true }, { kind: 'b' }],
    raw: new Uint8Array(2),
  };
  const cases: readonly (readonly [string, object, RegExp])[] = [
    ['a name that is missing', { ...good, size: 1, name: 2 }, /^t\.name: it shall be text, and is number 2$/],
    ['a name that nobody knows', { ...good, colour: 1 }, /^t: nobody knows its 'colour'$/],
    ['a name that is not there', { size: 1, parts: [], raw: good.raw }, /^t: it lacks 'name'$/],
    [
      'a variant that there is not',
      { ...good, parts: [{ kind: 'c' }] },
      /^t\.parts\[0\]: it shall be one of a, b, and is string c$/,
    ],
    [
      'a variant’s own name',
      { ...good, parts: [{ kind: 'b', on: true }] },
      /^t\.parts\[0\]: nobody knows its 'on'$/,
    ],
    [
      'bytes of another length',
      { ...good, raw: new Uint8Array(3) },
      /^t\.raw: it shall be 2 bytes, and is an array of 3 bytes$/,
    ],
    [
      'a number out of range',
      { ...good, extra: 256 },
      /^t\.extra: it shall be an integer from 0 to 255, and is number 256$/,
    ],
    ['a list where a record belongs', [], /^t: it shall be a record, and is a list of 0$/],
  ];
  it('is accepted, with and without what may be missing', () => {
    thing.check(good, 't');
    thing.check({ ...good, extra: 3, size: 9 }, 't');
  });
  for (const [name, value, message] of cases) {
    it(`names ${name}`, () => {
      assert.throws(() => thing.check(value, 't'), { message });
    });
  }
});
