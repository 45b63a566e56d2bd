import { ByteReader } from '../../base/bytes';
import { ImageError, hex } from '../error';
import type { FormContext, FormValue } from './forms';
import { offset, readForm } from './forms';
import type { DwarfSections } from './sections';

/** What the root entry of a unit in .debug_info says about the unit (DWARF 5, 3.1.1). */
export interface CompileUnit {
  readonly name: string;
  /** Where the compiler ran; empty when it is not said. */
  readonly directory: string;
  /** Offset of its line program in .debug_line. */
  readonly lines?: bigint;
}

const DW_AT_name = 0x03;
const DW_AT_stmt_list = 0x10;
const DW_AT_comp_dir = 0x1b;
const DW_FORM_implicit_const = 0x21;

/** Unit types of DWARF 5 (7.5.1) whose header has more than the common part: bytes to skip. */
const moreHeader: Readonly<Record<number, number>> = { 0x04: 8, 0x05: 8 };
/** Type units (split and not) have no lines of their own that matter here. */
const typeUnits = [0x02, 0x06];

export interface Extent {
  readonly reader: ByteReader;
  readonly offsetSize: 4 | 8;
  /** Just after the unit. */
  readonly end: number;
}

/** A unit's initial length (7.2.2). */
export function unitExtent(reader: ByteReader): Extent {
  const at = reader.offset;
  const first = reader.u32();
  const long = first === 0xffffffff;
  const length = long ? reader.u64() : BigInt(first);
  const room = BigInt(reader.view.size - reader.offset);
  if ((!long && first >= 0xfffffff0) || length > room) {
    throw new ImageError(
      reader.view.thing,
      `unit at offset ${hex(at)}`,
      `a length of ${length} bytes does not fit in the ${room} that follow`,
    );
  }
  const end = reader.offset + Number(length);
  return { reader: new ByteReader(reader.view, reader.offset, end), offsetSize: long ? 8 : 4, end };
}

function rootEntry(
  sections: DwarfSections,
  abbreviations: bigint,
  reader: ByteReader,
  context: FormContext,
): CompileUnit | undefined {
  const code = reader.uleb();
  const table = sections.get('.debug_abbrev');
  if (code === 0n || table === undefined || abbreviations > BigInt(table.size)) return undefined;
  const abbreviation = new ByteReader(table, Number(abbreviations));
  for (;;) {
    const found = abbreviation.uleb();
    if (found === 0n) return undefined;
    abbreviation.uleb();
    abbreviation.u8();
    const wanted = found === code;
    const values = new Map<number, FormValue>();
    for (;;) {
      const attribute = abbreviation.ulebNumber();
      const form = abbreviation.ulebNumber();
      const implicit = form === DW_FORM_implicit_const ? abbreviation.sleb() : undefined;
      if (attribute === 0 && form === 0) break;
      if (wanted) values.set(attribute, readForm(form, reader, context, implicit));
    }
    if (!wanted) continue;
    const text = (attribute: number): string => {
      const value = values.get(attribute);
      return typeof value === 'string' ? value : '';
    };
    const lines = values.get(DW_AT_stmt_list);
    return {
      name: text(DW_AT_name),
      directory: text(DW_AT_comp_dir),
      ...(typeof lines === 'bigint' ? { lines } : {}),
    };
  }
}

/** @throws ImageError */
function readUnit(sections: DwarfSections, { reader, offsetSize }: Extent): CompileUnit | undefined {
  const version = reader.u16();
  if (version < 2 || version > 5)
    throw new ImageError(
      reader.view.thing,
      `offset ${hex(reader.offset - 2)}`,
      `DWARF version ${version} is not known`,
    );
  if (version < 5) {
    const abbreviations = offset(reader, { offsetSize });
    return rootEntry(sections, abbreviations, reader, {
      sections,
      version,
      offsetSize,
      addressSize: reader.u8(),
    });
  }
  const type = reader.u8();
  const addressSize = reader.u8();
  const abbreviations = offset(reader, { offsetSize });
  if (typeUnits.includes(type)) return undefined;
  reader.skip(moreHeader[type] ?? 0);
  return rootEntry(sections, abbreviations, reader, { sections, version, offsetSize, addressSize });
}

/** Every unit of .debug_info that can be read; what cannot is told to `problem`, and passed over. */
export function compileUnits(sections: DwarfSections, problem: (text: string) => void): CompileUnit[] {
  const units: CompileUnit[] = [];
  const guarded = <T>(work: () => T): T | undefined => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      problem(error.message);
      return undefined;
    }
  };
  const info = guarded(() => sections.get('.debug_info'));
  if (info === undefined) return units;
  for (let reader = new ByteReader(info); !reader.done;) {
    const extent = guarded(() => unitExtent(reader));
    if (extent === undefined) break;
    const unit = guarded(() => readUnit(sections, extent));
    if (unit !== undefined) units.push(unit);
    reader = new ByteReader(info, extent.end);
  }
  return units;
}
