import type { ByteView } from '../../base/bytes';
import { ByteReader } from '../../base/bytes';
import { ImageError, hex } from '../error';
import type { FormContext } from './forms';
import { address, offsetNumber } from './forms';
import type { DwarfSectionName } from './sections';
import { needSection } from './sections';

// Range lists and location lists: .debug_rnglists and .debug_loclists (DWARF 5, 7.25 and 7.29), .debug_ranges and
// .debug_loc (DWARF 4, 2.17.3 and 2.6.2). A location list is a range list with an expression to each range.

export interface Range {
  readonly low: bigint;
  /** Exclusive. */
  readonly high: bigint;
}

export interface ListEntry extends Range {
  /** Of a location list. */
  readonly expression?: ByteView;
}

/** What the lists of a unit depend on. */
export interface ListContext extends FormContext {
  /** What addresses of offset pairs count from, until the list says otherwise. */
  readonly base: bigint;
  /** An address of .debug_addr. */
  indexed(index: number): bigint;
}

type Kind = 'ranges' | 'locations';

/** What an entry of version 5 has behind its kind, in both sections; the numbers differ. */
type Shape =
  | 'end'
  | 'basex'
  | 'startx end'
  | 'startx length'
  | 'pair'
  | 'default'
  | 'base'
  | 'start end'
  | 'start length'
  | 'view';
const shapes: Readonly<Record<Kind, readonly Shape[]>> = {
  ranges: ['end', 'basex', 'startx end', 'startx length', 'pair', 'base', 'start end', 'start length'],
  locations: [
    'end', 'basex', 'startx end', 'startx length', 'pair', 'default', 'base', 'start end', 'start length',
    // DW_LLE_GNU_view_pair: says at which of several equal addresses the range begins; nothing here asks.
    'view',
  ], // prettier-ignore
};
const sectionsOf: Readonly<Record<Kind, { readonly old: DwarfSectionName; readonly new: DwarfSectionName }>> =
  {
    ranges: { old: '.debug_ranges', new: '.debug_rnglists' },
    locations: { old: '.debug_loc', new: '.debug_loclists' },
  };

const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);
const EVERYWHERE: Range = { low: 0n, high: (1n << 64n) - 1n };
/** Longest list that is believed, in bytes. */
const MAX_LIST = 4 * 2 ** 20;
const FIRST_READ = 1024;

/** Reads with more and more of the section until the list's end is inside. */
function growing<T>(
  name: DwarfSectionName,
  at: number,
  context: FormContext,
  read: (reader: ByteReader) => T,
): T {
  const section = needSection(context.sections, name);
  for (let length = FIRST_READ; ; length *= 16) {
    const view = section.from(at, length);
    try {
      return read(new ByteReader(view));
    } catch (error) {
      if (!(error instanceof ImageError) || view.size < length || length >= MAX_LIST) throw error;
    }
  }
}

function readNew(kind: Kind, reader: ByteReader, context: ListContext): ListEntry[] {
  const entries: ListEntry[] = [];
  let { base } = context;
  const byShape: Readonly<Record<Exclude<Shape, 'end'>, () => Range | undefined>> = {
    basex: () => {
      base = context.indexed(reader.ulebNumber());
      return undefined;
    },
    'startx end': () => ({
      low: context.indexed(reader.ulebNumber()),
      high: context.indexed(reader.ulebNumber()),
    }),
    'startx length': () => length(context.indexed(reader.ulebNumber())),
    pair: () => ({ low: wrap(base + reader.uleb()), high: wrap(base + reader.uleb()) }),
    default: () => EVERYWHERE,
    base: () => {
      base = address(reader, context);
      return undefined;
    },
    'start end': () => ({ low: address(reader, context), high: address(reader, context) }),
    'start length': () => length(address(reader, context)),
    view: () => {
      reader.uleb();
      reader.uleb();
      return undefined;
    },
  };
  const length = (low: bigint): Range => ({ low, high: wrap(low + reader.uleb()) });
  for (;;) {
    const code = reader.u8();
    const shape = shapes[kind][code];
    if (shape === 'end') return entries;
    if (shape === undefined)
      throw new ImageError(
        reader.view.thing,
        `offset ${hex(reader.offset - 1)}`,
        `list entry kind ${code} is not known`,
      );
    const range = byShape[shape]();
    if (range === undefined) continue;
    entries.push(kind === 'ranges' ? range : { ...range, expression: block(reader, reader.ulebNumber()) });
  }
}

function block(reader: ByteReader, size: number): ByteView {
  const at = reader.offset;
  reader.skip(size);
  return reader.view.view(at, size, reader.view.thing);
}

function readOld(kind: Kind, reader: ByteReader, context: ListContext): ListEntry[] {
  const entries: ListEntry[] = [];
  const largest = context.addressSize === 8 ? (1n << 64n) - 1n : 0xffffffffn;
  let { base } = context;
  for (;;) {
    const low = address(reader, context);
    const high = address(reader, context);
    if (low === 0n && high === 0n) return entries;
    if (low === largest) {
      base = high;
      continue;
    }
    const range = { low: wrap(base + low), high: wrap(base + high) };
    entries.push(kind === 'ranges' ? range : { ...range, expression: block(reader, reader.u16()) });
  }
}

/** The list at an offset of the section that the unit's version has. @throws ImageError */
export const readList = (kind: Kind, at: number, context: ListContext): ListEntry[] =>
  context.version >= 5
    ? growing(sectionsOf[kind].new, at, context, (reader) => readNew(kind, reader, context))
    : growing(sectionsOf[kind].old, at, context, (reader) => readOld(kind, reader, context));

/** Offset of the list with an index, by the table of offsets that begins at the unit's base (7.28). */
export function listOffset(kind: Kind, base: number, index: number, context: ListContext): number {
  const section = needSection(context.sections, sectionsOf[kind].new);
  const reader = new ByteReader(section.view(base + index * context.offsetSize, context.offsetSize));
  return base + offsetNumber(reader, context);
}
