import type { Context, Instruction } from '../instruction';
import { each } from '../instruction';
import type { FpFmt, Operand, Ops, Value, Vector } from '../ops';
import { enterMmx } from './mmx-state';
import { wait } from './x87-frame';

/** SSE and SSE2 conversions (SDM Vol. 2 CVT*). Integers are signed; MXCSR rules rounding unless truncated. */
type LaneConversion = (o: Ops, v: Value) => Value;

const toInt =
  (fmt: FpFmt, truncate: boolean): LaneConversion =>
  (o, v) =>
    o.fpToInt(fmt, 32, truncate, v);
const fromInt =
  (fmt: FpFmt): LaneConversion =>
  (o, v) =>
    o.intToFp(32, fmt, v);
const convert =
  (from: FpFmt, to: FpFmt): LaneConversion =>
  (o, v) =>
    o.fpConvert(from, to, v);

/** The low `n` lanes of `src` converted from `from` to `to` bits a lane, the rest of the result zero. */
const lanes = (
  o: Ops,
  n: number,
  from: 32 | 64,
  to: 32 | 64,
  f: LaneConversion,
  src: Vector,
  into: Vector,
): Vector =>
  o.fpLanes(() => {
    let r = into;
    for (let i = 0; i < n; i++) r = o.withLane(to, r, i, f(o, o.lane(from, src, i)));
    return r;
  });

interface Packed {
  readonly name: string;
  readonly encoding: string;
  readonly n: 2 | 4;
  readonly from: 32 | 64;
  readonly to: 32 | 64;
  readonly run: LaneConversion;
}

/** Between xmm registers. */
const PACKED: readonly Packed[] = [
  { name: 'cvtps2pd', encoding: 'np 0f 5a /r x,xm64', n: 2, from: 32, to: 64, run: convert(32, 64) },
  { name: 'cvtpd2ps', encoding: '66 0f 5a /r x,xm128', n: 2, from: 64, to: 32, run: convert(64, 32) },
  { name: 'cvtdq2ps', encoding: 'np 0f 5b /r x,xm128', n: 4, from: 32, to: 32, run: fromInt(32) },
  { name: 'cvtps2dq', encoding: '66 0f 5b /r x,xm128', n: 4, from: 32, to: 32, run: toInt(32, false) },
  { name: 'cvttps2dq', encoding: 'f3 0f 5b /r x,xm128', n: 4, from: 32, to: 32, run: toInt(32, true) },
  { name: 'cvtdq2pd', encoding: 'f3 0f e6 /r x,xm64', n: 2, from: 32, to: 64, run: fromInt(64) },
  { name: 'cvtpd2dq', encoding: 'f2 0f e6 /r x,xm128', n: 2, from: 64, to: 32, run: toInt(64, false) },
  { name: 'cvttpd2dq', encoding: '66 0f e6 /r x,xm128', n: 2, from: 64, to: 32, run: toInt(64, true) },
];

/** From xmm or memory to mm. */
const TO_MM: readonly Packed[] = [
  { name: 'cvttps2pi', encoding: 'np 0f 2c /r mm,xm64', n: 2, from: 32, to: 32, run: toInt(32, true) },
  { name: 'cvtps2pi', encoding: 'np 0f 2d /r mm,xm64', n: 2, from: 32, to: 32, run: toInt(32, false) },
  { name: 'cvttpd2pi', encoding: '66 0f 2c /r mm,xm128', n: 2, from: 64, to: 32, run: toInt(64, true) },
  { name: 'cvtpd2pi', encoding: '66 0f 2d /r mm,xm128', n: 2, from: 64, to: 32, run: toInt(64, false) },
];

/** From mm or memory to xmm. */
const FROM_MM: readonly Packed[] = [
  { name: 'cvtpi2ps', encoding: 'np 0f 2a /r x,mm64', n: 2, from: 32, to: 32, run: fromInt(32) },
  { name: 'cvtpi2pd', encoding: '66 0f 2a /r x,mm64', n: 2, from: 32, to: 64, run: fromInt(64) },
];

const manual = (name: string): string => `SDM 2A ${name.toUpperCase()}`;

const scalar = (
  mnemonic: string,
  encoding: string,
  run: (o: Ops, c: Context, src: Operand) => Value,
): Instruction => ({
  mnemonic,
  doc: manual(mnemonic),
  encodings: [encoding],
  unit: 'sse',
  semantics(o, c, dst, src) {
    dst.set(run(o, c, src));
  },
});

const intWidth = (c: Context): 32 | 64 => (c.w === 64 ? 64 : 32);

export const sseConvert: readonly Instruction[] = [
  ...each(PACKED, ({ name, encoding, n, from, to, run }) => ({
    mnemonic: name,
    doc: manual(name),
    encodings: [encoding],
    unit: 'sse',
    semantics(o, _c, dst, src) {
      dst.setx(lanes(o, n, from, to, run, src.getx(), o.kx(0n, 0n)));
    },
  })),
  ...each(TO_MM, ({ name, encoding, n, from, to, run }) => ({
    mnemonic: name,
    doc: manual(name),
    encodings: [encoding],
    unit: 'sse',
    semantics(o, _c, dst, src) {
      // Unit 'sse' does not ask for pending x87 exceptions, which come before a touch of the mm registers.
      wait(o);
      const v = src.getx();
      // The transition happens even where the conversion raises #XM: measured.
      enterMmx(o);
      dst.setx(lanes(o, n, from, to, run, v, o.kx(0n, 0n)));
    },
  })),
  ...each(FROM_MM, ({ name, encoding, n, from, to, run }) => ({
    mnemonic: name,
    doc: `${manual(name)}: with a memory operand there is no transition to MMX`,
    encodings: [encoding],
    unit: 'sse',
    semantics(o, _c, dst, src) {
      if (src.kind === 'mm') wait(o);
      const v = src.getx();
      if (src.kind === 'mm') enterMmx(o);
      // CVTPI2PS leaves the upper half alone; CVTPI2PD writes all of it.
      dst.setx(lanes(o, n, from, to, run, v, dst.getx()));
    },
  })),
  scalar('cvtss2sd', 'f3 0f 5a /r x64,xm32', (o, _c, src) => o.fpConvert(32, 64, src.get())),
  scalar('cvtsd2ss', 'f2 0f 5a /r x32,xm64', (o, _c, src) => o.fpConvert(64, 32, src.get())),
  scalar('cvtsi2ss', 'f3 0f 2a /r x32,rmy', (o, _c, src) =>
    o.intToFp(src.width === 64 ? 64 : 32, 32, src.get()),
  ),
  scalar('cvtsi2sd', 'f2 0f 2a /r x64,rmy', (o, _c, src) =>
    o.intToFp(src.width === 64 ? 64 : 32, 64, src.get()),
  ),
  scalar('cvttss2si', 'f3 0f 2c /r ry,xm32', (o, c, src) => o.fpToInt(32, intWidth(c), true, src.get())),
  scalar('cvtss2si', 'f3 0f 2d /r ry,xm32', (o, c, src) => o.fpToInt(32, intWidth(c), false, src.get())),
  scalar('cvttsd2si', 'f2 0f 2c /r ry,xm64', (o, c, src) => o.fpToInt(64, intWidth(c), true, src.get())),
  scalar('cvtsd2si', 'f2 0f 2d /r ry,xm64', (o, c, src) => o.fpToInt(64, intWidth(c), false, src.get())),
];
