import { XzReadableStream } from 'xz-decompress';
import { ByteReader, ByteView, startsWith } from '../../base/bytes';
import { ImageError, hex } from '../error';
import type { DecompressTools, Decompressor } from './codec';
import { createSink, fail } from './codec';
import { crc32, crc64 } from './crc';
import { x86FilterUndo } from './x86-filter';

// The .xz container (The .xz File Format 1.2.1) around LZMA2 data.
//
// The LZMA2 decoder is xz-decompress (xz-embedded as WebAssembly). Its build does not know the x86 filter that
// every x86 kernel is compressed with. So each block is handed to it in a container of its own, with LZMA2 alone;
// the filter is undone here, and with it the check, which is over what the filter was given.

const MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00];
const FOOTER_MAGIC = [0x59, 0x5a];
const HEADER_BYTES = 12;

const LZMA2 = 0x21;
const X86 = 0x04;
/** Filter ids of §5.3 that a kernel image has no reason to use; refused by name. */
const otherFilters: Readonly<Record<number, string>> = {
  0x03: 'Delta',
  0x05: 'PowerPC',
  0x06: 'IA-64',
  0x07: 'ARM',
  0x08: 'ARM-Thumb',
  0x09: 'SPARC',
  0x0a: 'ARM64',
  0x0b: 'RISC-V',
};

/** Takes the bytes as they come; at the end says whether they are those that the sum is of. */
interface Sum {
  add(bytes: Uint8Array): void;
  matches(stored: ByteView): boolean;
}
interface Check {
  readonly name: string;
  readonly size: number;
  readonly begin?: (tools: DecompressTools) => Sum;
}

function summing<T>(start: T, next: (bytes: Uint8Array, before: T) => T, read: (stored: ByteView) => T): Sum {
  let sum = start;
  return {
    add: (bytes) => {
      sum = next(bytes, sum);
    },
    matches: (stored) => read(stored) === sum,
  };
}

/** Check ids (§2.1.1.2). */
const checks: Readonly<Record<number, Check>> = {
  0x0: { name: 'None', size: 0, begin: () => ({ add: () => undefined, matches: () => true }) },
  0x1: {
    name: 'CRC32',
    size: 4,
    begin: (tools) => summing(0, tools.crc32 ?? crc32, (stored) => stored.u32(0)),
  },
  0x4: { name: 'CRC64', size: 8, begin: () => summing(0n, crc64, (stored) => stored.u64(0)) },
  0xa: { name: 'SHA-256', size: 32 },
};

interface Block {
  readonly offset: number;
  /** Header, compressed data and check; without the padding to four bytes. */
  readonly unpadded: number;
  readonly uncompressed: number;
}

const padded = (size: number): number => Math.ceil(size / 4) * 4;

/** The index at the stream's end (§4), which is the only place that gives the sizes of its blocks. */
function readIndex(
  view: ByteView,
  fault: (where: string, problem: string) => never,
): { blocks: Block[]; check: number } {
  if (view.size < 2 * HEADER_BYTES) fault('xz stream', 'truncated');
  const footer = view.size - HEADER_BYTES;
  if (!startsWith(view.bytes, FOOTER_MAGIC, footer + 10))
    fault('xz stream footer', 'is missing: truncated, or data after the stream');
  if (view.u32(8) !== crc32(view.slice(6, 2))) fault('xz stream header', 'its CRC-32 does not match');
  if (view.u32(footer) !== crc32(view.slice(footer + 4, 6)))
    fault('xz stream footer', 'its CRC-32 does not match');
  const indexSize = (view.u32(footer + 4) + 1) * 4;
  const indexStart = footer - indexSize;
  if (indexStart < HEADER_BYTES) fault('xz stream footer', `an index of ${indexSize} bytes does not fit`);
  if (view.u16(6) !== view.u16(footer + 8))
    fault('xz stream', 'header and footer disagree: several streams in one file, or damaged');
  if (view.u32(footer - 4) !== crc32(view.slice(indexStart, indexSize - 4)))
    fault('xz index', 'its CRC-32 does not match');

  const reader = new ByteReader(view, indexStart, footer - 4);
  if (reader.u8() !== 0) fault('xz index', 'does not start with its indicator byte');
  const count = reader.ulebNumber();
  const blocks: Block[] = [];
  let offset = HEADER_BYTES;
  for (let index = 0; index < count; index++) {
    const unpadded = reader.ulebNumber();
    const uncompressed = reader.ulebNumber();
    if (unpadded === 0 || unpadded > indexStart - offset)
      fault('xz index', `block ${index} does not lie in the stream`);
    blocks.push({ offset, unpadded, uncompressed });
    offset += padded(unpadded);
  }
  if (offset !== indexStart) fault('xz index', 'its blocks do not fill the stream');
  return { blocks, check: view.u8(7) & 0x0f };
}

interface Filters {
  readonly headerSize: number;
  /** LZMA2's one property: the size of the dictionary, encoded. */
  readonly dictionary: number;
  readonly x86?: { readonly start: number };
}

function readBlockHeader(
  view: ByteView,
  block: Block,
  fault: (where: string, problem: string) => never,
): Filters {
  const where = `xz block at offset ${hex(block.offset)}`;
  const headerSize = (view.u8(block.offset) + 1) * 4;
  if (headerSize < 8 || headerSize > block.unpadded) fault(where, 'its header does not fit');
  const end = block.offset + headerSize - 4;
  if (view.u32(end) !== crc32(view.slice(block.offset, headerSize - 4)))
    fault(where, "its header's CRC-32 does not match");
  const reader = new ByteReader(view, block.offset + 1, end);
  const flags = reader.u8();
  if ((flags & 0x40) !== 0) reader.uleb();
  if ((flags & 0x80) !== 0) reader.uleb();
  let dictionary: number | undefined;
  let x86: { start: number } | undefined;
  for (let left = (flags & 3) + 1; left > 0; left--) {
    const id = reader.ulebNumber();
    const properties = reader.view.view(reader.offset + 1, reader.u8(), where);
    reader.skip(properties.size);
    if (id === LZMA2 && left === 1) dictionary = properties.u8(0);
    else if (id === X86 && x86 === undefined) x86 = { start: properties.size === 0 ? 0 : properties.u32(0) };
    else fault(where, `is filtered by ${otherFilters[id] ?? `filter ${hex(id)}`}, which is not for x86 code`);
  }
  if (dictionary === undefined) return fault(where, 'does not end in LZMA2 data');
  return { headerSize, dictionary, ...(x86 === undefined ? {} : { x86 }) };
}

const u32Bytes = (value: number): number[] => [
  value & 0xff,
  (value >>> 8) & 0xff,
  (value >>> 16) & 0xff,
  value >>> 24,
];
const withCrc = (bytes: number[]): number[] => [...bytes, ...u32Bytes(crc32(Uint8Array.from(bytes)))];

/** Variable-length integer of §1.2: seven bits a byte, low first. */
function multibyte(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) | 0x80);
  }
}

/** A stream of one block of bare LZMA2 without check, as chunks. */
function plainStream(data: Uint8Array, dictionary: number, uncompressed: number): Uint8Array[] {
  const flags = [0, 0];
  const header = [...MAGIC, ...withCrc(flags)];
  const blockHeader = withCrc([0x02, 0x00, LZMA2, 0x01, dictionary, 0, 0, 0]);
  const record = [0x00, 0x01, ...multibyte(blockHeader.length + data.length), ...multibyte(uncompressed)];
  while (record.length % 4 !== 0) record.push(0);
  const index = withCrc(record);
  const sizeAndFlags = [...u32Bytes(index.length / 4 - 1), ...flags];
  const footer = [...u32Bytes(crc32(Uint8Array.from(sizeAndFlags))), ...sizeAndFlags, ...FOOTER_MAGIC];
  const padding = new Array<number>(padded(data.length) - data.length).fill(0);
  return [
    Uint8Array.from([...header, ...blockHeader]),
    data,
    Uint8Array.from([...padding, ...index, ...footer]),
  ];
}

// The few members of the Streams Standard that pass between here and the library; the core has no DOM types.
interface Chunk {
  done: boolean;
  value?: Uint8Array;
}
interface Source {
  getReader(): { read(): Promise<Chunk>; cancel(): Promise<void> };
}
const openStream = XzReadableStream as unknown as {
  new (source: Source): Source;
  /** The decoder, which the library keeps, and with it the memory of the largest dictionary it ever had. */
  _moduleInstance?: unknown;
  _moduleInstancePromise?: unknown;
};

let decoding = 0;
/** Lets go of it when nobody needs it any more. */
async function withDecoder<T>(work: () => Promise<T>): Promise<T> {
  decoding++;
  try {
    return await work();
  } finally {
    if (--decoding === 0) {
      delete openStream._moduleInstance;
      delete openStream._moduleInstancePromise;
    }
  }
}

function sourceOf(chunks: readonly Uint8Array[]): Source {
  const rest = chunks.filter((chunk) => chunk.length > 0);
  return {
    getReader: () => ({
      read: () => {
        const value = rest.shift();
        return Promise.resolve(value === undefined ? { done: true } : { done: false, value });
      },
      cancel: () => Promise.resolve(),
    }),
  };
}

export const xz: Decompressor = (input, context) => withDecoder(() => decode(input, context));

const decode: Decompressor = async (input, context) => {
  const { what, limit } = context;
  const fault = (where: string, problem: string): never => {
    throw new ImageError(what, where, problem);
  };
  let end = input.length;
  // Stream padding (§2.2): NULs in multiples of four.
  while (end >= 4 && startsWith(input, [0, 0, 0, 0], end - 4)) end -= 4;
  const view = new ByteView(
    input.subarray(0, end),
    what,
    (thing, offset) => new ImageError(thing, `xz stream, offset ${hex(offset)}`, 'truncated'),
  );
  const { blocks, check: checkId } = readIndex(view, fault);
  const check =
    checks[checkId] ?? fault('xz stream header', `check ${checkId} is not one the format defines`);
  const begin =
    check.begin ??
    fault('xz stream header', `a ${check.name} check is not supported; xz --check=crc32 makes one that is`);
  const total = blocks.reduce((sum, block) => sum + block.uncompressed, 0);
  if (total > limit) fault('xz index', `announces ${total} bytes, over the limit of ${limit}`);

  const sink = createSink({ ...context, limit: total, expected: total }, 'xz stream');
  for (const block of blocks) {
    const { headerSize, dictionary, x86 } = readBlockHeader(view, block, fault);
    const where = `xz block at offset ${hex(block.offset)}`;
    const size = block.unpadded - headerSize - check.size;
    if (size < 1) fault(where, 'has no data');
    const start = sink.length;
    const data = view.slice(block.offset + headerSize, size);
    const output = sink.room(start);
    const unfilter = x86 === undefined ? (there: number): number => there : x86FilterUndo(output, x86.start);
    const sum = begin(context.tools ?? {});
    let done = 0;
    const settle = (end: number): void => {
      if (end === done) return;
      sum.add(output.subarray(done, end));
      done = end;
      context.tools?.arrived?.(start + end);
    };
    const reader = new openStream(sourceOf(plainStream(data, dictionary, block.uncompressed))).getReader();
    try {
      for (;;) {
        const { done: ended, value } = await reader.read();
        if (ended) break;
        if (value === undefined) continue;
        sink.write(value);
        settle(unfilter(sink.length - start));
      }
    } catch (error) {
      await reader.cancel().catch(() => undefined);
      fail(what, where, error);
    }
    settle(sink.length - start);
    // The check follows the padding, though the index counts it before.
    const dataEnd = block.offset + headerSize + size;
    const checkAt = block.offset + padded(headerSize + size);
    if (view.slice(dataEnd, checkAt - dataEnd).some((byte) => byte !== 0))
      fault(where, 'its padding is not zero');
    if (!sum.matches(view.view(checkAt, check.size, what))) {
      fault(where, `its ${check.name} does not match: damaged data`);
    }
  }
  return sink.bytes();
};
