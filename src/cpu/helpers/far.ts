import type { Width } from '../ops';
import { UNIMPLEMENTED, VECTOR } from '../ops';
import { RFLAGS } from '../state';
import type { Helper, HelperContext } from './context';
import type { Descriptor } from './descriptor';
import { fault, isNull, markAccessed, readDescriptor, rplOf, TYPE } from './descriptor';
import { checkStack } from './segments';

/**
 * Far transfers at the same privilege, within 64-bit mode (SDM Vol. 2 JMP, CALL, RET, IRET; Vol. 3 §5.8). What would change
 * the privilege level or leave 64-bit mode (call gates, returns outwards, compatibility mode) is checked as far
 * as it faults, and what passes is declared unimplemented: under Xen PV, everything runs at CPL 3 in 64-bit code.
 */
const canonical = (a: bigint): boolean => BigInt.asUintN(64, BigInt.asIntN(48, a)) === a;
const gp0 = (c: HelperContext): never => c.raise(VECTOR.GP, 0);
const unimplemented = (c: HelperContext): never => c.raise(UNIMPLEMENTED);
const cut = (w: number, v: bigint): bigint => BigInt.asUintN(w, v);

/** A code descriptor to go to at the current privilege; `cpl` is what its DPL is compared with. */
function codeSegment(c: HelperContext, selector: number, cpl: number, returning: boolean): Descriptor {
  if (isNull(selector)) return gp0(c);
  const d = readDescriptor(c, selector) ?? fault(c, 'GP', selector);
  if (!d.segment && !returning && d.type === 12) return unimplemented(c);
  if (!d.segment || (d.type & TYPE.CODE) === 0) return fault(c, 'GP', selector);
  // L and D together are reserved.
  if (d.long && d.big) return fault(c, 'GP', selector);
  const conforming = (d.type & TYPE.CONFORMING) !== 0;
  const allowed = conforming
    ? d.dpl <= cpl
    : d.dpl === cpl && (returning ? rplOf(selector) === cpl : rplOf(selector) <= cpl);
  if (!allowed) return fault(c, 'GP', selector);
  if (!d.present) return fault(c, 'NP', selector);
  if (!d.long) return unimplemented(c);
  return d;
}

function enter(c: HelperContext, d: Descriptor, selector: number, offset: bigint): void {
  markAccessed(c, d);
  c.setInt('cs', (selector & 0xfffc) | c.getInt('cpl'));
  c.set('next', offset);
}

const jump: Helper = (c, selector, offset) => {
  const s = Number(selector);
  const d = codeSegment(c, s, c.getInt('cpl'), false);
  if (!canonical(offset)) gp0(c);
  enter(c, d, s, offset);
};

const call: Helper = (c, width, selector, offset, next) => {
  const w = Number(width) as Width;
  const s = Number(selector);
  const d = codeSegment(c, s, c.getInt('cpl'), false);
  if (!canonical(offset)) gp0(c);
  const bytes = width / 8n;
  const sp = cut(64, c.get('rsp') - 2n * bytes);
  // One check for both pushes, so that a fault at the second leaves no trace of the first.
  c.probeWrite(Number(2n * bytes), sp, 'ss');
  c.store(w, cut(64, sp + bytes), BigInt(c.getInt('cs')), 'ss');
  c.store(w, sp, cut(w, next), 'ss');
  c.set('rsp', sp);
  enter(c, d, s, offset);
};

const stackReader = (c: HelperContext, w: Width): (() => bigint) => {
  let sp = c.get('rsp');
  return () => {
    const v = c.load(w, sp, 'ss');
    sp = cut(64, sp + BigInt(w / 8));
    return v;
  };
};

const farReturn: Helper = (c, width, extra) => {
  const w = Number(width) as Width;
  const pop = stackReader(c, w);
  const offset = pop();
  const selector = Number(pop() & 0xffffn);
  const cpl = c.getInt('cpl');
  if (!isNull(selector) && rplOf(selector) < cpl) fault(c, 'GP', selector);
  if (!isNull(selector) && rplOf(selector) > cpl) unimplemented(c);
  const d = codeSegment(c, selector, cpl, true);
  if (!canonical(offset)) gp0(c);
  c.set('rsp', cut(64, c.get('rsp') + (2n * width) / 8n + extra));
  enter(c, d, selector, offset);
};

/** IRET changes these at CPL 3; AC and ID only from 32 bits on (SDM Vol. 2 IRET). */
const IRET_FLAGS = 0x4dd5n | RFLAGS.OF | RFLAGS.RF;
const IRET_WIDE = RFLAGS.AC | RFLAGS.ID;

/** In 64-bit mode IRET always pops SS:rSP. */
const iret: Helper = (c, width) => {
  const w = Number(width) as Width;
  const pop = stackReader(c, w);
  const offset = pop();
  const selector = Number(pop() & 0xffffn);
  const flags = pop();
  const rsp = pop();
  const ss = Number(pop() & 0xffffn);
  const cpl = c.getInt('cpl');
  if (!isNull(selector) && rplOf(selector) < cpl) fault(c, 'GP', selector);
  if (!isNull(selector) && rplOf(selector) > cpl) unimplemented(c);
  const d = codeSegment(c, selector, cpl, true);
  if (isNull(ss)) {
    if (cpl === 3 || rplOf(ss) !== cpl) gp0(c);
  } else {
    const s = readDescriptor(c, ss) ?? fault(c, 'GP', ss);
    checkStack(c, s, ss, cpl);
    markAccessed(c, s);
  }
  if (!canonical(offset)) gp0(c);
  const old = c.rflags;
  let change = IRET_FLAGS | (w > 16 ? IRET_WIDE : 0n);
  if (w === 16) change &= 0xffffn;
  if (cpl === 0) change |= RFLAGS.IOPL;
  if (cpl <= Number((old >> 12n) & 3n)) change |= RFLAGS.IF;
  else change &= ~RFLAGS.IF;
  c.rflags = (old & ~change) | (flags & change);
  c.setInt('ss', ss);
  c.set('rsp', rsp);
  enter(c, d, selector, offset);
};

export const farHelpers: Readonly<Record<string, Helper>> = {
  far_jump: jump,
  far_call: call,
  far_return: farReturn,
  iret,
};
