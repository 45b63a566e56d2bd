import { evaluateNumber } from '../../guest/dwarf';
import type { FrameRow, RegisterRule } from '../../guest/dwarf';
import { Unavailable } from '../../guest/dwarf';
import type { OrcTable } from '../../guest/orc';
import type { Activation, SavedRegister } from './activation';
import { REGISTER, expressionHost } from './activation';
import type { ReadMemory } from '../memory-cache';
import { word } from './search';

// The caller by unwind tables: DWARF's frame information, and Linux's ORC.

export interface TableCaller {
  readonly address: bigint;
  readonly registers: ReadonlyMap<number, SavedRegister>;
  /** The caller was interrupted, and made no call. */
  readonly interrupted: boolean;
  readonly found: 'unwind table' | 'ORC';
}
/** `end`: the table says that nobody called. */
export type TableResult = TableCaller | 'end' | undefined;

/** Registers that a function gives back as it found them (AMD64 psABI, figure 3.4): rbx, rbp, r12 to r15. */
const PRESERVED = [3, 6, 12, 13, 14, 15];
const context = { offsetSize: 4, addressSize: 8 } as const;
const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);

/** Where the frame begins, by its row. Undefined where that needs a register that is not known. */
export async function cfaOf(row: FrameRow, activation: Activation): Promise<bigint | undefined> {
  const { cfa } = row;
  if (cfa.kind === 'register') {
    const base = activation.registers.get(cfa.register);
    return base === undefined ? undefined : wrap(base.value + cfa.offset);
  }
  try {
    return await evaluateNumber(cfa.expression, context, expressionHost(activation));
  } catch (error) {
    if (error instanceof Unavailable) return undefined;
    throw error;
  }
}

export async function callerByRow(row: FrameRow, activation: Activation): Promise<TableResult> {
  const { registers, read, debug, cfa } = activation;
  if (cfa === undefined || debug === undefined) return undefined;
  const returnRule = row.rules.get(row.returnAddress);
  if (returnRule?.kind === 'undefined') return 'end';

  const saved = async (address: bigint): Promise<SavedRegister | undefined> => {
    const value = await word(read, wrap(address));
    return value === undefined ? undefined : { value, at: wrap(address) };
  };
  const apply = async (number: number, rule: RegisterRule): Promise<SavedRegister | undefined> => {
    switch (rule.kind) {
      case 'undefined':
        return undefined;
      case 'same':
        return registers.get(number);
      case 'offset':
        return saved(cfa + rule.offset);
      case 'value offset':
        return { value: wrap(cfa + rule.offset), at: undefined };
      case 'register':
        return registers.get(rule.register);
      case 'expression':
      case 'value expression': {
        const value = await evaluateNumber(rule.expression, context, expressionHost(activation), cfa);
        return rule.kind === 'expression' ? saved(value) : { value, at: undefined };
      }
    }
  };

  const callers = new Map<number, SavedRegister>();
  // What nothing is said about: an interrupted frame has all its registers, a caller those that calls preserve. The
  // others it has only if the compiler knew that the callee leaves them alone (GCC, -fipa-ra): then, and only then,
  // does it name them as places of variables across the call.
  for (const [number, value] of registers) {
    const kept = row.signal || PRESERVED.includes(number);
    callers.set(number, kept ? value : { ...value, assumed: true });
  }
  callers.set(REGISTER.rsp, { value: cfa, at: undefined });
  for (const [number, rule] of row.rules) {
    try {
      const value = await apply(number, rule);
      if (value === undefined) callers.delete(number);
      else callers.set(number, value);
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error;
      callers.delete(number);
    }
  }
  const back = callers.get(row.returnAddress);
  if (returnRule === undefined || back === undefined) return undefined;
  callers.set(REGISTER.rip, back);
  return { address: back.value, registers: callers, interrupted: row.signal, found: 'unwind table' };
}

/** struct pt_regs (arch/x86/include/asm/ptrace.h): DWARF's numbers of its words; orig_ax, cs, flags and ss are none. */
const PT_REGS: readonly (number | undefined)[] = [
  15,
  14,
  13,
  12,
  6,
  3,
  11,
  10,
  9,
  8,
  0,
  2,
  1,
  4,
  5,
  undefined,
  16,
  undefined,
  undefined,
  7,
  undefined,
];
/** From here on it is the frame that IRET takes. */
const IRET_FRAME = 16;

async function registersAt(
  read: ReadMemory,
  at: bigint,
  from: number,
): Promise<Map<number, SavedRegister> | undefined> {
  const found = new Map<number, SavedRegister>();
  for (const [index, number] of PT_REGS.entries()) {
    if (index < from || number === undefined) continue;
    const address = wrap(at + BigInt((index - from) * 8));
    const value = await word(read, address);
    if (value === undefined) return undefined;
    found.set(number, { value, at: address });
  }
  return found;
}

/** As the kernel's own unwinder does it (arch/x86/kernel/unwind_orc.c, unwind_next_frame). */
export async function callerByOrc(orc: OrcTable, activation: Activation): Promise<TableResult> {
  const { registers, read, pc } = activation;
  const entry = orc.at(pc);
  if (entry === undefined || entry.type === 'undefined') return undefined;
  if (entry.type === 'end' || entry.sp === 'undefined') return 'end';
  const value = (number: number): bigint | undefined => registers.get(number)?.value;
  const plus = (base: bigint | undefined, offset: bigint): bigint | undefined =>
    base === undefined ? undefined : wrap(base + offset);
  const { spOffset, bpOffset } = entry;
  const indirect = async (at: bigint | undefined): Promise<bigint | undefined> =>
    at === undefined ? undefined : word(read, at);
  const previous: Readonly<Record<typeof entry.sp, () => Promise<bigint | undefined> | bigint | undefined>> =
    {
      'prev sp': () => undefined,
      sp: () => plus(value(REGISTER.rsp), spOffset),
      bp: () => plus(value(REGISTER.rbp), spOffset),
      'sp indirect': async () => plus(await indirect(value(REGISTER.rsp)), spOffset),
      'bp indirect': () => indirect(plus(value(REGISTER.rbp), spOffset)),
      r10: () => value(REGISTER.r10),
      r13: () => value(REGISTER.r13),
      di: () => value(REGISTER.rdi),
      dx: () => value(REGISTER.rdx),
    };
  const sp = await previous[entry.sp]();
  if (sp === undefined) return undefined;
  activation.cfa ??= sp;

  if (entry.type === 'regs' || entry.type === 'partial regs') {
    const found = await registersAt(read, sp, entry.type === 'regs' ? 0 : IRET_FRAME);
    if (found === undefined) return undefined;
    // An IRET frame says nothing of the others: nobody has touched them yet.
    const all = new Map([...(entry.type === 'regs' ? [] : registers), ...found]);
    const address = all.get(REGISTER.rip)?.value;
    return address === undefined ? undefined : { address, registers: all, interrupted: true, found: 'ORC' };
  }
  const address = await word(read, sp - 8n);
  if (address === undefined) return undefined;
  const callers = new Map<number, SavedRegister>([
    [REGISTER.rsp, { value: sp, at: undefined }],
    [REGISTER.rip, { value: address, at: sp - 8n }],
  ]);
  const base =
    entry.bp === 'prev sp'
      ? sp + bpOffset
      : entry.bp === 'bp'
        ? plus(value(REGISTER.rbp), bpOffset)
        : undefined;
  const savedBase = base === undefined ? undefined : await word(read, wrap(base));
  const own = registers.get(REGISTER.rbp);
  if (base !== undefined && savedBase !== undefined)
    callers.set(REGISTER.rbp, { value: savedBase, at: wrap(base) });
  else if (entry.bp === 'undefined' && own !== undefined) callers.set(REGISTER.rbp, own);
  return { address, registers: callers, interrupted: false, found: 'ORC' };
}
