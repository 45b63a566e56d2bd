import { HIGH_BYTE, NO_REGISTER, RIP_BASE, type Decoded } from './decode';
import type { Form, OperandSpec } from './encoding';
import type { MachineMemory } from './memory';
import { RECORD, RECORD_FLAG } from './record';
import { GPR, offsetOf, type FieldName } from './state';

interface RegisterPlaces {
  readonly gpr: Uint16Array;
  readonly xmm: Uint16Array;
  readonly mm: Uint16Array;
}

/** State offsets by decoded register number; 16 | n are AH CH DH BH (n = 4…7). */
function registerPlaces(): RegisterPlaces {
  const gpr = new Uint16Array(32);
  GPR.forEach((name, i) => (gpr[i] = offsetOf(name)));
  for (let i = 4; i < 8; i++) gpr[HIGH_BYTE | i] = (gpr[i - 4] ?? 0) + 1;
  const vector = (prefix: 'xmm' | 'fpr', n: number): Uint16Array =>
    Uint16Array.from({ length: 32 }, (_, i) => offsetOf(`${prefix}${i % n}` as FieldName));
  return { gpr, xmm: vector('xmm', 16), mm: vector('fpr', 8) };
}

/** For each form, which register file r1 and r2 name; and what becomes of the immediate. */
interface FormPlaces {
  readonly r1: Uint16Array;
  readonly r2: Uint16Array;
  readonly relative: boolean;
  readonly moffs: boolean;
  readonly ends: boolean;
}

function placesOf(form: Form, files: RegisterPlaces): FormPlaces {
  const file = (from: OperandSpec['from']): Uint16Array => {
    const kind = form.operands.find((o) => o.from === from)?.kind;
    return kind === 'xmm' ? files.xmm : kind === 'mm' ? files.mm : files.gpr;
  };
  const { relative, moffs } = form.immediate;
  return { r1: file('r1'), r2: file('r2'), relative, moffs, ends: form.ends };
}

/**
 * Writes a record of the instruction `d` at `at`; `lo` and `hi` are the halves of the following instruction's address.
 * Whether its block ends with it.
 */
export type RecordWriter = (at: number, d: Readonly<Decoded>, lo: number, hi: number) => boolean;

/** `handlers`: the handler of each form, by its number. */
export function recordWriter(
  mem: MachineMemory,
  forms: readonly Form[],
  handlers: ArrayLike<number>,
): RecordWriter {
  const { bytes } = mem;
  const u16 = new Uint16Array(mem.memory.buffer);
  const i32 = new Int32Array(mem.memory.buffer);
  const files = registerPlaces();
  const places = forms.map((f) => placesOf(f, files));
  const ZERO = offsetOf('zero');
  const SEGMENT = [ZERO, offsetOf('fs_base'), offsetOf('gs_base')];
  const base = Uint16Array.from({ length: 18 }, (_, i) => (i < 16 ? (files.gpr[i] ?? 0) : ZERO));

  return (at, d, lo, hi) => {
    const place = places[d.form];
    if (place === undefined) throw new RangeError(`no form ${d.form}`);
    const h = at >> 1;
    const w = at >> 2;
    u16[h] = handlers[d.form] ?? 0;
    bytes[at + RECORD.length] = d.length;
    bytes[at + RECORD.flags] = d.stack ? RECORD_FLAG.STACK : 0;
    u16[h + (RECORD.r1 >> 1)] = place.r1[d.r1] ?? 0;
    u16[h + (RECORD.r2 >> 1)] = place.r2[d.r2] ?? 0;
    u16[h + (RECORD.base >> 1)] = base[d.base] ?? ZERO;
    u16[h + (RECORD.index >> 1)] = d.index === NO_REGISTER ? ZERO : (files.gpr[d.index] ?? ZERO);
    u16[h + (RECORD.segment >> 1)] = SEGMENT[d.segment] ?? ZERO;
    bytes[at + RECORD.shift] = d.shift;
    bytes[at + RECORD.number] = d.number;
    const dispHigh = d.disp >> 31;
    if (place.moffs) {
      i32[w + (RECORD.disp >> 2)] = d.immLo;
      i32[w + (RECORD.disp >> 2) + 1] = d.immHi;
    } else if (d.base === RIP_BASE) {
      const sum = (lo >>> 0) + (d.disp >>> 0);
      i32[w + (RECORD.disp >> 2)] = sum | 0;
      i32[w + (RECORD.disp >> 2) + 1] = hi + dispHigh + (sum > 0xffffffff ? 1 : 0);
    } else {
      i32[w + (RECORD.disp >> 2)] = d.disp;
      i32[w + (RECORD.disp >> 2) + 1] = dispHigh;
    }
    if (place.relative) {
      const sum = (lo >>> 0) + (d.immLo >>> 0);
      i32[w + (RECORD.imm >> 2)] = sum | 0;
      i32[w + (RECORD.imm >> 2) + 1] = hi + d.immHi + (sum > 0xffffffff ? 1 : 0);
    } else {
      i32[w + (RECORD.imm >> 2)] = d.immLo;
      i32[w + (RECORD.imm >> 2) + 1] = d.immHi;
    }
    i32[w + (RECORD.next >> 2)] = lo;
    i32[w + (RECORD.next >> 2) + 1] = hi;
    i32[w + (RECORD.mask >> 2)] = -1;
    i32[w + (RECORD.mask >> 2) + 1] = d.address32 ? 0 : -1;
    return place.ends;
  };
}
