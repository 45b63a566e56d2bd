import type { Location, Member, Place, Type } from '../../guest/dwarf';
import { Unavailable, bare, joinPieces, piecesFor, sizeOf } from '../../guest/dwarf';
import { registerName } from '../../machine/register-names';
import type { Target, VcpuRef } from '../../machine/target';
import type { ReadMemory } from '../memory-cache';
import { hex } from '../locations';
import { bytesToNumber, numberToBytes } from '../../base/bytes';
import { setRegister } from '../registers';
import type { Activation } from '../unwind/activation';

// Values with a C type: where they are, what they hold, and how they are changed.

export interface TypedValue {
  readonly type: Type;
  /** Of the object that this is, or is a part of. */
  readonly location: Location;
  /** Bytes from the object's start. */
  readonly offset: number;
  /** Of a bit-field, from the byte at `offset`. */
  readonly bits?: { readonly at: number; readonly width: number };
  /** The frame whose registers the location means. */
  readonly activation?: Activation | undefined;
}

/** How values are fetched and changed at one stop. */
export interface ValueSpace {
  readonly read: ReadMemory;
  readonly target: Target;
  readonly vcpu: VcpuRef;
}

/** A value that cannot be changed, or not to that. */
export class NotWritable extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = 'NotWritable';
  }
}

const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);

export const inMemory = (type: Type, address: bigint): TypedValue => ({
  type,
  location: { kind: 'memory', address: wrap(address) },
  offset: 0,
});
/** One that is nowhere but here. */
export const computed = (type: Type, bytes: Uint8Array): TypedValue => ({
  type,
  location: { kind: 'value', bytes },
  offset: 0,
});

/** Where it is in memory; undefined for what is in a register, or nowhere. */
export function addressOf({ location, offset, bits }: TypedValue): bigint | undefined {
  return location.kind === 'memory' && bits === undefined
    ? wrap(location.address + BigInt(offset))
    : undefined;
}

export const memberOf = (value: TypedValue, member: Member): TypedValue => ({
  type: member.type(),
  location: value.location,
  offset: value.offset + member.offset,
  activation: value.activation,
  ...(member.bits === undefined
    ? {}
    : { bits: { at: member.bits.at - member.offset * 8, width: member.bits.width } }),
});

/** Largest value that is read as a whole. */
const MAX_VALUE = 1 << 16;

async function bytesAt(
  place: Place,
  offset: number,
  length: number,
  { read }: ValueSpace,
  activation: Activation | undefined,
): Promise<Uint8Array> {
  switch (place.kind) {
    case 'memory': {
      const address = wrap(place.address + BigInt(offset));
      const bytes = await read(address, length);
      if (bytes.length < length)
        throw new Unavailable(`${hex(wrap(address + BigInt(bytes.length)))} is not mapped`);
      return bytes;
    }
    case 'register': {
      const found = activation?.registers.get(place.register);
      if (found === undefined)
        throw new Unavailable(
          `it was in ${registerName(place.register) ?? `register ${place.register}`}, which a function that was called did not keep`,
        );
      return numberToBytes(found.value >> BigInt(offset * 8), length);
    }
    case 'value': {
      const bytes = new Uint8Array(length);
      bytes.set(place.bytes.subarray(offset, offset + length));
      return bytes;
    }
    case 'implicit pointer':
      throw new Unavailable('it points to something that was optimized out');
    case 'nowhere':
      throw new Unavailable('optimized out');
  }
}

/** Rejects with Unavailable, which says why it is not to be had. */
export async function bytesOf(value: TypedValue, space: ValueSpace, limit = MAX_VALUE): Promise<Uint8Array> {
  const { location, offset, bits, activation, type } = value;
  const size = bits === undefined ? Math.min(limit, sizeOf(type)) : Math.ceil((bits.at + bits.width) / 8);
  if (location.kind === 'pieces') {
    const needed = piecesFor(location.pieces, (offset + size) * 8);
    const read = await Promise.all(
      needed.map(({ piece, start, length }) => bytesAt(piece.place, start, length, space, activation)),
    );
    return numberToBytes(joinPieces(needed, read) >> BigInt(offset * 8), size);
  }
  return bytesAt(location, offset, size, space, activation);
}

/** Whether arithmetic applies, and how: the type without names, qualifiers and enumerations. */
export function scalarOf(
  type: Type,
): { readonly size: number; readonly signed: boolean; readonly float: boolean } | undefined {
  const it = bare(type);
  if (it.kind === 'base')
    return it.size === 0 ? undefined : { size: it.size, signed: it.signed, float: it.encoding === 'float' };
  if (it.kind === 'enum') return { size: it.size, signed: it.signed, float: false };
  return it.kind === 'pointer' ? { size: it.size, signed: false, float: false } : undefined;
}

export function floatFrom(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length === 4) return view.getFloat32(0, true);
  if (bytes.length === 8) return view.getFloat64(0, true);
  // Extended precision (SDM vol. 1, 4.2.2): shown with what a double can hold of it.
  const exponent = view.getUint16(8, true);
  const fraction = Number(view.getBigUint64(0, true)) / 2 ** 63;
  return (exponent & 0x8000 ? -1 : 1) * fraction * 2 ** ((exponent & 0x7fff) - 16383);
}

export function floatBytes(value: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  if (size === 4) view.setFloat32(0, value, true);
  else if (size === 8) view.setFloat64(0, value, true);
  else throw new NotWritable(`a floating-point number of ${size} bytes cannot be set`);
  return bytes;
}

/** A scalar's number: a bigint, or a number for floating point. */
export async function numberOf(value: TypedValue, space: ValueSpace): Promise<bigint | number> {
  const scalar = scalarOf(value.type);
  if (scalar === undefined) throw new Unavailable('it is not a number');
  const bytes = await bytesOf(value, space);
  if (value.bits === undefined && scalar.float) return floatFrom(bytes);
  const { at = 0, width = scalar.size * 8 } = value.bits ?? {};
  const raw = bytesToNumber(bytes) >> BigInt(at);
  return scalar.signed ? BigInt.asIntN(width, raw) : BigInt.asUintN(width, raw);
}

async function writeBytes(value: TypedValue, bytes: Uint8Array, space: ValueSpace): Promise<void> {
  const { location, offset, activation } = value;
  const { target, vcpu } = space;
  const toMemory = async (address: bigint): Promise<void> => {
    const written = await target.writeMemory({ kind: 'virtual', vcpu }, wrap(address), bytes);
    if (written < bytes.length)
      throw new NotWritable(`${hex(wrap(address + BigInt(written)))} is not mapped, or not the guest's`);
  };
  if (location.kind === 'memory') return toMemory(location.address + BigInt(offset));
  if (location.kind !== 'register') {
    throw new NotWritable(
      location.kind === 'pieces'
        ? 'it is in several pieces, in registers and elsewhere'
        : 'it is nowhere in the machine: the compiler knows its value, and keeps no copy that could be changed',
    );
  }
  const saved = activation?.registers.get(location.register);
  const name = registerName(location.register) ?? `register ${location.register}`;
  if (saved?.at === undefined)
    throw new NotWritable(`it was in ${name}, and where a function that was called saved that is not known`);
  const whole = numberToBytes(saved.value, 8);
  if (typeof saved.at !== 'bigint' && !name.startsWith('r'))
    throw new NotWritable(`it is in ${name}; set the register itself`);
  whole.set(bytes, offset);
  if (typeof saved.at === 'bigint') await toMemory(saved.at + BigInt(offset));
  else await setRegister(target, vcpu, name, bytesToNumber(whole));
  activation?.registers.set(location.register, { ...saved, value: bytesToNumber(whole) });
}

/** Rejects with NotWritable, which says why not. */
export async function store(value: TypedValue, number: bigint | number, space: ValueSpace): Promise<void> {
  const scalar = scalarOf(value.type);
  if (scalar === undefined) {
    const { kind } = bare(value.type);
    throw new NotWritable(
      kind === 'array' || kind === 'struct' || kind === 'union'
        ? `a whole ${kind === 'array' ? 'array' : kind} cannot be set; set its ${kind === 'array' ? 'elements' : 'members'}`
        : 'it has no value that could be set',
    );
  }
  if (scalar.float) return writeBytes(value, floatBytes(Number(number), scalar.size), space);
  const { at, width } = value.bits ?? { at: 0, width: scalar.size * 8 };
  const whole = typeof number === 'number' ? BigInt(Math.trunc(number)) : number;
  // Of a whole number the bits may also be given (0xffffffff for an int); of a bit-field, only what it can hold.
  const lowest = scalar.signed || value.bits === undefined ? -(1n << BigInt(width - 1)) : 0n;
  const highest = 1n << BigInt(scalar.signed && value.bits !== undefined ? width - 1 : width);
  if (whole < lowest || whole >= highest)
    throw new NotWritable(`${hex(whole)} does not fit its ${width} bits`);
  const size = Math.ceil((at + width) / 8);
  if (value.bits === undefined)
    return writeBytes(value, numberToBytes(BigInt.asUintN(width, whole), size), space);
  const mask = ((1n << BigInt(width)) - 1n) << BigInt(at);
  const old = bytesToNumber(await bytesOf(value, space));
  const merged = (old & ~mask) | ((BigInt.asUintN(width, whole) << BigInt(at)) & mask);
  const { bits: _bits, ...bytesOnly } = value;
  return writeBytes(bytesOnly, numberToBytes(merged, size), space);
}
