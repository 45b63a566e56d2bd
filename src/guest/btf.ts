import { latin1 } from '../base/bytes';
import type { ElfHeaders } from './elf';
import { findSection, sectionData } from './elf';
import { ImageError, hex, imageView } from './error';

// BTF, the description of its types that a Linux kernel carries for BPF even where it is stripped of all else
// (Documentation/bpf/btf.rst; include/uapi/linux/btf.h): as much as is needed to find members of structures.

export interface BtfMember {
  /** Bytes from the structure's start. */
  readonly offset: number;
  /** Bytes; 0 for what has no size, such as a flexible array. */
  readonly size: number;
}

export interface Btf {
  /**
   * A member by its path: `core_layout.base`, `mem[0].base`. Members of nameless structures belong to the one around
   * them. Undefined where there is no such structure or member.
   */
  member(struct: string, path: string): BtfMember | undefined;
  /** Bytes of a structure. */
  sizeOf(struct: string): number | undefined;
}

const MAGIC = 0xeb9f;
const KIND = { INT: 1, PTR: 2, ARRAY: 3, STRUCT: 4, UNION: 5, ENUM: 6, FWD: 7, TYPEDEF: 8, VOLATILE: 9, CONST: 10, RESTRICT: 11, FUNC: 12, FUNC_PROTO: 13, VAR: 14, DATASEC: 15, FLOAT: 16, DECL_TAG: 17, TYPE_TAG: 18, ENUM64: 19 } as const; // prettier-ignore
const HEADER = 24;
const TYPE = 12;
const POINTER = 8;

/** Bytes after a type's own twelve. */
const extra: Readonly<Record<number, (vlen: number) => number>> = {
  [KIND.INT]: () => 4,
  [KIND.ARRAY]: () => 12,
  [KIND.STRUCT]: (vlen) => 12 * vlen,
  [KIND.UNION]: (vlen) => 12 * vlen,
  [KIND.ENUM]: (vlen) => 8 * vlen,
  [KIND.FUNC_PROTO]: (vlen) => 8 * vlen,
  [KIND.VAR]: () => 4,
  [KIND.DATASEC]: (vlen) => 12 * vlen,
  [KIND.DECL_TAG]: () => 4,
  [KIND.ENUM64]: (vlen) => 12 * vlen,
};
const THROUGH: ReadonlySet<number> = new Set([
  KIND.TYPEDEF,
  KIND.VOLATILE,
  KIND.CONST,
  KIND.RESTRICT,
  KIND.TYPE_TAG,
]);
/** Longer chains of typedefs, and deeper structures, are circles. */
const MAX_DEPTH = 32;

/**
 * What a kernel image carries; undefined where it carries none.
 * @throws ImageError for a section that lies
 */
export function readBtf(elf: ElfHeaders): Btf | undefined {
  const section = findSection(elf, '.BTF');
  if (section === undefined) return undefined;
  const whole = sectionData(elf, section);
  // A copy: the image around it is dozens of MiB, and would be kept for it.
  const view = imageView(whole.bytes.slice(), whole.thing);
  if (view.u16(0) !== MAGIC)
    throw new ImageError(view.thing, 'magic', `${hex(view.u16(0))} is not ${hex(MAGIC)}`);
  const header = view.u32(4);
  const types = header + view.u32(8);
  const typesEnd = types + view.u32(12);
  const strings = header + view.u32(16);
  const stringsEnd = strings + view.u32(20);
  if (header < HEADER) throw new ImageError(view.thing, 'hdr_len', `${header} bytes are too few`);
  view.check(types, typesEnd - types);
  view.check(strings, stringsEnd - strings);

  let index: { readonly at: readonly number[]; readonly structs: ReadonlyMap<string, number> } | undefined;
  const text = (offset: number): string => {
    const end = view.bytes.indexOf(0, strings + offset);
    return latin1(view.bytes.subarray(strings + offset, Math.min(end < 0 ? stringsEnd : end, stringsEnd)));
  };
  const infoAt = (at: number): { kind: number; vlen: number; flag: boolean } => {
    const info = view.u32(at + 4);
    return { kind: (info >>> 24) & 0x1f, vlen: info & 0xffff, flag: info >>> 31 === 1 };
  };
  /** Where each type is, by its number, and the structures by their names. */
  const indexed = (): NonNullable<typeof index> => {
    if (index !== undefined) return index;
    const at = [0];
    const structs = new Map<string, number>();
    for (let place = types; place + TYPE <= typesEnd;) {
      const { kind, vlen } = infoAt(place);
      if (kind === 0 || kind > KIND.ENUM64)
        throw new ImageError(view.thing, `type ${at.length}`, `kind ${kind} is not known`);
      if (kind === KIND.STRUCT || kind === KIND.UNION) {
        const name = text(view.u32(place));
        if (name !== '' && !structs.has(name)) structs.set(name, at.length);
      }
      at.push(place);
      place += TYPE + (extra[kind]?.(vlen) ?? 0);
    }
    return (index = { at, structs });
  };
  const placeOf = (type: number): number | undefined => (type === 0 ? undefined : indexed().at[type]);
  /** Past typedefs and qualifiers. */
  const bare = (type: number, depth = 0): number | undefined => {
    const place = placeOf(type);
    if (place === undefined || depth > MAX_DEPTH) return undefined;
    return THROUGH.has(infoAt(place).kind) ? bare(view.u32(place + 8), depth + 1) : place;
  };
  const sizeAt = (type: number, depth = 0): number | undefined => {
    const place = bare(type);
    if (place === undefined || depth > MAX_DEPTH) return undefined;
    const { kind } = infoAt(place);
    if (kind === KIND.PTR) return POINTER;
    if (kind !== KIND.ARRAY)
      return kind === KIND.FWD || kind === KIND.FUNC_PROTO ? undefined : view.u32(place + 8);
    const element = sizeAt(view.u32(place + TYPE), depth + 1);
    return element === undefined ? undefined : element * view.u32(place + TYPE + 8);
  };

  interface Found {
    readonly offset: number;
    readonly type: number;
  }
  const find = (place: number, name: string, depth = 0): Found | undefined => {
    const { kind, vlen, flag } = infoAt(place);
    if ((kind !== KIND.STRUCT && kind !== KIND.UNION) || depth > MAX_DEPTH) return undefined;
    for (let i = 0; i < vlen; i++) {
      const at = place + TYPE + 12 * i;
      const type = view.u32(at + 4);
      const bits = flag ? view.u32(at + 8) & 0xff_ffff : view.u32(at + 8);
      const own = text(view.u32(at));
      if (own === name) return { offset: bits >>> 3, type };
      if (own !== '') continue;
      const inner = bare(type);
      const below = inner === undefined ? undefined : find(inner, name, depth + 1);
      if (below !== undefined) return { offset: (bits >>> 3) + below.offset, type: below.type };
    }
    return undefined;
  };

  return {
    sizeOf: (struct) => {
      const type = indexed().structs.get(struct);
      return type === undefined ? undefined : sizeAt(type);
    },
    member: (struct, path) => {
      let type = indexed().structs.get(struct);
      let offset = 0;
      for (const [part, name] of path.matchAll(/([A-Za-z_]\w*)|\[(\d+)\]/g)) {
        const place = type === undefined ? undefined : bare(type);
        if (place === undefined) return undefined;
        if (name === undefined) {
          if (infoAt(place).kind !== KIND.ARRAY) return undefined;
          type = view.u32(place + TYPE);
          offset += Number(part.slice(1, -1)) * (sizeAt(type) ?? 0);
          continue;
        }
        const found = find(place, name);
        if (found === undefined) return undefined;
        ({ type } = found);
        offset += found.offset;
      }
      return type === undefined ? undefined : { offset, size: sizeAt(type) ?? 0 };
    },
  };
}
