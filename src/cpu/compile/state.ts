import type { Node } from '../ir/nodes';
import type { Recorder } from '../ir/recorder';
import { FIELD, FLAG_SLOTS, GPR, type FieldName } from '../state';
import type { ValType } from '../wasm/opcodes';

/** What a region keeps in locals: registers, flags, and how many instructions are left to the limit. */
export type Tracked = FieldName | 'left';

const XMM = Array.from({ length: 16 }, (_, n) => `xmm${n}` as FieldName);
export const TRACKED: readonly Tracked[] = [...GPR, ...FLAG_SLOTS, ...XMM, 'left'];
const INDEX = new Map<string, number>(TRACKED.map((f, i) => [f, i]));
/** Its place in a RegionState; undefined: not tracked. */
export const trackedIndex = (f: Tracked): number | undefined => INDEX.get(f);

/** Fields that nothing a region contains can change: read once, at its entry. */
const FIXED = new Set<string>(['fs_base', 'gs_base', 'cr0', 'cr4', 'cpl', 'mxcsr', 'tlb']);
export const isFixed = (f: FieldName): boolean => FIXED.has(f);

/** The values of what is tracked; undefined: still in its local, as the last edge left it. */
export type RegionState = (Node | undefined)[];

export const typeOf = (f: Tracked): ValType =>
  f === 'left' ? 'i64' : f === 'tlb' ? 'i32' : FIELD[f].size === 16 ? 'v128' : 'i64';

/** Parameters of a region's function: vCPU and record. */
const PARAMETERS = 2;

/**
 * The WebAssembly locals of a region's function that live across its blocks. They are given out as they are asked for;
 * within a tree of blocks that nothing else jumps into they do not change, so reading one is a pure node.
 */
export class RegionLocals {
  readonly types: ValType[] = [];
  readonly fields = new Map<Tracked | 'tlb', number>();
  /** Set by some edge or departure: written back at the end. */
  readonly written = new Set<Tracked>();
  readonly exitRip = this.make('i64');
  readonly exitLink = this.make('i32');
  readonly exitCode = this.make('i32');
  /** Of the instructions up to the limit, those that are not in `left`. */
  readonly kept = this.make('i64');
  /** How the flags that are owed are made (flags.ts), and of what. */
  readonly recipe = this.make('i32');
  private readonly ingredients: number[] = [];

  private make(type: ValType): number {
    this.types.push(type);
    return PARAMETERS + this.types.length - 1;
  }

  of(field: Tracked | 'tlb'): number {
    let at = this.fields.get(field);
    if (at === undefined) this.fields.set(field, (at = this.make(typeOf(field))));
    return at;
  }

  ingredient(n: number): number {
    return (this.ingredients[n] ??= this.make('i64'));
  }

  read(r: Recorder, field: Tracked | 'tlb'): Node {
    return r.param(typeOf(field), this.of(field));
  }
}
