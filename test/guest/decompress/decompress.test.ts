import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { codecs, decompress, sniffCodec, type DecompressTools } from '../../../src/guest/decompress';
import { crc32, crc64 } from '../../../src/guest/decompress/crc';
import { gzip } from '../../../src/guest/decompress/gzip';
import { lz4Block } from '../../../src/guest/decompress/lz4';
import { ImageError } from '../../../src/guest/error';
import { NODE_TOOLS } from '../../../src/host/unpacking-thread';
import { ascii } from '../../support/elf-builder';
import * as fixtures from './fixtures';

const limit = 1 << 20;
const expand = async (input: Uint8Array, expected?: number): Promise<Uint8Array> => {
  const codec = sniffCodec(input);
  assert.ok(codec, 'no codec has this magic');
  return decompress(codec, input, { what: 'k', limit, ...(expected === undefined ? {} : { expected }) });
};
const refused = (pattern: RegExp) => (error: unknown) => {
  assert.ok(error instanceof ImageError, String(error));
  assert.match(error.message, pattern);
  return true;
};

const good = {
  xzKernel: fixtures.xzKernel,
  xzBlocks: fixtures.xzBlocks,
  xzNoCheck: fixtures.xzNoCheck,
  zstdFile: fixtures.zstdFile,
  zstdChecked: fixtures.zstdChecked,
  lz4Legacy: fixtures.lz4Legacy,
  gzip: fixtures.gzip,
};

/** As the thread does that unpacks for the debugger: into memory that others see. */
const shared: DecompressTools = {
  ...NODE_TOOLS,
  allocate: (bytes) => new Uint8Array(new SharedArrayBuffer(bytes)),
};

describe('guest/decompress, with what Node has for it', () => {
  const given = (input: Uint8Array, most: number): Promise<Uint8Array> => {
    const codec = sniffCodec(input);
    assert.ok(codec);
    return decompress(codec, input, {
      what: 'k',
      limit: most,
      expected: fixtures.content().length,
      tools: shared,
    });
  };

  for (const [name, stream] of Object.entries(good)) {
    it(`expands ${name} to the same, and refuses it damaged, cut short or over the limit`, async () => {
      assert.deepEqual(Uint8Array.from(await given(stream, limit)), fixtures.content());
      for (let length = 8; length < stream.length; length += 41)
        await assert.rejects(given(stream.subarray(0, length), limit), refused(/^k[,:]/), `cut to ${length}`);
      await assert.rejects(given(stream, 1000), refused(/limit of 1000|more of it than announced/));
    });
  }

  it('refuses gzip over the limit where nothing announces the length', async () => {
    const context = { what: 'k', limit: 1000, tools: shared };
    await assert.rejects(
      async () => gzip(fixtures.gzip, context),
      refused(/more than the limit of 1000 bytes/),
    );
  });

  it('refuses what its check does not fit', async () => {
    for (const stream of [fixtures.xzKernel, fixtures.gzip]) {
      const damaged = Uint8Array.from(stream);
      const at = stream === fixtures.gzip ? stream.length - 7 : Math.floor(stream.length / 2);
      damaged[at] = (damaged[at] ?? 0) ^ 0x10;
      await assert.rejects(given(damaged, limit), refused(/^k[,:]/));
    }
  });
});

describe('guest/decompress', () => {
  it('computes the check values of the CRC catalogue', () => {
    assert.equal(crc32(ascii('123456789')), 0xcbf43926);
    assert.equal(crc64(ascii('123456789')), 0x995dc9bbdf1939fan);
    assert.equal(
      crc32(ascii('123456789123456789')),
      crc32(Uint8Array.from([...ascii('123456789'), ...ascii('123456789')])),
    );
  });

  for (const [name, stream] of Object.entries(good)) {
    it(`expands ${name} to what was compressed`, async () => {
      assert.deepEqual(await expand(stream), fixtures.content());
    });

    it(`refuses ${name} cut short anywhere`, async () => {
      for (let length = 8; length < stream.length; length += 41) {
        const cut = stream.subarray(0, length);
        // lz4's legacy frame has no end mark: cut between blocks it is only too short, which `expected` tells.
        await assert.rejects(expand(cut, fixtures.content().length), refused(/^k[,:]/), `cut to ${length}`);
      }
    });

    it(`refuses ${name} over the limit`, async () => {
      const codec = sniffCodec(stream);
      assert.ok(codec);
      await assert.rejects(
        decompress(codec, stream, { what: 'k', limit: 1000 }),
        refused(/limit of 1000|more of it than announced/),
      );
    });
  }

  for (const name of ['xzKernel', 'xzBlocks', 'gzip'] as const) {
    it(`notices each damaged byte of ${name}`, async () => {
      const stream = good[name];
      for (let at = 12; at < stream.length; at += 29) {
        const damaged = stream.slice();
        damaged[at] = (damaged[at] ?? 0) ^ 0x10;
        await assert.rejects(expand(damaged), refused(/./), `byte ${at}`);
      }
    });
  }

  it('expands several gzip members in a row, and checks the last', async () => {
    const both = Uint8Array.from([...gzipSync('one '), ...gzipSync('two')]);
    assert.equal(Buffer.from(await expand(both)).toString(), 'one two');
    both[both.length - 5] = (both[both.length - 5] ?? 0) ^ 1;
    await assert.rejects(expand(both), refused(/CRC-32/));
  });

  it('stops a bomb at the limit', async () => {
    await assert.rejects(expand(gzipSync(new Uint8Array(64 << 20))), refused(/limit/));
  });

  it('says by name what it does not do', async () => {
    await assert.rejects(expand(fixtures.xzSha256), refused(/SHA-256 check is not supported/));
    await assert.rejects(expand(fixtures.xzDelta), refused(/filtered by Delta/));
    await assert.rejects(expand(fixtures.lz4Frame), refused(/lz4 frame.*recompress.*gzip, xz, zstd, lz4/));
    await assert.rejects(expand(fixtures.zstdPipe), refused(/does not say how large/));
    for (const codec of codecs.filter(({ name }) => ['bzip2', 'lzma', 'lzo'].includes(name))) {
      await assert.rejects(
        expand(Uint8Array.from([...codec.magic, 0, 0, 0])),
        refused(new RegExp(`is ${codec.name},`)),
      );
    }
  });

  it('takes the length from outside where a zstd frame has none, and holds it to that', async () => {
    assert.deepEqual(await expand(fixtures.zstdPipe, fixtures.content().length), fixtures.content());
    await assert.rejects(expand(fixtures.gzip, 4095), refused(/announced/));
  });

  it('decodes lz4 blocks with long runs, overlaps and bad distances', () => {
    const out = new Uint8Array(64);
    // One literal, then a match that repeats it 4 + 15 + 3 times; then five last literals.
    const block = Uint8Array.from([0x1f, 0x61, 1, 0, 3, 0x50, 1, 2, 3, 4, 5]);
    assert.equal(lz4Block(block, out, 0), 28);
    assert.equal(Buffer.from(out.subarray(0, 23)).toString(), 'a'.repeat(23));
    assert.deepEqual([...out.subarray(23, 28)], [1, 2, 3, 4, 5]);
    assert.equal(lz4Block(Uint8Array.from([0x10, 0x61, 2, 0]), out, 0), -1, 'before the start');
    assert.equal(lz4Block(Uint8Array.from([0x10, 0x61, 0, 0]), out, 0), -1, 'distance zero');
    assert.equal(lz4Block(Uint8Array.from([0xf0, 255, 255]), out, 0), -1, 'more literals than there are');
    assert.equal(lz4Block(block, out.subarray(0, 20), 0), -1, 'no room');
  });
});
