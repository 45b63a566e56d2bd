import { gunzipSync, gzipSync } from 'node:zlib';
import { decode, newDecoded } from '../../src/cpu/decode';
import type { Form } from '../../src/cpu/encoding';
import { FORMS } from '../../src/cpu/instructions/index';
import { BACKGROUND, FX, FX_USED, RESULT, Result, TEST_SIZE, Test, hashElsewhere } from './protocol';

/**
 * The processor's answers as a file. A vector is a test and its result, each as what it changes: the test of one
 * of a few base states, the result of what would follow if the instruction did nothing but complete.
 *
 *   text line  what recorded it
 *   u32        bases, then that many test records
 *   u32        vectors, each: base, code offset, code (length first), changes of the test, changes of the result
 *   changes    number of runs, each: bytes skipped, bytes changed (length first)
 *
 * Numbers without a size are LEB128; the whole is gzipped.
 */
export interface Vector {
  readonly base: number;
  readonly test: Test;
  readonly expected: Result;
}
export interface VectorFile {
  readonly recordedOn: string;
  readonly bases: readonly Test[];
  readonly vectors: readonly Vector[];
}

class Writer {
  private readonly parts: Uint8Array[] = [];
  bytes(b: Uint8Array): this {
    this.parts.push(b.slice());
    return this;
  }
  number(n: number): this {
    const out: number[] = [];
    for (; n >= 0x80; n = Math.floor(n / 128)) out.push((n % 128) | 0x80);
    return this.bytes(Uint8Array.from([...out, n]));
  }
  sized(b: Uint8Array): this {
    return this.number(b.length).bytes(b);
  }
  take(): Uint8Array {
    return Buffer.concat(this.parts);
  }
}

class Reader {
  private at = 0;
  private readonly from: Uint8Array;
  constructor(from: Uint8Array) {
    // Not a Buffer: their slices share memory.
    this.from = new Uint8Array(from);
  }
  bytes(n: number): Uint8Array {
    if (this.at + n > this.from.length) throw new RangeError('the vector file ends early');
    this.at += n;
    return this.from.slice(this.at - n, this.at);
  }
  number(): number {
    for (let n = 0, scale = 1; ; scale *= 128) {
      const b = this.bytes(1)[0] ?? 0;
      n += (b & 0x7f) * scale;
      if (b < 0x80) return n;
    }
  }
  sized(): Uint8Array {
    return this.bytes(this.number());
  }
}

/** Unchanged bytes between two changes that are cheaper to repeat than to skip. */
const GAP = 2;

function writeChanges(w: Writer, from: Uint8Array, to: Uint8Array): void {
  const runs: [number, number][] = [];
  for (let i = 0; i < to.length; i++) {
    if (from[i] === to[i]) continue;
    const last = runs.at(-1);
    if (last && i - last[1] <= GAP) last[1] = i + 1;
    else runs.push([i, i + 1]);
  }
  w.number(runs.length);
  let at = 0;
  for (const [start, end] of runs) {
    w.number(start - at).sized(to.subarray(start, end));
    at = end;
  }
}

function applyChanges(r: Reader, to: Uint8Array): void {
  let at = 0;
  for (let n = r.number(); n > 0; n--) {
    at += r.number();
    const run = r.sized();
    if (at + run.length > to.length) throw new RangeError('a change lies outside its record');
    to.set(run, at);
    at += run.length;
  }
}

/** The instruction completes and changes nothing. */
function uneventful(t: Test): Result {
  const r = new Result();
  r.regs.bytes.set(t.regs.bytes);
  r.regs.rip = t.regs.rip + BigInt(t.code.length);
  r.data.set(t.data);
  r.elsewhere = hashElsewhere(BACKGROUND, t.dataOffset);
  return r;
}

/** The form whose rules a comparison goes by. */
export function formOfTest(t: Test): Form {
  const d = newDecoded();
  const n = decode(t.code, 0, t.code.length, d);
  const form = n > 0 ? FORMS[d.form] : undefined;
  if (!form) throw new RangeError(`${Buffer.from(t.code).toString('hex')} does not decode`);
  return form;
}

const RF = 1n << 16n;
/** What is not compared is not recorded either: the harness's own, and places the host leaves as it found them. */
function settled(v: Vector): Result {
  const r = new Result(v.expected.bytes.slice());
  const { regs } = r;
  const { test } = v;
  if (r.vector !== 14) new DataView(r.bytes.buffer).setBigUint64(RESULT.cr2, 0n, true);
  if (!r.faulted) new DataView(r.bytes.buffer).setUint32(RESULT.trapno, 0, true);
  if (!r.faulted) new DataView(r.bytes.buffer).setBigUint64(RESULT.error, 0n, true);
  regs.rflags = (regs.rflags & ~RF) | (test.regs.rflags & RF);
  regs.setFx32(FX.mxcsrMask, test.regs.fx32(FX.mxcsrMask));
  regs.fx.set(test.regs.fx.subarray(FX_USED), FX_USED);
  if (formOfTest(test).instruction.unit !== 'fpu') {
    regs.setFx16(FX.fop, test.regs.fx16(FX.fop));
    regs.setFx64(FX.fip, test.regs.fx64(FX.fip));
    regs.setFx64(FX.fdp, test.regs.fx64(FX.fdp));
  }
  return r;
}

export function encodeVectors(file: VectorFile): Uint8Array {
  const w = new Writer().sized(Buffer.from(file.recordedOn)).number(file.bases.length);
  for (const b of file.bases) w.bytes(b.bytes);
  w.number(file.vectors.length);
  for (const v of file.vectors) {
    const from = file.bases[v.base]?.clone();
    if (!from) throw new RangeError(`no base ${v.base}`);
    const code = v.test.code;
    from.setCode(v.test.codeOffset, [...code]);
    w.number(v.base).number(v.test.codeOffset).sized(code);
    writeChanges(w, from.bytes, v.test.bytes);
    writeChanges(w, uneventful(v.test).bytes, settled(v).bytes);
  }
  return gzipSync(w.take(), { level: 9 });
}

export function decodeVectors(bytes: Uint8Array): VectorFile {
  const r = new Reader(gunzipSync(bytes));
  const recordedOn = Buffer.from(r.sized()).toString();
  const bases = Array.from({ length: r.number() }, () => new Test(r.bytes(TEST_SIZE)));
  const vectors = Array.from({ length: r.number() }, (): Vector => {
    const base = r.number();
    const test = bases[base]?.clone();
    if (!test) throw new RangeError(`no base ${base}`);
    const offset = r.number();
    test.setCode(offset, [...r.sized()]);
    applyChanges(r, test.bytes);
    const expected = uneventful(test);
    applyChanges(r, expected.bytes);
    return { base, test, expected };
  });
  return { recordedOn, bases, vectors };
}
