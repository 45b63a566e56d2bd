import { ByteReader } from '../../base/bytes';
import { ImageError, hex } from '../error';
import { DW_FORM_implicit_const } from './forms';
import type { DwarfSections } from './sections';
import { needSection } from './sections';

// .debug_abbrev (DWARF 5, 7.5.3): what the entries of a unit are made of.

export interface AttributeSpec {
  readonly name: number;
  readonly form: number;
  readonly implicit?: bigint;
}

export interface Abbreviation {
  readonly tag: number;
  readonly children: boolean;
  readonly attributes: readonly AttributeSpec[];
}

export type Abbreviations = ReadonlyMap<number, Abbreviation>;

/** More than any compiler makes; a damaged table must not read to the section's end for every unit. */
const MAX_ABBREVIATIONS = 1 << 16;
/** Bytes read at a time; a table that is longer is read again with more. */
const FIRST_READ = 4 * 2 ** 10;

function parse(reader: ByteReader, wanted?: number): Map<number, Abbreviation> {
  const table = new Map<number, Abbreviation>();
  for (let count = 0; ; count++) {
    const code = reader.ulebNumber();
    if (code === 0) return table;
    if (count >= MAX_ABBREVIATIONS)
      throw new ImageError(
        reader.view.thing,
        `offset ${hex(reader.offset)}`,
        `has more than ${MAX_ABBREVIATIONS} abbreviations in one table`,
      );
    const tag = reader.ulebNumber();
    const children = reader.u8() !== 0;
    const attributes: AttributeSpec[] = [];
    for (;;) {
      const name = reader.ulebNumber();
      const form = reader.ulebNumber();
      const implicit = form === DW_FORM_implicit_const ? reader.sleb() : undefined;
      if (name === 0 && form === 0) break;
      attributes.push({ name, form, ...(implicit === undefined ? {} : { implicit }) });
    }
    if (!table.has(code)) table.set(code, { tag, children, attributes });
    if (code === wanted) return table;
  }
}

/**
 * @param wanted the one that is enough; by default, all
 * @throws ImageError
 */
export function readAbbreviations(sections: DwarfSections, at: number, wanted?: number): Abbreviations {
  const section = needSection(sections, '.debug_abbrev');
  for (let length = FIRST_READ; ; length *= 8) {
    const view = section.from(at, length);
    try {
      return parse(new ByteReader(view), wanted);
    } catch (error) {
      if (!(error instanceof ImageError) || view.size < length) throw error;
    }
  }
}
