import type { ByteReader, ByteView } from '../../base/bytes';
import { ImageError, hex } from '../error';
import type { DwarfSectionName, DwarfSections } from './sections';
import { needSection } from './sections';

// Attribute forms (DWARF 5, 7.5.6 and table 7.6; GNU's additions as GCC emits them).

/** What reading an attribute depends on. */
export interface FormContext {
  readonly sections: DwarfSections;
  readonly version: number;
  /** 4 in the 32-bit DWARF format, 8 in the 64-bit one. */
  readonly offsetSize: 4 | 8;
  readonly addressSize: number;
}

/** What the value of a form means. Offsets of strings, lists and entries stay offsets until somebody wants them. */
export type FormClass =
  | 'address'
  | 'addrx'
  | 'block'
  | 'constant'
  | 'signed'
  | 'flag'
  | 'reference'
  | 'unit reference'
  | 'signature'
  | 'string'
  | 'strp'
  | 'line_strp'
  | 'strx'
  | 'offset'
  | 'loclistx'
  | 'rnglistx'
  | 'supplementary';

/** Numbers that may need 64 bits are bigints. */
export type FormValue = bigint | number | string | ByteView;

interface Form {
  readonly class: FormClass;
  read(reader: ByteReader, context: FormContext): FormValue;
  /** Moves past it; without, by reading. */
  skip?(reader: ByteReader, context: FormContext): void;
}

export const offset = (reader: ByteReader, { offsetSize }: Pick<FormContext, 'offsetSize'>): bigint =>
  offsetSize === 8 ? reader.u64() : BigInt(reader.u32());
/** As `offset`, for what lies in a file: no file is larger than a number can count. */
export const offsetNumber = (reader: ByteReader, context: Pick<FormContext, 'offsetSize'>): number =>
  context.offsetSize === 8 ? Number(reader.u64()) : reader.u32();

export const address = (reader: ByteReader, { addressSize }: Pick<FormContext, 'addressSize'>): bigint =>
  addressSize === 8 ? reader.u64() : BigInt(reader.u32());

/** @throws ImageError for a string that is not there */
export function stringAt(sections: DwarfSections, name: DwarfSectionName, at: number): string {
  return needSection(sections, name).cString(at);
}

const u24 = (reader: ByteReader): number => reader.u16() | (reader.u8() << 16);
const skipBytes =
  (count: number): NonNullable<Form['skip']> =>
  (reader) =>
    reader.skip(count);
const skipLeb: NonNullable<Form['skip']> = (reader) => {
  while ((reader.u8() & 0x80) !== 0);
};
const skipOffset: NonNullable<Form['skip']> = (reader, { offsetSize }) => reader.skip(offsetSize);

const fixed = (formClass: FormClass, bytes: number, read: (reader: ByteReader) => FormValue): Form => ({
  class: formClass,
  read,
  skip: skipBytes(bytes),
});
const leb = (formClass: FormClass, read: (reader: ByteReader) => FormValue): Form => ({
  class: formClass,
  read,
  skip: skipLeb,
});
const inSection = (formClass: FormClass): Form => ({
  class: formClass,
  read: offsetNumber,
  skip: skipOffset,
});
const block = (length: (reader: ByteReader) => number): Form => ({
  class: 'block',
  read: (reader) => {
    const size = length(reader);
    const at = reader.offset;
    reader.skip(size);
    return reader.view.view(at, size, reader.view.thing);
  },
  skip: (reader) => reader.skip(length(reader)),
});
const u8 = (reader: ByteReader): number => reader.u8();
const u16 = (reader: ByteReader): number => reader.u16();
const u32 = (reader: ByteReader): number => reader.u32();
const u64 = (reader: ByteReader): bigint => reader.u64();
const ulebNumber = (reader: ByteReader): number => reader.ulebNumber();

const forms: Readonly<Record<number, Form>> = {
  0x01: { class: 'address', read: address, skip: (reader, { addressSize }) => reader.skip(addressSize) }, // addr
  0x03: block(u16), // block2
  0x04: block(u32), // block4
  0x05: fixed('constant', 2, u16), // data2
  0x06: fixed('constant', 4, u32), // data4
  0x07: fixed('constant', 8, u64), // data8
  0x08: {
    class: 'string',
    read: (reader) => reader.cString(),
    skip: (reader) => {
      while (reader.u8() !== 0);
    },
  }, // string
  0x09: block(ulebNumber), // block
  0x0a: block(u8), // block1
  0x0b: fixed('constant', 1, u8), // data1
  0x0c: fixed('flag', 1, u8), // flag
  0x0d: leb('signed', (reader) => reader.sleb()), // sdata
  0x0e: inSection('strp'), // strp
  0x0f: leb('constant', (reader) => reader.uleb()), // udata
  0x10: {
    class: 'reference',
    // DWARF 2 gave it the size of an address.
    read: (reader, context) =>
      context.version < 3 ? Number(address(reader, context)) : offsetNumber(reader, context),
  }, // ref_addr
  0x11: fixed('unit reference', 1, u8), // ref1
  0x12: fixed('unit reference', 2, u16), // ref2
  0x13: fixed('unit reference', 4, u32), // ref4
  0x14: fixed('unit reference', 8, (reader) => Number(reader.u64())), // ref8
  0x15: leb('unit reference', ulebNumber), // ref_udata
  0x17: inSection('offset'), // sec_offset
  0x18: block(ulebNumber), // exprloc
  0x19: { class: 'flag', read: () => 1, skip: () => undefined }, // flag_present
  0x1a: leb('strx', ulebNumber), // strx
  0x1b: leb('addrx', ulebNumber), // addrx
  0x1c: fixed('supplementary', 4, u32), // ref_sup4
  0x1d: inSection('supplementary'), // strp_sup
  0x1e: block(() => 16), // data16
  0x1f: inSection('line_strp'), // line_strp
  0x20: fixed('signature', 8, u64), // ref_sig8
  0x22: leb('loclistx', ulebNumber), // loclistx
  0x23: leb('rnglistx', ulebNumber), // rnglistx
  0x24: fixed('supplementary', 8, u64), // ref_sup8
  0x25: fixed('strx', 1, u8), // strx1
  0x26: fixed('strx', 2, u16), // strx2
  0x27: fixed('strx', 3, u24), // strx3
  0x28: fixed('strx', 4, u32), // strx4
  0x29: fixed('addrx', 1, u8), // addrx1
  0x2a: fixed('addrx', 2, u16), // addrx2
  0x2b: fixed('addrx', 3, u24), // addrx3
  0x2c: fixed('addrx', 4, u32), // addrx4
  0x1f01: leb('addrx', ulebNumber), // GNU_addr_index
  0x1f02: leb('strx', ulebNumber), // GNU_str_index
  0x1f20: inSection('supplementary'), // GNU_ref_alt
  0x1f21: inSection('supplementary'), // GNU_strp_alt
};

const DW_FORM_indirect = 0x16;
export const DW_FORM_implicit_const = 0x21;

function formOf(form: number, reader: ByteReader): Form {
  const found = forms[form];
  if (found === undefined)
    throw new ImageError(
      reader.view.thing,
      `offset ${hex(reader.offset)}`,
      `attribute form ${hex(form)} is not known`,
    );
  return found;
}

export interface FormResult {
  readonly class: FormClass;
  readonly value: FormValue;
}

/** @param implicit the constant that an abbreviation holds for DW_FORM_implicit_const */
export function readForm(
  form: number,
  reader: ByteReader,
  context: FormContext,
  implicit?: bigint,
): FormResult {
  if (form === DW_FORM_implicit_const) return { class: 'signed', value: implicit ?? 0n };
  const found = formOf(form === DW_FORM_indirect ? reader.ulebNumber() : form, reader);
  return { class: found.class, value: found.read(reader, context) };
}

export function skipForm(form: number, reader: ByteReader, context: FormContext): void {
  if (form === DW_FORM_implicit_const) return;
  const found = formOf(form === DW_FORM_indirect ? reader.ulebNumber() : form, reader);
  if (found.skip === undefined) found.read(reader, context);
  else found.skip(reader, context);
}

/** The text of an attribute where that needs no unit: not for DW_FORM_strx. */
export function plainString(sections: DwarfSections, { class: kind, value }: FormResult): string | undefined {
  if (kind === 'string' && typeof value === 'string') return value;
  if (typeof value !== 'number') return undefined;
  if (kind === 'strp') return stringAt(sections, '.debug_str', value);
  return kind === 'line_strp' ? stringAt(sections, '.debug_line_str', value) : undefined;
}
