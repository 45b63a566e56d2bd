/**
 * The WebAssembly instructions that this project emits: name → encoding and signature (W3C WebAssembly Core 2.0
 * §5.4, §7.5; tail calls and threads as in their proposals). Operations with immediates (loads, stores, lanes,
 * constants, control) are encoded by body.ts; here they have their opcode only.
 */
export type ValType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

export interface OpInfo {
  readonly code: readonly number[];
  readonly args: readonly ValType[];
  readonly result: ValType | undefined;
}

const table = new Map<string, OpInfo>();

function define(
  code: readonly number[],
  name: string,
  args: readonly ValType[],
  result: ValType | undefined,
): void {
  table.set(name, { code, args, result });
}

/** Consecutive one-byte opcodes from `first`. */
function run(first: number, prefix: string, names: string, args: readonly ValType[], result: ValType): void {
  names.split(' ').forEach((name, i) => define([first + i], `${prefix}.${name}`, args, result));
}

const INT_COMPARE = 'eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u';
const FLOAT_COMPARE = 'eq ne lt gt le ge';
define([0x45], 'i32.eqz', ['i32'], 'i32');
run(0x46, 'i32', INT_COMPARE, ['i32', 'i32'], 'i32');
define([0x50], 'i64.eqz', ['i64'], 'i32');
run(0x51, 'i64', INT_COMPARE, ['i64', 'i64'], 'i32');
run(0x5b, 'f32', FLOAT_COMPARE, ['f32', 'f32'], 'i32');
run(0x61, 'f64', FLOAT_COMPARE, ['f64', 'f64'], 'i32');
const INT_BINARY = 'add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr';
run(0x67, 'i32', 'clz ctz popcnt', ['i32'], 'i32');
run(0x6a, 'i32', INT_BINARY, ['i32', 'i32'], 'i32');
run(0x79, 'i64', 'clz ctz popcnt', ['i64'], 'i64');
run(0x7c, 'i64', INT_BINARY, ['i64', 'i64'], 'i64');
const FLOAT_UNARY = 'abs neg ceil floor trunc nearest sqrt';
const FLOAT_BINARY = 'add sub mul div min max copysign';
run(0x8b, 'f32', FLOAT_UNARY, ['f32'], 'f32');
run(0x92, 'f32', FLOAT_BINARY, ['f32', 'f32'], 'f32');
run(0x99, 'f64', FLOAT_UNARY, ['f64'], 'f64');
run(0xa0, 'f64', FLOAT_BINARY, ['f64', 'f64'], 'f64');
define([0xa7], 'i32.wrap_i64', ['i64'], 'i32');
define([0xac], 'i64.extend_i32_s', ['i32'], 'i64');
define([0xad], 'i64.extend_i32_u', ['i32'], 'i64');
define([0xb2], 'f32.convert_i32_s', ['i32'], 'f32');
define([0xb4], 'f32.convert_i64_s', ['i64'], 'f32');
define([0xb6], 'f32.demote_f64', ['f64'], 'f32');
define([0xb7], 'f64.convert_i32_s', ['i32'], 'f64');
define([0xb9], 'f64.convert_i64_s', ['i64'], 'f64');
define([0xbb], 'f64.promote_f32', ['f32'], 'f64');
define([0xbc], 'i32.reinterpret_f32', ['f32'], 'i32');
define([0xbd], 'i64.reinterpret_f64', ['f64'], 'i64');
define([0xbe], 'f32.reinterpret_i32', ['i32'], 'f32');
define([0xbf], 'f64.reinterpret_i64', ['i64'], 'f64');
define([0xc2], 'i64.extend8_s', ['i64'], 'i64');
define([0xc3], 'i64.extend16_s', ['i64'], 'i64');
define([0xc4], 'i64.extend32_s', ['i64'], 'i64');
define([0xfc, 6], 'i64.trunc_sat_f64_s', ['f64'], 'i64');
define([0xfc, 4], 'i64.trunc_sat_f32_s', ['f32'], 'i64');

/** Loads and stores: memory operations with (align, offset) immediates. */
const memory = (
  code: readonly number[],
  name: string,
  align: number,
  type: ValType,
  store: boolean,
): void => {
  define(code, name, store ? ['i32', type] : ['i32'], store ? undefined : type);
  ALIGN.set(name, align);
};
/** log2 of the natural alignment; atomics must state exactly this (threads proposal). */
export const ALIGN = new Map<string, number>();
memory([0x28], 'i32.load', 2, 'i32', false);
memory([0x29], 'i64.load', 3, 'i64', false);
memory([0x2a], 'f32.load', 2, 'f32', false);
memory([0x2b], 'f64.load', 3, 'f64', false);
memory([0x2d], 'i32.load8_u', 0, 'i32', false);
memory([0x2f], 'i32.load16_u', 1, 'i32', false);
memory([0x30], 'i64.load8_s', 0, 'i64', false);
memory([0x31], 'i64.load8_u', 0, 'i64', false);
memory([0x32], 'i64.load16_s', 1, 'i64', false);
memory([0x33], 'i64.load16_u', 1, 'i64', false);
memory([0x34], 'i64.load32_s', 2, 'i64', false);
memory([0x35], 'i64.load32_u', 2, 'i64', false);
memory([0x36], 'i32.store', 2, 'i32', true);
memory([0x37], 'i64.store', 3, 'i64', true);
memory([0x3a], 'i32.store8', 0, 'i32', true);
memory([0x3b], 'i32.store16', 1, 'i32', true);
memory([0x3c], 'i64.store8', 0, 'i64', true);
memory([0x3d], 'i64.store16', 1, 'i64', true);
memory([0x3e], 'i64.store32', 2, 'i64', true);
memory([0xfd, 0], 'v128.load', 4, 'v128', false);
memory([0xfd, 11], 'v128.store', 4, 'v128', true);
memory([0xfe, 0x10], 'i32.atomic.load', 2, 'i32', false);

/** SIMD operations (prefix fd, LEB128 sub-opcode), no immediates. */
const simd = (name: string, sub: number, args: readonly ValType[], result: ValType): void =>
  define(sub < 128 ? [0xfd, sub] : [0xfd, (sub & 0x7f) | 0x80, sub >> 7], name, args, result);
const V2: readonly ValType[] = ['v128', 'v128'];
for (const [name, sub] of Object.entries({
  'i8x16.swizzle': 14, 'i8x16.eq': 35, 'i8x16.gt_s': 39, 'i16x8.eq': 45, 'i16x8.gt_s': 49, 'i32x4.eq': 55, 'i32x4.gt_s': 59,
  'v128.and': 78, 'v128.andnot': 79, 'v128.or': 80, 'v128.xor': 81,
  'i8x16.narrow_i16x8_s': 101, 'i8x16.narrow_i16x8_u': 102,
  'i8x16.add': 110, 'i8x16.add_sat_s': 111, 'i8x16.add_sat_u': 112, 'i8x16.sub': 113, 'i8x16.sub_sat_s': 114, 'i8x16.sub_sat_u': 115,
  'i8x16.min_s': 118, 'i8x16.min_u': 119, 'i8x16.max_s': 120, 'i8x16.max_u': 121, 'i8x16.avgr_u': 123,
  'i16x8.narrow_i32x4_s': 133, 'i16x8.narrow_i32x4_u': 134,
  'i16x8.add': 142, 'i16x8.add_sat_s': 143, 'i16x8.add_sat_u': 144, 'i16x8.sub': 145, 'i16x8.sub_sat_s': 146, 'i16x8.sub_sat_u': 147,
  'i16x8.mul': 149, 'i16x8.min_s': 150, 'i16x8.min_u': 151, 'i16x8.max_s': 152, 'i16x8.max_u': 153, 'i16x8.avgr_u': 155,
  'i16x8.extmul_low_i8x16_s': 156, 'i16x8.extmul_high_i8x16_s': 157, 'i16x8.extmul_low_i8x16_u': 158, 'i16x8.extmul_high_i8x16_u': 159,
  'i32x4.add': 174, 'i32x4.sub': 177, 'i32x4.mul': 181, 'i32x4.dot_i16x8_s': 186,
  'i32x4.extmul_low_i16x8_s': 188, 'i32x4.extmul_high_i16x8_s': 189, 'i32x4.extmul_low_i16x8_u': 190, 'i32x4.extmul_high_i16x8_u': 191,
  'i64x2.eq': 214, 'i64x2.gt_s': 217, 'f32x4.add': 228, 'f32x4.sub': 229, 'f32x4.mul': 230, 'f32x4.div': 231,
  'f64x2.add': 240, 'f64x2.sub': 241, 'f64x2.mul': 242, 'f64x2.div': 243,
  'i64x2.add': 206, 'i64x2.sub': 209, 'i64x2.mul': 213,
  'i64x2.extmul_low_i32x4_s': 220, 'i64x2.extmul_high_i32x4_s': 221, 'i64x2.extmul_low_i32x4_u': 222, 'i64x2.extmul_high_i32x4_u': 223,
})) simd(name, sub, V2, 'v128'); // prettier-ignore
simd('v128.not', 77, ['v128'], 'v128');
simd('v128.any_true', 83, ['v128'], 'i32');
for (const [lane, mask, shl] of [['i8x16', 100, 107], ['i16x8', 132, 139], ['i32x4', 164, 171], ['i64x2', 196, 203]] as const) {
  simd(`${lane}.bitmask`, mask, ['v128'], 'i32');
  ['shl', 'shr_s', 'shr_u'].forEach((s, i) => simd(`${lane}.${s}`, shl + i, ['v128', 'i32'], 'v128'));
} // prettier-ignore
(['i8x16', 'i16x8', 'i32x4'] as const).forEach((l, i) => simd(`${l}.splat`, 15 + i, ['i32'], 'v128'));
simd('i64x2.splat', 18, ['i64'], 'v128');
/** With a lane immediate. */
for (const [name, sub, args, result] of [
  ['i8x16.extract_lane_u', 22, ['v128'], 'i32'], ['i8x16.replace_lane', 23, ['v128', 'i32'], 'v128'],
  ['i16x8.extract_lane_u', 25, ['v128'], 'i32'], ['i16x8.replace_lane', 26, ['v128', 'i32'], 'v128'],
  ['i32x4.extract_lane', 27, ['v128'], 'i32'], ['i32x4.replace_lane', 28, ['v128', 'i32'], 'v128'],
  ['i64x2.extract_lane', 29, ['v128'], 'i64'], ['i64x2.replace_lane', 30, ['v128', 'i64'], 'v128'],
] as const) simd(name, sub, args, result); // prettier-ignore
/** With 16 lane immediates. */
simd('i8x16.shuffle', 13, V2, 'v128');

/** The entry of an operation; throws on a name that is not in the table. */
export function opInfo(name: string): OpInfo {
  const info = table.get(name);
  if (info === undefined) throw new Error(`WebAssembly operation ${name} is not in the table`);
  return info;
}
export const isOp = (name: string): boolean => table.has(name);
