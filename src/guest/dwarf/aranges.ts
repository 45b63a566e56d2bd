import { ByteReader } from '../../base/bytes';
import { ImageError } from '../error';
import { AT } from './constants';
import type { Dwarf } from './dwarf';
import type { Range } from './lists';
import { offsetNumber } from './forms';
import type { DwarfSections } from './sections';
import type { Unit } from './units';
import { unitExtent } from './units';

// Which unit an address belongs to: .debug_aranges (DWARF 5, 6.1.2) where a unit is in it, and what the unit's own
// entry says where it is not.

export interface UnitIndex {
  unitAt(address: bigint): Unit | undefined;
  /** Units that do not say which code is theirs. */
  readonly placeless: readonly Unit[];
}

interface Row extends Range {
  readonly unit: Unit;
}

/** Ranges of one set by the offset of its unit. */
function readAranges(sections: DwarfSections, add: (unit: number, range: Range) => void): void {
  const section = sections.get('.debug_aranges');
  if (section === undefined) return;
  for (let at = 0; at < section.size;) {
    const { offsetSize, start, end } = unitExtent(section, at);
    const reader = new ByteReader(section.view(at, end - at), start - at);
    at = end;
    if (reader.u16() !== 2) continue;
    const unit = offsetNumber(reader, { offsetSize });
    const addressSize = reader.u8();
    if (addressSize !== 8 || reader.u8() !== 0) continue;
    // The first tuple begins at a multiple of a tuple's size, from the set's start.
    reader.offset = Math.ceil(reader.offset / 16) * 16;
    while (reader.end - reader.offset >= 16) {
      const low = reader.u64();
      const length = reader.u64();
      if (low === 0n && length === 0n) break;
      if (length > 0n) add(unit, { low, high: low + length });
    }
  }
}

/** @param problem is told what cannot be read; the rest is served */
export function unitIndex(dwarf: Dwarf, problem: (text: string) => void): UnitIndex {
  const rows: Row[] = [];
  const placed = new Set<Unit>();
  const placeless: Unit[] = [];
  const byOffset = new Map(dwarf.units.map((unit) => [unit.header.offset, unit]));
  const guarded = (work: () => void): void => {
    try {
      work();
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      problem(error.message);
    }
  };
  guarded(() =>
    readAranges(dwarf.sections, (offset, range) => {
      const unit = byOffset.get(offset);
      if (unit === undefined) return;
      placed.add(unit);
      rows.push({ ...range, unit });
    }),
  );
  for (const unit of dwarf.units) {
    if (placed.has(unit)) continue;
    guarded(() => {
      const ranges = dwarf.ranges(unit.root);
      for (const range of ranges) rows.push({ ...range, unit });
      if (ranges.length === 0 && unit.root.attributes.has(AT.stmt_list)) placeless.push(unit);
    });
  }
  rows.sort((a, b) => (a.low < b.low ? -1 : a.low > b.low ? 1 : 0));
  const lows = BigUint64Array.from(rows, ({ low }) => low);
  return {
    placeless,
    unitAt: (address) => {
      let low = 0;
      let high = lows.length;
      while (low < high) {
        const middle = (low + high) >>> 1;
        if ((lows[middle] ?? 0n) <= address) low = middle + 1;
        else high = middle;
      }
      // Ranges of dropped functions overlap at low addresses; those of code that is there do not.
      for (let at = low - 1; at >= 0 && at >= low - 8; at--) {
        const row = rows[at];
        if (row !== undefined && address < row.high) return row.unit;
      }
      return undefined;
    },
  };
}
