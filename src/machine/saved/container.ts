/**
 * The file of a saved machine, as bytes: a preamble, then sections of pieces, each piece with a header and a
 * checksum, and an end that covers all headers. Written front to back, so nothing is held but one piece, and read
 * the same way; what is not whole, in order and unchanged is refused with the place.
 */
import { chars, struct, u16, u32 } from '../../abi/layout';
import { PIECE, PlainError } from '../../base/plain';
import { crc32 } from '../../guest/decompress/crc';

export const FORMAT_VERSION = 1;
/** The first byte and the line ends show a file that was sent as text. */
export const MAGIC = Uint8Array.of(0x89, 0x48, 0x59, 0x50, 0x0d, 0x0a, 0x1a, 0x0a);

/** After the magic. */
export const preamble = struct('preamble', {
  /** Of this format: FORMAT_VERSION. */
  version: u32,
  /** Bytes that a piece has at most, before compression. */
  piece_limit: u32,
  /** CRC-32 of the magic and the two before. */
  crc: u32,
});

export const PIECE_FLAG = { DEFLATED: 1, LAST: 2 } as const;
const NAME_SIZE = 16;
export const piece_header = struct('piece_header', {
  /** Padded with zero bytes. */
  section: chars(NAME_SIZE),
  /** Of the section's contents. */
  version: u16,
  /** Bit 0: the bytes are raw deflate (RFC 1951). Bit 1: the section's last piece. */
  flags: u16,
  /** In the file, from 0. */
  number: u32,
  /** Bytes before compression. */
  length: u32,
  /** Bytes that follow. */
  stored: u32,
  /** CRC-32 of them. */
  crc: u32,
  /** CRC-32 of this header up to here. */
  header_crc: u32,
});

/** The section that ends the file, its contents not compressed. */
export const END = 'end';
export const end_record = struct('end_record', {
  /** Pieces before this one. */
  pieces: u32,
  /** CRC-32 of their headers, in order: each has the checksum of its bytes. */
  crc: u32,
  /** Bytes of the file. */
  size_low: u32,
  size_high: u32,
});

/** A file that is none, or not whole; says what, and where in it. */
export class SavedFileError extends Error {
  override readonly name = 'SavedFileError';
}

/** Raw deflate and its inverse, which throws for bytes that are not `size` bytes deflated. */
export interface Compression {
  deflate(bytes: Uint8Array): Uint8Array;
  inflate(deflated: Uint8Array, size: number): Uint8Array;
}

export interface SectionName {
  readonly name: string;
  readonly version: number;
}

export interface SavedWriter {
  /** Begins a section; @returns what takes its pieces, in order, the last of them marked so */
  section(section: SectionName): (piece: Uint8Array, last: boolean) => void;
  /** Bytes written, and what they stand for. */
  readonly written: () => { readonly stored: number; readonly raw: number };
  end(): void;
}

const headerCrcAt = piece_header.offset.header_crc;

export function savedWriter(write: (bytes: Uint8Array) => void, compression: Compression): SavedWriter {
  let number = 0;
  let stored = 0;
  let raw = 0;
  /** Of the headers so far. */
  const headers: Uint8Array[] = [];
  const put = (bytes: Uint8Array): void => {
    write(bytes);
    stored += bytes.length;
  };

  function piece({ name, version }: SectionName, bytes: Uint8Array, last: boolean, compress: boolean): void {
    const deflated = compress ? compression.deflate(bytes) : bytes;
    const smaller = deflated.length < bytes.length;
    const body = smaller ? deflated : bytes;
    const header = new Uint8Array(piece_header.size);
    const view = new DataView(header.buffer);
    piece_header.write(view, 0, {
      section: name,
      version,
      flags: (smaller ? PIECE_FLAG.DEFLATED : 0) | (last ? PIECE_FLAG.LAST : 0),
      number: number++,
      length: bytes.length,
      stored: body.length,
      crc: crc32(body),
      header_crc: 0,
    });
    view.setUint32(headerCrcAt, crc32(header.subarray(0, headerCrcAt)), true);
    headers.push(header);
    put(header);
    put(body);
    raw += bytes.length;
  }

  const start = new Uint8Array(MAGIC.length + preamble.size);
  const view = new DataView(start.buffer);
  start.set(MAGIC);
  preamble.write(view, MAGIC.length, { version: FORMAT_VERSION, piece_limit: PIECE, crc: 0 });
  view.setUint32(start.length - 4, crc32(start.subarray(0, start.length - 4)), true);
  put(start);

  return {
    section: (section) => (bytes, last) => piece(section, bytes, last, true),
    written: () => ({ stored, raw }),
    end() {
      const bytes = new Uint8Array(end_record.size);
      const size = stored + piece_header.size + bytes.length;
      end_record.write(new DataView(bytes.buffer), 0, {
        pieces: number,
        crc: crcOfHeaders(headers),
        size_low: size % 2 ** 32,
        size_high: Math.floor(size / 2 ** 32),
      });
      piece({ name: END, version: FORMAT_VERSION }, bytes, true, false);
    },
  };
}

function crcOfHeaders(headers: readonly Uint8Array[]): number {
  const all = new Uint8Array(headers.length * piece_header.size);
  headers.forEach((header, i) => all.set(header, i * piece_header.size));
  return crc32(all);
}

/** A file to read: `read` fills `into`, with zeroes beyond the end. */
export interface SavedSource {
  readonly size: number;
  read(at: number, into: Uint8Array): void;
}

export interface SavedReader {
  /** The section that comes next. */
  next(): SectionName;
  /** Enters it; @returns what gives its pieces, each valid until the next, then undefined */
  enter(section: SectionName): () => Uint8Array | undefined;
  /** Reads on to the end of a section that is of no interest, its checksums checked. */
  skip(section: SectionName): void;
  /** What stands at the end is right, and nothing follows. */
  end(): void;
}

/** Throws a SavedFileError for a file that is none. */
export function savedReader(file: SavedSource, { inflate }: Pick<Compression, 'inflate'>): SavedReader {
  let at = 0;
  let number = 0;
  const headers: Uint8Array[] = [];
  const refuse = (where: string, problem: string): never => {
    throw new SavedFileError(`${where}: ${problem}`);
  };
  const take = (length: number, what: string): Uint8Array<ArrayBuffer> => {
    if (at + length > file.size)
      refuse(`byte ${at}`, `the file ends in the middle of ${what}; it is not whole`);
    const bytes = new Uint8Array(length);
    file.read(at, bytes);
    at += length;
    return bytes;
  };

  const start = take(Math.min(file.size, MAGIC.length + preamble.size), 'its beginning');
  if (start.length < MAGIC.length || MAGIC.some((byte, i) => start[i] !== byte))
    refuse('its beginning', 'this is no saved machine');
  if (start.length < MAGIC.length + preamble.size) refuse('its beginning', 'it is not whole');
  const { version, piece_limit, crc } = preamble.read(new DataView(start.buffer), MAGIC.length);
  if (crc32(start.subarray(0, start.length - 4)) !== crc) refuse('its beginning', 'the checksum is wrong');
  if (version > FORMAT_VERSION)
    refuse(
      'its beginning',
      `it is of format ${version}, made by a newer Hyperstep; this one reads ${FORMAT_VERSION}`,
    );
  if (version < FORMAT_VERSION || piece_limit > PIECE)
    refuse('its beginning', `it is of format ${version}, which is not read any more`);

  interface Header {
    readonly place: string;
    readonly section: SectionName;
    readonly bytes: Uint8Array;
    readonly flags: number;
    readonly length: number;
    readonly stored: number;
    readonly crc: number;
  }
  let peeked: Header | undefined;
  function header(): Header {
    if (peeked !== undefined) return peeked;
    const from = at;
    const bytes = take(piece_header.size, 'the header of a piece, and before its end');
    const h = piece_header.read(new DataView(bytes.buffer), 0);
    const place = `piece ${number} at byte ${from}`;
    if (crc32(bytes.subarray(0, headerCrcAt)) !== h.header_crc)
      refuse(place, 'the checksum of its header is wrong');
    if (h.number !== number) refuse(place, `it says that it is piece ${h.number}`);
    if (h.length > PIECE || h.stored > h.length)
      refuse(place, `its length of ${h.length} bytes is impossible`);
    number++;
    return (peeked = {
      ...h,
      bytes,
      place: `section '${h.section}', ${place}`,
      section: { name: h.section, version: h.version },
    });
  }
  function body(): Uint8Array {
    const { place, bytes, flags, length, stored, crc: sum } = header();
    peeked = undefined;
    headers.push(bytes);
    const there = take(stored, place);
    if (crc32(there) !== sum) refuse(place, 'the checksum of its bytes is wrong');
    if ((flags & PIECE_FLAG.DEFLATED) === 0)
      return stored === length ? there : refuse(place, 'its lengths differ');
    try {
      const raw = inflate(there, length);
      if (raw.length === length) return raw;
    } catch {
      // Said below.
    }
    return refuse(place, `its bytes are not ${length} bytes deflated`);
  }

  function enter(wanted: SectionName): () => Uint8Array | undefined {
    const { section, place } = header();
    if (section.name !== wanted.name) refuse(place, `section '${wanted.name}' shall stand there`);
    if (section.version !== wanted.version) {
      const by = section.version > wanted.version ? 'a newer' : 'an older';
      refuse(
        place,
        `it is of version ${section.version}, made by ${by} Hyperstep; this one reads version ${wanted.version}`,
      );
    }
    let last = false;
    return () => {
      if (last) return undefined;
      const here = header();
      if (here.section.name !== wanted.name) refuse(here.place, `section '${wanted.name}' has not ended yet`);
      last = (here.flags & PIECE_FLAG.LAST) !== 0;
      return body();
    };
  }

  return {
    next: () => header().section,
    enter,
    skip(section) {
      for (const pull = enter(section); pull() !== undefined;);
    },
    end() {
      const covered = crcOfHeaders(headers);
      const pieces = number - (peeked === undefined ? 0 : 1);
      const bytes = enter({ name: END, version: FORMAT_VERSION })() ?? new Uint8Array(0);
      if (bytes.length !== end_record.size) refuse('its end', `it has ${bytes.length} bytes`);
      const e = end_record.read(new DataView(bytes.buffer, bytes.byteOffset), 0);
      if (e.pieces !== pieces || e.crc !== covered) refuse('its end', 'the checksum of the whole is wrong');
      const size = e.size_high * 2 ** 32 + e.size_low;
      if (size !== file.size) refuse('its end', `the file shall have ${size} bytes, and has ${file.size}`);
    },
  };
}

/** What is wrong with the data, as something wrong with the file. */
export function refused(error: unknown): unknown {
  return error instanceof PlainError ? new SavedFileError(error.message) : error;
}
