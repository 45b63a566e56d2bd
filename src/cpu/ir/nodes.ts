import type { ValType } from '../wasm/opcodes';
import type { FieldName } from '../state';
import type { FpBinary, FpFmt, Seg } from '../ops';

/**
 * The intermediate representation. Values are nodes of a DAG; whatever has an effect, or whose value depends
 * on when it is read, is a statement in order. The state of the vCPU is named by field (`get`, `put`) and guest
 * memory, faults and helpers are named acts, until a lowering (wasm/lower.ts, compile/lower.ts) decides where registers live and what an access costs.
 */
export interface Node {
  /** Tells nodes of one recording apart. */
  readonly id: number;
  /** A pure WebAssembly operation, or one of 'const', 'local', 'param'. */
  readonly op: string;
  readonly type: ValType;
  readonly args: readonly Node[];
  /** Constant value; lane(s); offset of a pure load; index of a param. */
  readonly imm: bigint | number | readonly number[] | undefined;
  /** The value is below 2^bits (i32, i64). */
  readonly bits: number;
  /** Loop nesting where it was made: using it deeper inside does not recompute it. */
  readonly depth: number;
  /** Set by the emitter. */
  uses: number;
  slot: number;
  /** The use is inside a loop that does not contain the definition. */
  crossesLoop: boolean;
  /** Some cold departure wants it: what it is made of stays at hand. */
  cold: boolean;
}

/** A mutable local. */
export interface Local {
  readonly type: ValType;
  slot: number;
}

/** What a special statement does; the lowering has one entry for each. */
export type Special =
  | { readonly op: 'guestLoad'; readonly width: number; readonly seg: Seg | undefined; readonly write: boolean; readonly host: Local | undefined }
  | { readonly op: 'guestStore'; readonly width: number; readonly seg: Seg | undefined; readonly host: Local | undefined }
  | { readonly op: 'guestProbe'; readonly width: number; readonly seg: Seg | undefined }
  | { readonly op: 'raise'; readonly vector: number }
  | { readonly op: 'exit'; readonly reason: number }
  | { readonly op: 'bulk'; readonly name: 'bulk_move' | 'bulk_fill' | 'move_all' | 'fill_all'; readonly shift: number }
  | { readonly op: 'helper'; readonly name: string }
  | { readonly op: 'fp'; readonly name: FpOp; readonly sticky: boolean }
  | { readonly op: 'fpCheck' }
  | { readonly op: 'call'; readonly name: string; readonly faults: boolean }; // prettier-ignore

export type FpOp =
  | `${FpBinary | 'sqrt'}${FpFmt}`
  | `compare${FpFmt}`
  | `${'comi' | 'ucomi'}${FpFmt}`
  | `toInt${FpFmt}_${32 | 64}${'' | '_truncate'}`
  | `fromInt${32 | 64}_${FpFmt}`
  | `convert${FpFmt}_${FpFmt}`;

export type Statement =
  /** A read whose value depends on the moment: a state field, or raw memory. */
  | { readonly kind: 'let'; readonly result: Node; readonly read: Read }
  /** The place where a pure node was made; it is computed here when it has several uses. */
  | { readonly kind: 'define'; readonly node: Node }
  | { readonly kind: 'read'; readonly local: Local; readonly result: Node }
  | { readonly kind: 'assign'; readonly local: Local; readonly value: Node }
  | { readonly kind: 'put'; readonly field: FieldName; readonly value: Node }
  /** Raw store: op names the WebAssembly store, args [address, value]. */
  | { readonly kind: 'store'; readonly op: string; readonly offset: number; readonly address: Node; readonly value: Node }
  | { readonly kind: 'special'; readonly act: Special; readonly args: readonly Node[]; readonly result: Node | undefined; readonly placing?: Placing }
  | { readonly kind: 'if'; readonly condition: Node; readonly then: Block; readonly otherwise: Block }
  /** Goes by `table[index]` to one of the cases, none of which is left at its end; `index` is less than the table's length. */
  | { readonly kind: 'switch'; readonly index: Node; readonly table: readonly number[]; readonly cases: readonly Block[] }
  | { readonly kind: 'loop'; readonly head: Block; readonly condition: Node; readonly body: Block; readonly label: LoopLabel }
  | { readonly kind: 'jump'; readonly label: LoopLabel; readonly where: 'break' | 'continue' }
  | { readonly kind: 'return'; readonly values: readonly Node[] }
  /** A jump to `label`, 'break', goes behind it. */
  | { readonly kind: 'block'; readonly body: Block; readonly label: LoopLabel }
  /** A departure that is hardly ever taken: its values are computed there, from what is at hand, and nowhere else. */
  | { readonly kind: 'leave'; readonly condition: Node | undefined; readonly to: Departure }
  | { readonly kind: 'edge'; readonly to: Departure }
  /** The value is put into a local here, whoever uses it. */
  | { readonly kind: 'keep'; readonly node: Node }; // prettier-ignore

/** Where a special statement of a region is: what it leaves to when it fails, and a loop around it. */
export interface Placing {
  readonly bail: Departure;
  /** Whatever the lowering knows loops by. */
  readonly loop?: object | undefined;
}

/** Locals that are set, all at once, before a jump. */
export interface Departure {
  readonly sets: readonly { readonly local: number; readonly value: Node }[];
  readonly label: LoopLabel;
  readonly where: 'break' | 'continue';
}

export type Read =
  | { readonly op: 'get'; readonly field: FieldName }
  | { readonly op: 'load'; readonly name: string; readonly offset: number; readonly address: Node };

export interface LoopLabel {
  depth: { outer: number; inner: number } | undefined;
}
export type Block = Statement[];
