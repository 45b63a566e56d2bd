/**
 * Reads qcow2 images, versions 2 and 3 (QEMU's docs/interop/qcow2.txt). The image is never written: what a guest
 * writes goes into the overlay. Images that need more than the file itself (a backing file, an external data
 * file, a key) are refused: no file is opened that the user did not name.
 */
import { SECTOR_SIZE } from './blkif';
import type { BlockFile, BlockStore } from './store';

/** @param size of the result in bytes. Throws when `deflated` (RFC 1951) is not that. */
export type Inflate = (deflated: Uint8Array, size: number) => Uint8Array;

const MAGIC = 0x514649fb;
/** Incompatible feature bits by number. Bit 0 only says that reference counts may be off, which reading ignores. */
const refusedFeatures: readonly (string | undefined)[] = [
  undefined,
  'it is marked as corrupt',
  'its data lie in another file',
  undefined,
  'it has extended L2 entries',
];
/** Compression type (bit 3): the header's byte 104 says which. */
const COMPRESSION_DEFLATE = 0;
/** QEMU's own limit for the L1 table (QCOW_MAX_L1_SIZE), in entries. */
const MOST_L1_ENTRIES = 2 ** 22;
const MOST_TABLES_KEPT = 64;

/** Bits 9 to 55 of a table's entry, as a number of bytes. */
const offsetOf = (high: number, low: number): number =>
  (high & 0x00ff_ffff) * 2 ** 32 + ((low & ~0x1ff) >>> 0);

export const isQcow2 = (file: BlockFile): boolean => {
  const magic = new Uint8Array(4);
  file.read(0, magic);
  return new DataView(magic.buffer).getUint32(0) === MAGIC;
};

interface Header {
  readonly clusterBits: number;
  readonly size: number;
  readonly l1Entries: number;
  readonly l1Offset: number;
  readonly version: number;
}

function bytesAt(file: BlockFile, at: number, length: number): DataView {
  const bytes = new Uint8Array(length);
  file.read(at, bytes);
  return new DataView(bytes.buffer);
}

function readHeader(file: BlockFile, name: string): Header {
  const refuse = (why: string): Error => new Error(`${name}: ${why}`);
  const h = bytesAt(file, 0, 112);
  const u64 = (at: number): number => Number(h.getBigUint64(at));
  if (h.getUint32(0) !== MAGIC) throw refuse('this is no qcow2 image');
  const version = h.getUint32(4);
  if (version !== 2 && version !== 3) throw refuse(`qcow2 version ${version} is neither 2 nor 3`);
  if (u64(8) !== 0)
    throw refuse('it has a backing file; make one image of both with `qemu-img convert -O qcow2`');
  const clusterBits = h.getUint32(20);
  if (clusterBits < 9 || clusterBits > 21) throw refuse(`clusters of 2^${clusterBits} bytes are none`);
  if (h.getUint32(32) !== 0) throw refuse('it is encrypted');
  if (version === 3) {
    const incompatible = h.getBigUint64(72);
    for (let bit = 0; bit < 64; bit++) {
      if ((incompatible & (1n << BigInt(bit))) === 0n) continue;
      if (bit >= refusedFeatures.length) throw refuse(`it needs feature ${bit}, which is not known here`);
      const why = refusedFeatures[bit];
      if (why !== undefined) throw refuse(why);
    }
    const type = (incompatible & 8n) === 0n ? COMPRESSION_DEFLATE : h.getUint8(104);
    if (type !== COMPRESSION_DEFLATE)
      throw refuse('its clusters are compressed by something else than deflate');
  }
  const size = u64(24);
  const l1Entries = h.getUint32(36);
  const perEntry = 2 ** (clusterBits + clusterBits - 3);
  if (!Number.isSafeInteger(size) || l1Entries > MOST_L1_ENTRIES || Math.ceil(size / perEntry) > l1Entries)
    throw refuse(`its table of ${l1Entries} entries does not fit its size, ${size} bytes`);
  const l1Offset = u64(40);
  if (!(l1Offset + l1Entries * 8 <= file.size)) throw refuse('it ends before its table does');
  return { clusterBits, size, l1Entries, l1Offset, version };
}

/**
 * @param name what to call the image in messages
 * @throws Error naming the image and what it has that cannot be read
 */
export function qcow2Store(file: BlockFile, name: string, inflate: Inflate): BlockStore {
  const { clusterBits, size, l1Entries, l1Offset, version } = readHeader(file, name);
  const clusterSize = 2 ** clusterBits;
  const l2Entries = clusterSize / 8;
  const l1 = bytesAt(file, l1Offset, l1Entries * 8);
  const tables = new Map<number, DataView>();
  let inflated: { at: number; high: number; bytes: Uint8Array } | undefined;

  function tableAt(at: number): DataView {
    const known = tables.get(at);
    if (known !== undefined) return known;
    if (at + clusterSize > file.size) throw new Error(`${name}: a table at ${at} lies beyond the end`);
    const table = bytesAt(file, at, clusterSize);
    // The oldest goes; a Map's order is that of insertion.
    for (const oldest of tables.keys()) {
      if (tables.size < MOST_TABLES_KEPT) break;
      tables.delete(oldest);
    }
    tables.set(at, table);
    return table;
  }

  /** A compressed cluster: offset below bit x, then the number of further 512-byte sectors it reaches into. */
  function compressed(high: number, low: number): Uint8Array {
    if (inflated?.at === low && inflated.high === high) return inflated.bytes;
    const descriptor = (BigInt(high & 0x3fff_ffff) << 32n) | BigInt(low >>> 0);
    const x = BigInt(62 - (clusterBits - 8));
    const at = Number(descriptor & ((1n << x) - 1n));
    const length = (Number(descriptor >> x) + 1) * SECTOR_SIZE - (at % SECTOR_SIZE);
    if (at >= file.size) throw new Error(`${name}: a compressed cluster at ${at} lies beyond the end`);
    const deflated = new Uint8Array(length);
    file.read(at, deflated);
    const bytes = inflate(deflated, clusterSize);
    if (bytes.length !== clusterSize)
      throw new Error(`${name}: a compressed cluster at ${at} has ${bytes.length} bytes, not ${clusterSize}`);
    inflated = { at: low, high, bytes };
    return bytes;
  }

  /** Fills `into`, which lies within one cluster. */
  function readWithin(at: number, into: Uint8Array): void {
    const cluster = Math.floor(at / clusterSize);
    const within = at % clusterSize;
    const index = Math.floor(cluster / l2Entries);
    const l2At = index < l1Entries ? offsetOf(l1.getUint32(index * 8), l1.getUint32(index * 8 + 4)) : 0;
    if (l2At === 0) {
      into.fill(0);
      return;
    }
    const table = tableAt(l2At);
    const entry = (cluster % l2Entries) * 8;
    const high = table.getUint32(entry);
    const low = table.getUint32(entry + 4);
    if ((high & 0x4000_0000) !== 0) {
      into.set(compressed(high, low).subarray(within, within + into.length));
      return;
    }
    const data = offsetOf(high, low);
    if (data === 0 || (version === 3 && (low & 1) !== 0)) into.fill(0);
    else if (data >= file.size) throw new Error(`${name}: a cluster at ${data} lies beyond the end`);
    else file.read(data + within, into);
  }

  return {
    sectors: Math.ceil(size / SECTOR_SIZE),
    readOnly: true,
    read(sector, into) {
      for (let done = 0; done < into.length;) {
        const at = sector * SECTOR_SIZE + done;
        const part = Math.min(into.length - done, clusterSize - (at % clusterSize));
        readWithin(at, into.subarray(done, done + part));
        done += part;
      }
    },
    write: () => {
      throw new Error(`${name}: qcow2 images are only read`);
    },
    flush: () => undefined,
  };
}
