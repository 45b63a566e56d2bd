import { decode, newDecoded } from '../../src/cpu/decode';
import { evaluateOne } from '../../src/cpu/evaluate/index';
import { EXIT, type Exit } from '../../src/cpu/exits';
import { type FieldName, GPR } from '../../src/cpu/state';
import { D, NX, P, U, W, flatMachine } from '../../test/cpu/flat-machine';
import { BACKGROUND, CODE, DATA, FILLER, FX, GS_BASE, PAGE, READ_ONLY, Result, type Test, WINDOW, WRITABLE_PAGES, hashElsewhere } from './protocol'; // prettier-ignore

/** One of our ways to run an instruction, made to look like the oracle. */
export const TIERS = ['evaluate', 'interpret', 'compile'] as const;
export type TierName = (typeof TIERS)[number];
export interface Tier {
  run(test: Test): Result;
}

/** Selectors of a 64-bit Linux process. */
const SELECTORS = { cs: 0x33, ss: 0x2b, ds: 0, es: 0, fs: 0, gs: 0 } as const;
/** Machine addresses of the pages, out of flatMachine's way. */
const CODE_AT = 0x100000;
const DATA_AT = 0x101000;
const XMM = Array.from({ length: 16 }, (_, n) => `xmm${n}` as FieldName);
const FPR = Array.from({ length: 8 }, (_, n) => `fpr${n}` as FieldName);
const NO_ERROR_CODE = 0xffffffffn;
const ACCESSED = 0x20n;

const decoded = newDecoded();
const lengthOf = (code: Uint8Array, at: number): number =>
  Math.max(1, decode(code, at, code.length, decoded));

export function makeTier(name: TierName): Tier {
  // One instruction a region, compiled when it is met.
  const machine = flatMachine(
    {},
    512,
    name === 'compile' ? { tier: 'compile', compile: { heat: 1, batch: 1 } } : {},
  );
  const { cpu, v } = machine;
  const { mem } = cpu;
  // Only what the oracle maps is mapped.
  for (const linear of [0x10000n, 0x20000n, 0x21000n, 0x2f000n]) machine.map(linear, 0n, 0n);
  machine.map(BigInt(CODE), BigInt(CODE_AT), P | W | U | ACCESSED | D);
  for (let i = 0; i < 3; i++) {
    const write = i < WRITABLE_PAGES ? W : 0n;
    machine.map(BigInt(DATA + i * PAGE), BigInt(DATA_AT + i * PAGE), P | write | U | NX | ACCESSED | D);
  }
  v.flushTlb();
  for (const [field, selector] of Object.entries(SELECTORS)) v.setInt(field as FieldName, selector);
  v.set('gs_base', BigInt(GS_BASE));
  const page = (machineAddress: number, size: number): Uint8Array =>
    mem.bytes.subarray(mem.framesBase + machineAddress, mem.framesBase + machineAddress + size);
  const code = page(CODE_AT, PAGE);
  const data = page(DATA_AT, WRITABLE_PAGES * PAGE);
  page(DATA_AT + WRITABLE_PAGES * PAGE, PAGE).set(READ_ONLY);

  const oracle = {
    mem,
    hooks: {
      cpuid: () => ({ eax: 0, ebx: 0, ecx: 0, edx: 0 }),
      tsc: () => 0n,
      cow: () => undefined,
      watch: () => false,
    },
    beforeStore: (mfn: number) => {
      cpu.beforeStore(mfn);
    },
  };
  const step = (): Exit => {
    if (name === 'evaluate') return evaluateOne(oracle, v);
    // A block of this instruction alone: a shorter one than a region's would be the interpreter's.
    if (name === 'compile')
      cpu.setBreakpoints([v.get('rip') + BigInt(lengthOf(code, Number(v.get('rip')) - CODE))]);
    return v.run(v.get('icount') + 1n);
  };

  function load(t: Test): void {
    const { regs } = t;
    data.set(BACKGROUND);
    data.set(t.data, t.dataOffset);
    cpu.beforeStore(CODE_AT / PAGE);
    code.fill(FILLER);
    code.set(t.code, t.codeOffset);
    GPR.forEach((field, n) => {
      v.set(field, regs.gpr(n));
    });
    v.set('rip', regs.rip);
    v.rflags = regs.rflags;
    v.setInt('mxcsr', regs.mxcsr);
    for (const f of ['fcw', 'fsw', 'ftw', 'fop'] as const) v.setInt(f, regs.fx16(FX[f]));
    v.set('fip', regs.fx64(FX.fip));
    v.set('fdp', regs.fx64(FX.fdp));
    XMM.forEach((field, n) => {
      v.bytes(field).set(regs.xmm(n));
    });
    const top = (regs.fx16(FX.fsw) >> 11) & 7;
    for (let i = 0; i < 8; i++) {
      const bytes = v.bytes(FPR[(top + i) & 7] ?? 'fpr0');
      bytes.fill(0);
      bytes.set(regs.st(i));
    }
  }

  function store(t: Test, exit: Exit): Result {
    const out = new Result();
    const { regs } = out;
    if (exit === EXIT.EXCEPTION) {
      const code = v.get('exit_error');
      const vector = v.getInt('exit_vector');
      out.setFault(
        vector,
        code === NO_ERROR_CODE ? 0 : Number(code),
        vector === 14 ? v.get('exit_address') : 0n,
      );
    } else if (exit !== EXIT.LIMIT) {
      out.setFault(1000 + exit, 0, 0n);
    }
    regs.bytes.set(t.regs.bytes);
    GPR.forEach((field, n) => {
      regs.setGpr(n, v.get(field));
    });
    regs.rip = v.get('rip');
    regs.rflags = v.rflags;
    regs.mxcsr = v.getInt('mxcsr');
    for (const f of ['fcw', 'fsw', 'ftw', 'fop'] as const) regs.setFx16(FX[f], v.getInt(f));
    regs.setFx64(FX.fip, v.get('fip'));
    regs.setFx64(FX.fdp, v.get('fdp'));
    XMM.forEach((field, n) => {
      regs.xmm(n).set(v.bytes(field));
    });
    const top = (regs.fx16(FX.fsw) >> 11) & 7;
    for (let i = 0; i < 8; i++) regs.st(i).set(v.bytes(FPR[(top + i) & 7] ?? 'fpr0').subarray(0, 10));
    out.data.set(data.subarray(t.dataOffset, t.dataOffset + WINDOW));
    out.elsewhere = hashElsewhere(data, t.dataOffset);
    return out;
  }

  return {
    run(t) {
      load(t);
      return store(t, step());
    },
  };
}
