import type { ByteReader } from '../../base/bytes';
import { ImageError, hex } from '../error';
import type { DwarfSectionName, DwarfSections } from './sections';

// Attribute forms (DWARF 5, 7.5.6 and table 7.6; GNU's additions as GCC emits them).

/** What reading an attribute depends on. */
export interface FormContext {
  readonly sections: DwarfSections;
  readonly version: number;
  /** 4 in the 32-bit DWARF format, 8 in the 64-bit one. */
  readonly offsetSize: 4 | 8;
  readonly addressSize: number;
}

/** Numbers of every width are bigints; references and blocks that nobody reads yet are undefined. */
export type FormValue = bigint | string | undefined;

export const offset = (reader: ByteReader, { offsetSize }: Pick<FormContext, 'offsetSize'>): bigint =>
  offsetSize === 8 ? reader.u64() : BigInt(reader.u32());

export function stringAt(sections: DwarfSections, name: DwarfSectionName, at: bigint): string {
  const view = sections.get(name);
  if (view === undefined)
    throw new ImageError(sections.elf.name, name, 'is missing, and strings in it are referred to');
  if (at >= BigInt(view.size))
    throw new ImageError(view.thing, `offset ${hex(at)}`, `lies beyond its ${view.size} bytes`);
  return view.cString(Number(at));
}

type Read = (reader: ByteReader, context: FormContext) => FormValue;

const skip =
  (length: (reader: ByteReader, context: FormContext) => number): Read =>
  (reader, context) => {
    reader.skip(length(reader, context));
    return undefined;
  };
const address: Read = (reader, { addressSize }) => (addressSize === 8 ? reader.u64() : BigInt(reader.u32()));
const u24 = (reader: ByteReader): bigint => BigInt(reader.u16() | (reader.u8() << 16));

const forms: Readonly<Record<number, Read>> = {
  0x01: address, // addr
  0x03: skip((reader) => reader.u16()), // block2
  0x04: skip((reader) => reader.u32()), // block4
  0x05: (reader) => BigInt(reader.u16()), // data2
  0x06: (reader) => BigInt(reader.u32()), // data4
  0x07: (reader) => reader.u64(), // data8
  0x08: (reader) => reader.cString(), // string
  0x09: skip((reader) => reader.ulebNumber()), // block
  0x0a: skip((reader) => reader.u8()), // block1
  0x0b: (reader) => BigInt(reader.u8()), // data1
  0x0c: (reader) => BigInt(reader.u8()), // flag
  0x0d: (reader) => reader.sleb(), // sdata
  0x0e: (reader, context) => stringAt(context.sections, '.debug_str', offset(reader, context)), // strp
  0x0f: (reader) => reader.uleb(), // udata
  0x10: (reader, context) => (context.version < 3 ? address(reader, context) : offset(reader, context)), // ref_addr
  0x11: skip(() => 1), // ref1
  0x12: skip(() => 2), // ref2
  0x13: skip(() => 4), // ref4
  0x14: skip(() => 8), // ref8
  0x15: (reader) => reader.uleb(), // ref_udata
  0x17: offset, // sec_offset
  0x18: skip((reader) => reader.ulebNumber()), // exprloc
  0x19: () => 1n, // flag_present
  0x1a: (reader) => reader.uleb(), // strx
  0x1b: (reader) => reader.uleb(), // addrx
  0x1c: skip(() => 4), // ref_sup4
  0x1d: offset, // strp_sup
  0x1e: skip(() => 16), // data16
  0x1f: (reader, context) => stringAt(context.sections, '.debug_line_str', offset(reader, context)), // line_strp
  0x20: skip(() => 8), // ref_sig8
  0x22: (reader) => reader.uleb(), // loclistx
  0x23: (reader) => reader.uleb(), // rnglistx
  0x24: skip(() => 8), // ref_sup8
  0x25: (reader) => BigInt(reader.u8()), // strx1
  0x26: (reader) => BigInt(reader.u16()), // strx2
  0x27: (reader) => u24(reader), // strx3
  0x28: (reader) => BigInt(reader.u32()), // strx4
  0x29: (reader) => BigInt(reader.u8()), // addrx1
  0x2a: (reader) => BigInt(reader.u16()), // addrx2
  0x2b: (reader) => u24(reader), // addrx3
  0x2c: (reader) => BigInt(reader.u32()), // addrx4
  0x1f20: offset, // GNU_ref_alt
  0x1f21: offset, // GNU_strp_alt
};

const DW_FORM_indirect = 0x16;
const DW_FORM_implicit_const = 0x21;

/** @param implicit the constant that an abbreviation holds for DW_FORM_implicit_const */
export function readForm(
  form: number,
  reader: ByteReader,
  context: FormContext,
  implicit?: bigint,
): FormValue {
  if (form === DW_FORM_implicit_const) return implicit;
  const actual = form === DW_FORM_indirect ? reader.ulebNumber() : form;
  const read = forms[actual];
  if (read === undefined)
    throw new ImageError(
      reader.view.thing,
      `offset ${hex(reader.offset)}`,
      `attribute form ${hex(actual)} is not known`,
    );
  return read(reader, context);
}
