import assert from 'node:assert/strict';
import { readBtf } from '../../src/guest/btf';
import type { Btf } from '../../src/guest/btf';
import type { ElfHeaders } from '../../src/guest/elf';
import { ImageError } from '../../src/guest/error';
import { createRandom } from '../support/random';

// Documentation/bpf/btf.rst by hand: the structures below as the kernel's build would describe them.
//
//   typedef unsigned int u32;
//   struct point { u32 x, y; };
//   struct node { void *next; union { u32 id; struct { u32 low : 4, high : 28; }; }; const u32 tag; struct point at[3]; };

const KIND = { INT: 1, PTR: 2, ARRAY: 3, STRUCT: 4, UNION: 5, TYPEDEF: 8, CONST: 10 } as const;

function section(): Uint8Array {
  let strings = '\0';
  const name = (text: string): number => {
    if (text === '') return 0;
    const at = strings.length;
    strings += `${text}\0`;
    return at;
  };
  const words: number[] = [];
  const type = (
    text: string,
    kind: number,
    vlen: number,
    last: number,
    extra: number[] = [],
    flag = 0,
  ): void => {
    words.push(name(text), ((flag << 31) | (kind << 24) | vlen) >>> 0, last, ...extra);
  };
  const member = (text: string, of: number, bits: number, width = 0): number[] => [
    name(text),
    of,
    (width << 24) | bits,
  ];
  type('unsigned int', KIND.INT, 0, 4, [32]); // 1
  type('u32', KIND.TYPEDEF, 0, 1); // 2
  type('point', KIND.STRUCT, 2, 8, [...member('x', 2, 0), ...member('y', 2, 32)]); // 3
  type('', KIND.PTR, 0, 0); // 4
  type('', KIND.STRUCT, 2, 4, [...member('low', 2, 0, 4), ...member('high', 2, 4, 28)], 1); // 5
  type('', KIND.UNION, 2, 4, [...member('id', 2, 0), ...member('', 5, 0)]); // 6
  type('', KIND.CONST, 0, 2); // 7
  type('', KIND.ARRAY, 0, 0, [3, 1, 3]); // 8
  type('node', KIND.STRUCT, 4, 40, [
    ...member('next', 4, 0),
    ...member('', 6, 64),
    ...member('tag', 7, 96),
    ...member('at', 8, 128),
  ]); // 9
  const bytes = new Uint8Array(24 + words.length * 4 + strings.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0xeb9f, true);
  view.setUint8(2, 1);
  [24, 0, words.length * 4, words.length * 4, strings.length].forEach((value, i) =>
    view.setUint32(4 + 4 * i, value, true),
  );
  words.forEach((value, i) => view.setUint32(24 + 4 * i, value, true));
  bytes.set(Buffer.from(strings, 'latin1'), 24 + words.length * 4);
  return bytes;
}

const read = (bytes: Uint8Array): Btf | undefined => {
  const file = {
    name: 'vmlinux',
    size: bytes.length,
    read: (offset: number, length: number) => bytes.slice(offset, offset + length),
  };
  const one = { index: 1, name: '.BTF', type: 1, flags: 0n, addr: 0n, offset: 0, size: bytes.length, link: 0, info: 0, entrySize: 0 };
  return readBtf({ name: 'vmlinux', file, type: 2, entry: 0n, segments: [], sections: [one] } as unknown as ElfHeaders);
}; // prettier-ignore

describe('guest/btf', () => {
  it('finds members: through typedefs, in nameless structures, in elements of arrays', () => {
    const btf = read(section()) ?? assert.fail('no BTF');
    assert.equal(btf.sizeOf('node'), 40);
    const places: [string, string, number, number][] = [
      ['point', 'y', 4, 4],
      ['node', 'next', 0, 8],
      ['node', 'id', 8, 4],
      ['node', 'low', 8, 4],
      ['node', 'tag', 12, 4],
      ['node', 'at', 16, 24],
      ['node', 'at[2]', 32, 8],
      ['node', 'at[2].y', 36, 4],
    ];
    for (const [struct, path, offset, size] of places)
      assert.deepEqual(btf.member(struct, path), { offset, size }, `${struct}.${path}`);
    for (const [struct, path] of [['nobody', 'x'], ['node', 'nothing'], ['node', 'next.x'], ['point', 'x[1]']] as const)
      assert.equal(btf.member(struct, path), undefined, `${struct}.${path}`); // prettier-ignore
  });

  it('an image without it has none', () => {
    const file = { name: 'k', size: 0, read: () => new Uint8Array() };
    assert.equal(readBtf({ name: 'k', file, type: 2, entry: 0n, segments: [], sections: [] }), undefined);
  });

  it('survives what is damaged: an ImageError or an answer, and an end', () => {
    const random = createRandom(7);
    const whole = section();
    let refused = 0;
    for (let round = 0; round < 2000; round++) {
      const bytes = random.next(8) === 0 ? whole.slice(0, random.next(whole.length)) : whole.slice();
      for (let spots = 1 + random.next(4); spots > 0; spots--)
        bytes[random.next(Math.max(1, bytes.length))] = random.next(256);
      try {
        const btf = read(bytes);
        for (const path of ['at[2].y', 'low', 'next']) btf?.member('node', path);
        btf?.sizeOf('node');
      } catch (error) {
        assert.ok(error instanceof ImageError, String(error));
        refused++;
      }
    }
    assert.ok(refused > 100 && refused < 2000, `${refused} of 2000`);
  });
});
