import type { Form, OperandSpec } from './encoding';
import type { Context } from './instruction';
import type { Operand, Ops, Value, Vector, Width } from './ops';
import { VECTOR } from './ops';
import type { OperandSource } from './record';
import { GPR } from './state';

/**
 * Binds a Form to `Ops` and an operand source: the one frame around every instruction's semantics, for all
 * tiers. It makes the operands and generates the checks that declarations only name (privileged, unit, alignment).
 */
export type Source = OperandSource<Value, Vector>;

const isWidth = (w: number): w is Width => w === 8 || w === 16 || w === 32 || w === 64;

/** CR0 bits, SDM Vol. 3 §2.5. */
const CR0 = { EM: 1 << 2, TS: 1 << 3, NE: 1 << 5 } as const;
const CR4_OSFXSR = 1 << 9;

/** Runs (or records) one instruction. `next` is already set in the state, or is known to the source. */
export function execute(form: Form, o: Ops, source: Source): void {
  const { instruction } = form;
  if (instruction.privileged) checkPrivilege(instruction.privileged, o);
  if (instruction.unit) checkUnit(instruction.unit, o);
  const context: Context = {
    w: form.w,
    aw: form.aw ?? 64,
    rep: form.rep ?? 'none',
    segBase: () => source.segBase(),
  };
  instruction.semantics(o, context, ...form.operands.map((s) => bindOperand(s, form, o, source)));
}

/** SDM Vol. 3 §5.9; Vol. 1 §19.5.1 for IOPL. */
function checkPrivilege(level: true | 'iopl', o: Ops): void {
  const cpl = o.get('cpl');
  const iopl = (): Value => o.and(o.shr(o.get('rflags'), o.k(12)), o.k(3));
  o.if(level === 'iopl' ? o.cmp('ltu', iopl(), cpl) : cpl, () => o.raise(VECTOR.GP, o.k(0)));
}

/** SDM Vol. 3 table 2-2 (x87), §12.1 table 12-1 (MMX), §13.1.4 table 13-1 (SSE). */
function checkUnit(unit: 'fpu' | 'sse' | 'mmx', o: Ops): void {
  const cr0 = (): Value => o.get('cr0');
  const has = (v: Value, bits: number): Value => o.and(v, o.k(bits));
  if (unit === 'fpu') {
    o.if(has(cr0(), CR0.EM | CR0.TS), () => o.raise(VECTOR.NM));
    return;
  }
  o.if(has(cr0(), CR0.EM), () => o.raise(VECTOR.UD));
  if (unit === 'sse') o.if(o.eqz(has(o.get('cr4'), CR4_OSFXSR)), () => o.raise(VECTOR.UD));
  o.if(has(cr0(), CR0.TS), () => o.raise(VECTOR.NM));
  // A pending x87 exception is delivered before an MMX instruction (fsw.ES; CR0.NE set, as in long mode's kernels).
  if (unit === 'mmx') o.if(has(o.get('fsw'), 1 << 7), () => o.raise(VECTOR.MF));
}

const none = (what: string, s: OperandSpec) => (): never => {
  throw new Error(`operand '${s.text}' has no ${what}`);
};

/** An operand with everything refused; the kinds below override what they have. */
function base(s: OperandSpec): Operand {
  return {
    kind: s.kind,
    width: s.width,
    get: none('value', s),
    gets: none('value', s),
    rmw: none('value', s),
    set: none('assignment', s),
    getx: none('vector value', s),
    setx: none('vector assignment', s),
    address: none('address', s),
    offset: none('address', s),
    seg: undefined,
    index: none('number', s),
  };
}

function bindOperand(s: OperandSpec, form: Form, o: Ops, source: Source): Operand {
  switch (s.kind) {
    case 'gpr':
      return s.from === 'implied' ? implied(s, o) : gpr(s, source);
    case 'mem':
      return memory(s, o, source);
    case 'xmm':
    case 'mm':
      return vector(s, s.kind, o, source);
    case 'imm':
    case 'rel':
      return immediate(s, form, o, source);
    case 'sreg':
      return { ...base(s), index: () => source.number(), get: () => selector(o, source.number()) };
    case 'creg':
    case 'dreg':
    case 'sti':
      return { ...base(s), index: () => source.number() };
  }
}

const narrow = (s: OperandSpec): Width => {
  if (isWidth(s.width)) return s.width;
  throw new Error(`operand '${s.text}' has no integer width`);
};

function gpr(s: OperandSpec, source: Source): Operand {
  const w = narrow(s);
  const slot = s.from === 'r1' ? 'r1' : 'r2';
  const get = (): Value => source.gpr(slot, w);
  return {
    ...base(s),
    get,
    rmw: get,
    gets: () => source.gprSigned(slot, w),
    set: (v) => source.setGpr(slot, w, v),
    index: () => source.registerNumber(slot, 'gpr'),
  };
}

/** Low `w` bits into a register the way the processor does: 32 zeroes the upper half, 8 and 16 merge (SDM Vol. 1 §3.4.1.1). */
export function merge(o: Ops, w: Width, old: Value, v: Value): Value {
  if (w === 64) return v;
  if (w === 32) return o.zx(32, v);
  const keep = w === 8 ? ~0xffn : ~0xffffn;
  return o.or(o.and(old, o.k(keep)), o.zx(w, v));
}

function implied(s: OperandSpec, o: Ops): Operand {
  const w = narrow(s);
  const name = GPR[s.implied ?? 0] ?? 'rax';
  const get = (): Value => o.zx(w, o.get(name));
  return {
    ...base(s),
    get,
    rmw: get,
    gets: () => o.sx(w, o.get(name)),
    set: (v) => o.set(name, merge(o, w, o.get(name), v)),
    index: () => o.k(s.implied ?? 0),
  };
}

function memory(s: OperandSpec, o: Ops, source: Source): Operand {
  let at: Value | undefined;
  const address = (): Value => (at ??= source.address());
  const seg = 'operand' as const;
  const aligned = (): Value => {
    const a = address();
    if (s.aligned) o.if(o.and(a, o.k(15)), () => o.raise(VECTOR.GP, o.k(0)));
    return a;
  };
  return {
    ...base(s),
    seg,
    address,
    offset: () => source.offset(),
    get: () => (s.width === 128 ? o.lane(64, o.loadx(aligned(), seg), 0) : o.load(narrow(s), address(), seg)),
    gets: () => o.sx(narrow(s), o.load(narrow(s), address(), seg)),
    rmw: () => o.loadForWrite(narrow(s), address(), seg),
    set: (v) => o.store(narrow(s), address(), v, seg),
    getx: () => (s.width === 128 ? o.loadx(aligned(), seg) : o.x(o.load(narrow(s), address(), seg), o.k(0))),
    setx: (v) =>
      s.width === 128
        ? o.storex(aligned(), v, seg)
        : o.store(narrow(s), address(), o.lane(narrow(s), v, 0), seg),
  };
}

function vector(s: OperandSpec, kind: 'xmm' | 'mm', o: Ops, source: Source): Operand {
  const slot = s.from === 'r1' ? 'r1' : 'r2';
  const w = isWidth(s.width) ? s.width : 64;
  const get = (): Value => source.vecPart(slot, w);
  // An MMX write makes the register's exponent and sign all ones (SDM Vol. 1 §9.2.1, Vol. 3 §12.2).
  const set =
    kind === 'mm'
      ? (v: Value): void => source.setVec(slot, o.x(o.zx(w, v), o.k(0xffff)))
      : (v: Value): void => source.setVecPart(slot, w, v);
  return {
    ...base(s),
    get,
    rmw: get,
    gets: () => o.sx(w, get()),
    set,
    getx: () => (kind === 'mm' ? o.x(get(), o.k(0)) : source.vec(slot)),
    setx: (v) => (kind === 'mm' ? set(o.lane(64, v, 0)) : source.setVec(slot, v)),
    index: () => source.registerNumber(slot, kind),
  };
}

function immediate(s: OperandSpec, form: Form, o: Ops, source: Source): Operand {
  const w = narrow(s);
  const get = (): Value => {
    if (s.from === 'implied') return o.k(s.implied ?? 0);
    if (s.from === 'imm2') return o.shr(source.imm(), o.k(32));
    return form.immediate.second > 0 ? o.zx(w, source.imm()) : source.imm();
  };
  return { ...base(s), get, rmw: get, gets: () => o.sx(w, get()) };
}

/** A segment selector by its run-time number 0–5 (es cs ss ds fs gs). */
function selector(o: Ops, n: Value): Value {
  let v = o.get('es');
  for (const [i, name] of (['cs', 'ss', 'ds', 'fs', 'gs'] as const).entries())
    v = o.select(o.cmp('eq', n, o.k(i + 1)), o.get(name), v);
  return v;
}
