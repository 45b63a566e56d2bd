import type { Operand, Ops, Width } from './ops';

/**
 * One instruction: its encodings and what it does. Decoder tables, interpreter handlers, the oracle, the
 * differential tests and the reference page derive from these declarations.
 *
 * Encoding grammar (one string per encoding; SDM Vol. 2 opcode notation, shortened):
 *   [prefix…] opcode-bytes [/r | /0…/7] operands [; attributes]
 *   prefix      'np' no mandatory prefix (66/F2/F3 select another row), '66', 'f2', 'f3' mandatory;
 *               nothing: 66 is the operand-size prefix, F2/F3 are ignored or REP
 *   opcode      hex bytes; the last may be '50+' (register in the low three bits with REX.B)
 *   /r /digit   ModRM follows
 *   operands    comma separated, without spaces, in semantics order:
 *     general   r8 rv r16 r32 r64 ry         ModRM.reg   (v: 16/32/64 by 66/REX.W; y: 32/64 by REX.W)
 *               rm8 rmv rm16 rm32 rm64 rmy   ModRM.rm, register or memory
 *               rr32 rr64 rry …              ModRM.rm, register only (mod = 3)
 *               m m8 m16 m32 m64 mv m128 …   ModRM.rm, memory only (m: address only, no access)
 *               o8 ov o64                    register in the opcode ('50+')
 *               al ax_v cl dx one            implied (ax_v: rAX at operand width)
 *               moffs8 moffsv                64-bit absolute address
 *     immediate imm8 (zero-extended)  imm8s (sign-extended to the operand width)  imm16
 *               immz (16, or 32 sign-extended to 64)  immv (16/32/64: MOV B8+)
 *               rel8 relz (branch target: get() is the absolute address)
 *     system    sreg creg dreg               ModRM.reg
 *     vector    x (ModRM.reg xmm)  x32 x64 (its low part)  xx (ModRM.rm, xmm only)
 *               xm16 xm32 xm64 xm128         ModRM.rm: xmm or memory of that size; xm128 memory must be
 *                                            16-byte aligned (#GP) unless attribute 'unaligned'
 *               mm (ModRM.reg)  mmr (rm, register only)  mm64 mm32 (ModRM.rm: mm or memory)
 *     x87       sti (ModRM.rm, mod = 3)  m16 m32 m64 m80 memory
 *   attributes  'd64'  default operand size 64, 66 makes it 16 (push, pop, near branches: also f64)
 *               'f64'  operand size is always 64
 *               'lock' a LOCK prefix is allowed when the destination is memory (else #UD)
 *               'rep'  F3/F2 repeat: the semantics sees `rep`
 *               'unaligned'
 *               'ends' ends a block besides branches (anything that may change the mode, the mapping or
 *                      the time: syscall, popf, mov ss, rdtsc, cpuid, in/out, helpers that exit …)
 *               'branch' sets next: ends a block
 *               'i64'  invalid in 64-bit mode (declared so that it decodes to #UD by name)
 *               'v' 'y'           a form per operand width though no operand says so (MOVS: 'a5 ; rep aw v')
 *               'w8' 'w16' 'w32' 'w64' 'w0' (= no REX.W)  only at this width, which is c.w (CBW: '98 ; w16')
 *               'aw'              a form per address width: needed where the semantics read c.aw ('a32' 'a64': only that one)
 *               'reg' 'mem'       mod = 3 / memory only, with no operand that says it (LFENCE: '0f ae /5 ; reg')
 *               'anymod'          ModRM.mod ignored, register (MOV CRn)    'nob'  only without REX.B (NOP, PAUSE)
 *   A byte after the opcode is a fixed ModRM ('0f 01 d0', 'd9 e8'); 'd8 c0+' = 'd8 /0 sti'.
 *   Example: '81 /0 rmv,immz; lock'
 */
export interface Instruction {
  /** Lower-case, as the disassembler prints it (Intel syntax); conditions etc. expanded by the declaring table. */
  readonly mnemonic: string;
  /** Manual reference, e.g. 'SDM 2A ADD'. */
  readonly doc: string;
  readonly encodings: readonly string[];
  /** Flags whose result is undefined (differential tests mask them); a function of nothing: name the superset. */
  readonly undefinedFlags?: readonly ('cf' | 'pf' | 'af' | 'zf' | 'sf' | 'of')[];
  /** Needs CR0.TS=0 etc.: 'fpu' → #NM if CR0.EM|TS; 'sse' → #UD if !CR4.OSFXSR|CR0.EM, #NM if TS; 'mmx' likewise. Checked by the frame around semantics. */
  readonly unit?: 'fpu' | 'sse' | 'mmx';
  /** #GP(0) unless CPL = 0, 'iopl': unless CPL ≤ IOPL (the check is generated). */
  readonly privileged?: true | 'iopl';
  semantics(o: Ops, c: Context, ...operands: Operand[]): void;
}

/** What the encoding at hand fixes at decode time. */
export interface Context {
  /** Operand width of a `v` form, else the width of the first sized operand. */
  readonly w: Width;
  /** Address width (67 prefix): 32 or 64, in 'aw' forms (string instructions …); elsewhere 64, and the address is masked for you. */
  readonly aw: 32 | 64;
  /** REP prefix of a 'rep' form. */
  readonly rep: 'none' | 'rep' | 'repne';
  /** Segment base value for string sources and moffs (fs/gs override), as a run-time value. */
  segBase(o: Ops): ReturnType<Ops['k']>;
}

/** A table of instructions that differ in one parameter. */
export const each = <T>(rows: readonly T[], make: (row: T) => Instruction): Instruction[] => rows.map(make);
