/**
 * Layouts as data. A `Type` knows its size and alignment (System V AMD64 ABI §3.1.2), reads and writes itself in
 * a DataView at a byte offset, and decodes a value to a tree for people. A structure is declared once; offsets,
 * accessors, decoding and the comparison with the C headers are derived from that.
 */
import { lowHalf } from '../base/words';
import { hex } from './decoded';
import type { DecodeContext, DecodedValue } from './decoded';

export interface Type<T> {
  readonly name: string;
  readonly size: number;
  readonly align: number;
  read(view: DataView, at: number): T;
  write(view: DataView, at: number, value: T): void;
  decode(name: string, value: T, context: DecodeContext): DecodedValue;
}

/** A type that also travels in a register, zero-extended to 64 bits. */
export interface Scalar<T> extends Type<T> {
  fromRegister(bits: bigint): T;
}

export type ValueOf<T> = T extends Type<infer V> ? V : never;
export type Fields = Readonly<Record<string, Type<unknown>>>;
export type Values<F extends Fields> = { -readonly [K in keyof F]: ValueOf<F[K]> };

type Text<T> = (value: T, context: DecodeContext) => string;

const FROM_REGISTER: Readonly<Record<`${'i' | 'u'}${1 | 2 | 4}`, (bits: bigint) => number>> = {
  u1: (bits) => lowHalf(bits) & 0xff,
  u2: (bits) => lowHalf(bits) & 0xffff,
  u4: lowHalf,
  i1: (bits) => (lowHalf(bits) << 24) >> 24,
  i2: (bits) => (lowHalf(bits) << 16) >> 16,
  i4: (bits) => lowHalf(bits) | 0,
};

function number32(
  name: string,
  size: 1 | 2 | 4,
  signed: boolean,
  text: Text<number> = (v) => String(v),
): Scalar<number> {
  const read = {
    1: signed
      ? (v: DataView, at: number): number => v.getInt8(at)
      : (v: DataView, at: number): number => v.getUint8(at),
    2: signed
      ? (v: DataView, at: number): number => v.getInt16(at, true)
      : (v: DataView, at: number): number => v.getUint16(at, true),
    4: signed
      ? (v: DataView, at: number): number => v.getInt32(at, true)
      : (v: DataView, at: number): number => v.getUint32(at, true),
  }[size];
  const write = {
    1: (v: DataView, at: number, x: number): void => v.setUint8(at, x),
    2: (v: DataView, at: number, x: number): void => v.setUint16(at, x, true),
    4: (v: DataView, at: number, x: number): void => v.setUint32(at, x, true),
  }[size];
  return {
    name,
    size,
    align: size,
    read,
    write,
    fromRegister: FROM_REGISTER[`${signed ? 'i' : 'u'}${size}`],
    decode: (label, value, context) => ({
      name: label,
      type: name,
      text: text(value, context),
      value: BigInt(value),
    }),
  };
}

function number64(name: string, text: Text<bigint>, memory?: 'virtual' | 'machine'): Scalar<bigint> {
  return {
    name,
    size: 8,
    align: 8,
    read: (view, at) => view.getBigUint64(at, true),
    write: (view, at, value) => view.setBigUint64(at, value, true),
    fromRegister: (bits) => bits,
    decode: (label, value, context) => ({
      name: label,
      type: name,
      text: text(value, context),
      value,
      ...(memory !== undefined && value !== 0n ? { memory: { space: memory, address: value } } : {}),
    }),
  };
}

export const u8 = number32('uint8_t', 1, false);
export const u16 = number32('uint16_t', 2, false);
export const u32 = number32('uint32_t', 4, false);
export const i8 = number32('int8_t', 1, true);
export const i16 = number32('int16_t', 2, true);
export const i32 = number32('int32_t', 4, true);
export const u64 = number64('uint64_t', (v) => String(v));
/** `unsigned long` and xen_ulong_t. */
export const ulong = number64('unsigned long', hex);
export const hex32 = number32('uint32_t', 4, false, hex);
export const hex64 = number64('uint64_t', hex);
/** xen_pfn_t where it names a machine frame. */
export const mfnType = number64('mfn', hex);
/** xen_pfn_t where it names a pseudo-physical frame. */
export const pfnType = number64('pfn', hex);
/** A machine address in bytes. */
export const maddr = number64('maddr', hex, 'machine');
/** A guest-virtual address that is a plain number in the ABI. */
export const vaddr = number64('vaddr', hex, 'virtual');
export const port = number32('evtchn_port_t', 4, false);
export const gref = number32('grant_ref_t', 4, false);

export type Names = Readonly<Record<string, number>>;

const nameOf = (names: Names, value: number): string | undefined =>
  Object.entries(names).find(([, n]) => n === value)?.[0];

/** A number whose values have names; others are shown as they are. */
export const enumOf = (type: Scalar<number>, names: Names, name = type.name): Scalar<number> => ({
  ...type,
  name,
  decode: (label, value) => ({
    name: label,
    type: name,
    text: nameOf(names, value) ?? String(value),
    value: BigInt(value),
  }),
});

/** A set of named bits. */
export const flagsOf = (type: Scalar<number>, bits: Names, name = type.name): Scalar<number> => ({
  ...type,
  name,
  decode: (label, value) => ({
    name: label,
    type: name,
    text: flagText(bits, value),
    value: BigInt(value),
  }),
});

function flagText(bits: Names, value: number): string {
  let rest = value;
  const parts: string[] = [];
  for (const [name, bit] of Object.entries(bits)) {
    if (bit !== 0 && (value & bit) >>> 0 === bit >>> 0) {
      parts.push(name);
      rest = (rest & ~bit) >>> 0;
    }
  }
  if (rest !== 0 || parts.length === 0) parts.push(hex(rest));
  return parts.join(' | ');
}

/** Domain identifiers of xen.h that mean something special. */
const reservedDomains: Names = {
  DOMID_SELF: 0x7ff0,
  DOMID_IO: 0x7ff1,
  DOMID_XEN: 0x7ff2,
  DOMID_COW: 0x7ff3,
  DOMID_INVALID: 0x7ff4,
  DOMID_IDLE: 0x7fff,
};
export const domid = enumOf(u16, reservedDomains, 'domid_t');
/** mmu_update's foreigndom: a domid_t, and above it one for the page table's owner or 0 (xen.h). */
export const domidPair = enumOf(u32, reservedDomains, 'unsigned int');

/** How many elements of an array a decoded tree shows. */
const SHOWN_ELEMENTS = 32;

/** A guest-virtual pointer to one `target`; decoding follows it when memory is at hand. */
export function pointer(target?: Type<unknown>): Scalar<bigint> {
  return arrayPointer(target, () => 1);
}

/** A pointer to as many `target`s as the argument or field `count` says. */
export function arrayOf(target: Type<unknown>, count: string): Scalar<bigint> {
  return arrayPointer(target, (context) => {
    const n = context.siblings?.[count];
    return typeof n === 'number' || typeof n === 'bigint' ? Number(n) : 0;
  });
}

function arrayPointer(
  target: Type<unknown> | undefined,
  lengthOf: (context: DecodeContext) => number,
): Scalar<bigint> {
  const name = target === undefined ? 'void *' : `${target.name} *`;
  const base = number64(name, hex, 'virtual');
  return {
    ...base,
    decode: (label, value, context) => {
      const self = base.decode(label, value, context);
      if (target === undefined || value === 0n || context.memory === undefined) return self;
      const length = lengthOf(context);
      const children: DecodedValue[] = [];
      for (let i = 0; i < Math.min(length, SHOWN_ELEMENTS); i++) {
        const bytes = context.memory(BigInt.asUintN(64, value + BigInt(i * target.size)), target.size);
        if (bytes === undefined) break;
        const item = target.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0);
        children.push(target.decode(length === 1 ? `*${label}` : `[${i}]`, item, { memory: context.memory }));
      }
      const [only] = children;
      if (length === 1 && only?.children !== undefined) return { ...self, children: only.children };
      return children.length > 0 ? { ...self, children } : self;
    },
  };
}

/** An optional pointer looks the same; the name says that NULL is allowed. */
export const optional = (type: Scalar<bigint>): Scalar<bigint> => type;

/** A fixed array inside a structure. */
export function array<T>(item: Type<T>, length: number): Type<T[]> {
  const name = `${item.name}[${length}]`;
  return {
    name,
    size: item.size * length,
    align: item.align,
    read: (view, at) => Array.from({ length }, (_, i) => item.read(view, at + i * item.size)),
    write: (view, at, value) => {
      for (let i = 0; i < length; i++) {
        const v = value[i];
        if (v !== undefined) item.write(view, at + i * item.size, v);
      }
    },
    decode: (label, value, context) => ({
      name: label,
      type: name,
      text: `${length} × ${item.name}`,
      children: value.slice(0, SHOWN_ELEMENTS).map((v, i) => item.decode(`[${i}]`, v, context)),
    }),
  };
}

/** Raw bytes inside a structure (also padding). */
export function bytes(length: number): Type<Uint8Array> {
  return {
    name: `uint8_t[${length}]`,
    size: length,
    align: 1,
    read: (view, at) => new Uint8Array(view.buffer, view.byteOffset + at, length).slice(),
    write: (view, at, value) => {
      new Uint8Array(view.buffer, view.byteOffset + at, length).set(value.subarray(0, length));
    },
    decode: (label, value) => ({
      name: label,
      type: `uint8_t[${length}]`,
      text: [...value.subarray(0, 16)].map((b) => b.toString(16).padStart(2, '0')).join(' '),
    }),
  };
}

/** NUL-padded text, one Latin-1 character a byte. */
export function chars(length: number): Type<string> {
  return {
    name: `char[${length}]`,
    size: length,
    align: 1,
    read: (view, at) => {
      let text = '';
      for (let i = 0; i < length; i++) {
        const c = view.getUint8(at + i);
        if (c === 0) break;
        text += String.fromCharCode(c);
      }
      return text;
    },
    write: (view, at, value) => {
      for (let i = 0; i < length; i++) view.setUint8(at + i, i < value.length ? value.charCodeAt(i) : 0);
    },
    decode: (label, value) => ({ name: label, type: `char[${length}]`, text: JSON.stringify(value) }),
  };
}

export interface Struct<F extends Fields> extends Type<Values<F>> {
  readonly fields: F;
  /** Byte offset of each field. */
  readonly offset: { readonly [K in keyof F]: number };
  /** A value with every number zero. */
  zero(): Values<F>;
}

const roundUp = (value: number, align: number): number => Math.ceil(value / align) * align;

/** Makes the reader of a record: what hypercalls take and give passes through it. */
function recordReader<F extends Fields>(
  fields: F,
  offsets: Readonly<Record<string, number>>,
): (view: DataView, base: number) => Values<F> {
  const keys = Object.keys(fields);
  const types = Object.values(fields);
  const places = keys.map((key) => offsets[key] ?? 0);
  // Copying an object that has all keys keeps one shape for all of them.
  const empty: Readonly<Record<string, unknown>> = Object.fromEntries(keys.map((key) => [key, undefined]));
  return (view, base) => {
    const values = { ...empty };
    for (let i = 0; i < keys.length; i++)
      values[keys[i] ?? ''] = types[i]?.read(view, base + (places[i] ?? 0));
    // The one place where a record is filled key by key; the mapped type says what comes out.
    return values as Values<F>;
  };
}

function composite<F extends Fields>(
  name: string,
  fields: F,
  offsets: Readonly<Record<string, number>>,
  size: number,
  align: number,
  shown: (
    values: Readonly<Record<string, unknown>>,
    siblings: Readonly<Record<string, unknown>>,
  ) => readonly string[],
): Struct<F> {
  const entries = Object.entries(fields);
  const at = (key: string): number => offsets[key] ?? 0;
  const read = recordReader(fields, offsets);
  return {
    name,
    size,
    align,
    fields,
    offset: offsets as { readonly [K in keyof F]: number },
    read,
    write: (view, base, value) => {
      for (const [key, type] of entries) type.write(view, base + at(key), value[key]);
    },
    zero: () => read(new DataView(new ArrayBuffer(size)), 0),
    decode: (label, value, context) => {
      const visible = shown(value, context.siblings ?? {});
      const inner: DecodeContext = {
        ...(context.memory === undefined ? {} : { memory: context.memory }),
        siblings: value,
      };
      const children = entries
        .filter(([key]) => visible.includes(key))
        .map(([key, type]) => type.decode(key, value[key], inner));
      const said = children.filter((c) => c.text !== '');
      const text = said.map((c) => `${c.name}=${c.text}`).join(' ');
      return { name: label, type: name, text: text.length > 160 ? `${text.slice(0, 157)}…` : text, children };
    },
  };
}

/** A C structure: fields in order, each aligned, the whole rounded up. Names with a leading `_` are padding. */
export function struct<F extends Fields>(name: string, fields: F): Struct<F> {
  const offsets: Record<string, number> = {};
  let end = 0;
  let align = 1;
  for (const [key, type] of Object.entries(fields)) {
    const start = roundUp(end, type.align);
    offsets[key] = start;
    end = start + type.size;
    align = Math.max(align, type.align);
  }
  const visible = Object.keys(fields).filter((key) => !key.startsWith('_'));
  return composite(name, fields, offsets, roundUp(end, align), align, () => visible);
}

/**
 * A C union. Writing writes every member in order, so set the one that matters last, or write the member's own
 * type. `pick` names the member to show, given the fields beside the union.
 */
export function union<F extends Fields>(
  name: string,
  fields: F,
  pick?: (siblings: Readonly<Record<string, unknown>>) => (keyof F & string) | undefined,
): Struct<F> {
  const types = Object.values(fields);
  const align = Math.max(1, ...types.map((t) => t.align));
  const size = roundUp(Math.max(0, ...types.map((t) => t.size)), align);
  const offsets = Object.fromEntries(Object.keys(fields).map((key) => [key, 0]));
  const all = Object.keys(fields);
  return composite(name, fields, offsets, size, align, (_, siblings) => {
    const one = pick?.(siblings);
    return pick === undefined ? all : one === undefined ? [] : [one];
  });
}

/** One scalar under another name. */
export const alias = <T>(type: Scalar<T>, name: string): Scalar<T> => ({
  ...type,
  name,
  decode: (label, value, context) => ({ ...type.decode(label, value, context), type: name }),
});
