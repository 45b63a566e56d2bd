/**
 * The vCPU state, declared once. Everything that needs to know where a register lives derives it from
 * this table: generated WebAssembly (offsets), TypeScript views, snapshot keys, the debugger's register
 * names. The state of one vCPU occupies STATE_SIZE bytes of the machine's linear memory, 16-byte aligned.
 *
 * Flags are kept *lazily by value*: each slot is an i64 from which one flag follows, so that an ALU
 * instruction stores what it has at hand and dead flags cost nothing in the compiling tier:
 *   cf: 0 or 1                      pf: PF = even parity of the low byte
 *   af: AF = bit 4                  zf: ZF = (slot == 0)
 *   sf: SF = bit 63                 of: OF = bit 63
 * `rflags` holds the others (TF IF DF IOPL NT RF AC ID, bit 1 set; status bits zero). Two states are
 * equal when they are equal after canonicalisation (see CANONICAL_FLAGS); hashes and snapshots use it.
 */
export type FieldType = 'i64' | 'i32' | 'v128' | 'f80';

interface FieldSpec {
  readonly name: string;
  readonly type: FieldType;
  /** Saved in snapshots and compared between tiers (false: run-loop plumbing). */
  readonly architectural: boolean;
}

const SIZE: Readonly<Record<FieldType, number>> = { i64: 8, i32: 4, v128: 16, f80: 16 };

const arch = (type: FieldType, ...names: readonly string[]): FieldSpec[] =>
  names.map((name) => ({ name, type, architectural: true }));
const plumbing = (type: FieldType, ...names: readonly string[]): FieldSpec[] =>
  names.map((name) => ({ name, type, architectural: false }));

export const GPR = [
  'rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi',
  'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15',
] as const; // prettier-ignore
export const FLAG_SLOTS = ['cf', 'pf', 'af', 'zf', 'sf', 'of'] as const;
export const SREG = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const;

const range = (prefix: string, n: number): string[] => Array.from({ length: n }, (_, i) => `${prefix}${i}`);

/** Order matters only for alignment: 16-byte fields first, then i64, then i32. */
const FIELDS: readonly FieldSpec[] = [
  ...arch('v128', ...range('xmm', 16)),
  /** x87 registers by *physical* number R0–R7: 64-bit mantissa (= mmN), then sign and exponent in 16 bits. */
  ...arch('f80', ...range('fpr', 8)),
  /** Bounce buffer of accesses that cross pages, leave memory or are watched. */
  ...plumbing('v128', 'scratch0', 'scratch1'),
  ...arch('i64', ...GPR),
  /** Address of the current instruction; during a block it is exact at every handler call. */
  ...arch('i64', 'rip'),
  /** Address of the next instruction, set before a handler runs; branches overwrite it. RIP-relative base. */
  ...plumbing('i64', 'next'),
  /** Always zero: the "no base / no index / no segment base" register of decoded memory operands. */
  ...plumbing('i64', 'zero'),
  ...arch('i64', 'fs_base', 'gs_base'),
  ...arch('i64', ...FLAG_SLOTS, 'rflags'),
  ...arch('i64', 'cr0', 'cr2', 'cr3', 'cr4', 'cr8', 'efer', 'xcr0'),
  ...arch('i64', 'dr0', 'dr1', 'dr2', 'dr3', 'dr6', 'dr7'),
  ...arch('i64', 'gdt_base', 'ldt_base', 'fip', 'fdp', 'tsc_aux'),
  /** Retired instructions of this vCPU, exact whenever control is outside a block. */
  ...arch('i64', 'icount'),
  /** run() returns when icount reaches it. */
  ...plumbing('i64', 'ilimit'),
  /** Pending exception or exit (see exits.ts), valid when a handler or run() returned non-zero. */
  ...plumbing('i64', 'exit_info', 'exit_address'),
  /** RDTSC is icount plus this, while tsc_known is not 0; else it is asked for (Hooks.tsc). */
  ...plumbing('i64', 'tsc_base'),
  ...arch('i32', ...SREG, 'ldt', 'gdt_limit', 'ldt_limit', 'cpl'),
  /** ftw is the abridged tag word of FXSAVE: bit n is set when physical register Rn is not empty. */
  ...arch('i32', 'mxcsr', 'fcw', 'fsw', 'ftw', 'fop'),
  ...plumbing('i32', 'exit_reason', 'exit_vector', 'exit_error'),
  /** Linear-memory address of the active soft TLB (one per address space mode, see paging.ts). */
  ...plumbing('i32', 'tlb'),
  /** Set while an instruction breakpoint at `rip` is to be stepped over. */
  ...plumbing('i32', 'skip_break'),
  /** This vCPU's number, for helpers. */
  ...plumbing('i32', 'index'),
  /** What slow paths and helpers ask of the handler that called them: RC bits of wasm/abi.ts. */
  ...plumbing('i32', 'pending'),
  /** SSE exception flags gathered by the instruction at hand and not yet settled into MXCSR. */
  ...plumbing('i32', 'fp_flags'),
  /** Names the code that links between blocks were made under; with another number they do not hold. */
  ...plumbing('i32', 'generation'),
  /** The link record of a block whose successor was not linked. */
  ...plumbing('i32', 'link_from'),
  /** The record whose handler left the block other than by its end. */
  ...plumbing('i32', 'record'),
  /** RECORD.flags of the instruction that calls a helper. */
  ...plumbing('i32', 'record_flags'),
  /** Written by other threads: leave with EXIT.KICK at the next block boundary. */
  ...plumbing('i32', 'kick'),
  ...plumbing('i32', 'tsc_known'),
];

export interface Field {
  readonly name: string;
  readonly type: FieldType;
  readonly offset: number;
  readonly size: number;
  readonly architectural: boolean;
}

export type FieldName =
  | (typeof GPR)[number]
  | (typeof FLAG_SLOTS)[number]
  | (typeof SREG)[number]
  | `xmm${0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12 | 13 | 14 | 15}`
  | `fpr${0 | 1 | 2 | 3 | 4 | 5 | 6 | 7}`
  | 'rip' | 'next' | 'zero' | 'fs_base' | 'gs_base' | 'rflags'
  | 'cr0' | 'cr2' | 'cr3' | 'cr4' | 'cr8' | 'efer' | 'xcr0'
  | 'dr0' | 'dr1' | 'dr2' | 'dr3' | 'dr6' | 'dr7'
  | 'gdt_base' | 'ldt_base' | 'fip' | 'fdp' | 'tsc_aux'
  | 'icount' | 'ilimit' | 'exit_info' | 'exit_address' | 'tsc_base' | 'tsc_known'
  | 'ldt' | 'gdt_limit' | 'ldt_limit' | 'cpl'
  | 'mxcsr' | 'fcw' | 'fsw' | 'ftw' | 'fop'
  | 'exit_reason' | 'exit_vector' | 'exit_error' | 'tlb' | 'skip_break' | 'index'
  | 'pending' | 'fp_flags' | 'generation' | 'link_from' | 'record' | 'record_flags' | 'kick' | 'scratch0' | 'scratch1'; // prettier-ignore

function lay(specs: readonly FieldSpec[]): { fields: Field[]; size: number } {
  let offset = 0;
  const fields = specs.map((s) => {
    const size = SIZE[s.type];
    offset = (offset + size - 1) & -size;
    const f: Field = { ...s, offset, size };
    offset += size;
    return f;
  });
  return { fields, size: (offset + 63) & -64 };
}

const laid = lay(FIELDS);
export const STATE_FIELDS: readonly Field[] = laid.fields;
/** Bytes of one vCPU's state. */
export const STATE_SIZE = laid.size;

export const FIELD = Object.fromEntries(STATE_FIELDS.map((f) => [f.name, f])) as Readonly<
  Record<FieldName, Field>
>;
/** Byte offset of a field from the start of the vCPU state. */
export const offsetOf = (name: FieldName): number => FIELD[name].offset;
/** Index of an eight-byte field among the state's 64-bit words (Vcpu.words); the name of another throws. */
export const wordOf = (name: FieldName): number => {
  const { offset, size } = FIELD[name];
  if (size !== 8) throw new RangeError(`${name} has ${size} bytes`);
  return offset >> 3;
};
/** Index of a field, or of its low half, among the state's 32-bit words (Vcpu.halves). */
export const halfOf = (name: FieldName): number => offsetOf(name) >> 2;

/** RFLAGS bits, SDM Vol. 1 §3.4.3. */
export const RFLAGS = {
  CF: 1n << 0n, PF: 1n << 2n, AF: 1n << 4n, ZF: 1n << 6n, SF: 1n << 7n, TF: 1n << 8n, IF: 1n << 9n,
  DF: 1n << 10n, OF: 1n << 11n, IOPL: 3n << 12n, NT: 1n << 14n, RF: 1n << 16n, VM: 1n << 17n, AC: 1n << 18n,
  VIF: 1n << 19n, VIP: 1n << 20n, ID: 1n << 21n, RESERVED1: 1n << 1n,
} as const; // prettier-ignore
export const STATUS_FLAGS = RFLAGS.CF | RFLAGS.PF | RFLAGS.AF | RFLAGS.ZF | RFLAGS.SF | RFLAGS.OF;
