/**
 * Records exchanged with scripts/native/oracle.c, which documents the memory a test sees. All little-endian,
 * without padding; offsets follow from the C structures there.
 */
import { IMAGE as FX } from '../../src/cpu/instructions/fxsave';

/** Offsets in an FXSAVE image: the declarations' own. */
export { FX };
export const CODE = 0x20000000;
export const DATA = 0x10000000;
export const PAGE = 4096;
/** Small, so that what is reached with a GS prefix lies near what is reached without. */
export const GS_BASE = 0x40;
/** Pages of DATA: two writable ones, then a read-only one. */
export const WRITABLE_PAGES = 2;
export const DATA_PAGES = 3;
/** Bytes of DATA a test fills and a result reports. */
export const WINDOW = 256;
export const FX_SIZE = 512;
/** Of the FXSAVE image, what is compared; the rest is reserved for software (SDM Vol. 1 table 10-2). */
export const FX_USED = 416;

const GPR_BYTES = 16 * 8;
/** struct regs: 16 GPRs in encoding order, rip, rflags, FXSAVE64 image. */
export const REGS_SIZE = GPR_BYTES + 16 + FX_SIZE;
export const TEST = {
  codeOffset: 0, codeLength: 4, code: 8, dataLength: 24, dataOffset: 28, data: 32, regs: 32 + WINDOW,
} as const; // prettier-ignore
export const TEST_SIZE = TEST.regs + REGS_SIZE;
export const RESULT = { signal: 0, trapno: 4, error: 8, cr2: 16, regs: 24, data: 24 + REGS_SIZE, elsewhere: 24 + REGS_SIZE + WINDOW } as const; // prettier-ignore
export const RESULT_SIZE = RESULT.elsewhere + 8;
export const CODE_SIZE = 16;

/** Views of one struct regs inside a record. */
export class Regs {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  constructor(record: Uint8Array, at: number) {
    this.bytes = record.subarray(at, at + REGS_SIZE);
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, REGS_SIZE);
  }
  gpr(n: number): bigint {
    return this.view.getBigUint64(n * 8, true);
  }
  setGpr(n: number, v: bigint): void {
    this.view.setBigUint64(n * 8, v, true);
  }
  get rip(): bigint {
    return this.view.getBigUint64(GPR_BYTES, true);
  }
  set rip(v: bigint) {
    this.view.setBigUint64(GPR_BYTES, v, true);
  }
  get rflags(): bigint {
    return this.view.getBigUint64(GPR_BYTES + 8, true);
  }
  set rflags(v: bigint) {
    this.view.setBigUint64(GPR_BYTES + 8, v, true);
  }
  get fx(): Uint8Array {
    return this.bytes.subarray(GPR_BYTES + 16, GPR_BYTES + 16 + FX_SIZE);
  }
  fx16(at: number): number {
    return this.view.getUint16(GPR_BYTES + 16 + at, true);
  }
  setFx16(at: number, v: number): void {
    this.view.setUint16(GPR_BYTES + 16 + at, v, true);
  }
  fx32(at: number): number {
    return this.view.getUint32(GPR_BYTES + 16 + at, true);
  }
  setFx32(at: number, v: number): void {
    this.view.setUint32(GPR_BYTES + 16 + at, v, true);
  }
  fx64(at: number): bigint {
    return this.view.getBigUint64(GPR_BYTES + 16 + at, true);
  }
  setFx64(at: number, v: bigint): void {
    this.view.setBigUint64(GPR_BYTES + 16 + at, v, true);
  }
  get mxcsr(): number {
    return this.fx32(FX.mxcsr);
  }
  set mxcsr(v: number) {
    this.setFx32(FX.mxcsr, v);
  }
  /** Bytes of xmm `n`. */
  xmm(n: number): Uint8Array {
    return this.fx.subarray(FX.xmm + n * 16, FX.xmm + n * 16 + 16);
  }
  /** The ten bytes of st(`i`). */
  st(i: number): Uint8Array {
    return this.fx.subarray(FX.st + i * 16, FX.st + i * 16 + 10);
  }
}

/** One instruction with the state it starts from. */
export class Test {
  readonly bytes: Uint8Array;
  private readonly view: DataView;
  readonly regs: Regs;
  constructor(bytes: Uint8Array = new Uint8Array(TEST_SIZE)) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, TEST_SIZE);
    this.regs = new Regs(bytes, TEST.regs);
  }
  get codeOffset(): number {
    return this.view.getUint32(TEST.codeOffset, true);
  }
  get code(): Uint8Array {
    return this.bytes.subarray(TEST.code, TEST.code + this.view.getUint32(TEST.codeLength, true));
  }
  /** Bytes at an offset in the code page; rip follows. */
  setCode(offset: number, code: readonly number[]): void {
    if (code.length > CODE_SIZE) throw new RangeError(`an instruction of ${code.length} bytes`);
    this.view.setUint32(TEST.codeOffset, offset, true);
    this.view.setUint32(TEST.codeLength, code.length, true);
    this.bytes.fill(0, TEST.code, TEST.code + CODE_SIZE);
    this.bytes.set(code, TEST.code);
    this.regs.rip = BigInt(CODE + offset);
  }
  get dataOffset(): number {
    return this.view.getUint32(TEST.dataOffset, true);
  }
  set dataOffset(v: number) {
    this.view.setUint32(TEST.dataLength, WINDOW, true);
    this.view.setUint32(TEST.dataOffset, v, true);
  }
  get data(): Uint8Array {
    return this.bytes.subarray(TEST.data, TEST.data + WINDOW);
  }
  clone(): Test {
    return new Test(this.bytes.slice());
  }
}

/** What became of it. */
export class Result {
  readonly bytes: Uint8Array;
  private readonly view: DataView;
  readonly regs: Regs;
  constructor(bytes: Uint8Array = new Uint8Array(RESULT_SIZE)) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, RESULT_SIZE);
    this.regs = new Regs(bytes, RESULT.regs);
  }
  /** It did not complete. */
  get faulted(): boolean {
    return this.view.getUint32(RESULT.signal, true) !== 0;
  }
  /** Exception vector of a fault. */
  get vector(): number {
    return this.view.getUint32(RESULT.trapno, true);
  }
  get error(): number {
    return this.view.getUint32(RESULT.error, true);
  }
  get cr2(): bigint {
    return this.view.getBigUint64(RESULT.cr2, true);
  }
  setFault(vector: number, error: number, cr2: bigint): void {
    this.view.setUint32(RESULT.signal, 1, true);
    this.view.setUint32(RESULT.trapno, vector, true);
    this.view.setBigUint64(RESULT.error, BigInt(error), true);
    this.view.setBigUint64(RESULT.cr2, cr2, true);
  }
  get data(): Uint8Array {
    return this.bytes.subarray(RESULT.data, RESULT.data + WINDOW);
  }
  get elsewhere(): bigint {
    return this.view.getBigUint64(RESULT.elsewhere, true);
  }
  set elsewhere(v: bigint) {
    this.view.setBigUint64(RESULT.elsewhere, v, true);
  }
}

/** What the two writable pages hold around the window. */
export const BACKGROUND = Uint8Array.from(
  { length: WRITABLE_PAGES * PAGE },
  (_, i) => i * 37 + (i >> 8) * 11,
);
/** The read-only page. */
export const READ_ONLY = Uint8Array.from({ length: PAGE }, (_, i) => i * 29 + 5);
/** What surrounds the instruction in the code page. */
export const FILLER = 0xcc;

/** FNV-like hash of all bytes of the writable pages outside the window that differ from the background. */
export function hashElsewhere(page: Uint8Array, windowOffset: number): bigint {
  let h = 1469598103934665603n;
  const after = windowOffset + WINDOW;
  const untouched = (from: number, to?: number): boolean =>
    Buffer.compare(page.subarray(from, to), BACKGROUND.subarray(from, to)) === 0;
  if (untouched(0, windowOffset) && untouched(after)) return h;
  for (let i = 0; i < BACKGROUND.length; i++) {
    if (i === windowOffset) i = after;
    const v = page[i];
    if (v !== undefined && v !== BACKGROUND[i])
      h = BigInt.asUintN(64, (h ^ BigInt(i * 256 + v)) * 1099511628211n);
  }
  return h;
}
