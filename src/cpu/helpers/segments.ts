import { SREG } from '../state';
import type { Helper, HelperContext } from './context';
import type { Descriptor } from './descriptor';
import { fault, isNull, markAccessed, readDescriptor, rplOf, TYPE } from './descriptor';

/**
 * MOV and POP to a segment register, LSS/LFS/LGS (SDM Vol. 2 MOV, Vol. 3 §5.6, §5.7). In 64-bit mode only fs and gs
 * have a base; a null selector clears it, as on Intel and on AMD since Zen 3 (CPUID 80000021h EAX[6]).
 */
function loadSegment(c: HelperContext, index: number, selector: number): void {
  const name = SREG[index] ?? 'ds';
  const cpl = c.getInt('cpl');
  if (isNull(selector)) {
    // SS may be null below CPL 3 in 64-bit mode, with RPL = CPL.
    if (name === 'ss' && (cpl === 3 || rplOf(selector) !== cpl)) fault(c, 'GP', 0);
    put(c, name, selector, 0n);
    return;
  }
  const d = readDescriptor(c, selector) ?? fault(c, 'GP', selector);
  if (name === 'ss') checkStack(c, d, selector, cpl);
  else checkData(c, d, selector, cpl);
  markAccessed(c, d);
  put(c, name, selector, d.base);
}

function put(c: HelperContext, name: (typeof SREG)[number], selector: number, base: bigint): void {
  c.setInt(name, selector);
  if (name === 'fs') c.set('fs_base', base);
  if (name === 'gs') c.set('gs_base', base);
}

export function checkStack(c: HelperContext, d: Descriptor, selector: number, cpl: number): void {
  const writable = d.segment && (d.type & TYPE.CODE) === 0 && (d.type & TYPE.WRITE_OR_READ) !== 0;
  if (rplOf(selector) !== cpl || !writable || d.dpl !== cpl) fault(c, 'GP', selector);
  if (!d.present) fault(c, 'SS', selector);
}

const isConforming = (d: Descriptor): boolean =>
  (d.type & (TYPE.CODE | TYPE.CONFORMING)) === (TYPE.CODE | TYPE.CONFORMING);
const isReadable = (d: Descriptor): boolean =>
  (d.type & TYPE.CODE) === 0 || (d.type & TYPE.WRITE_OR_READ) !== 0;

function checkData(c: HelperContext, d: Descriptor, selector: number, cpl: number): void {
  const privileged = !isConforming(d) && (rplOf(selector) > d.dpl || cpl > d.dpl);
  if (!d.segment || !isReadable(d) || privileged) fault(c, 'GP', selector);
  if (!d.present) fault(c, 'NP', selector);
}

/** Is the descriptor there, and visible from CPL and RPL? */
function visible(c: HelperContext, selector: number): Descriptor | undefined {
  if (isNull(selector)) return undefined;
  const d = readDescriptor(c, selector);
  if (!d) return undefined;
  const hidden = Math.max(c.getInt('cpl'), rplOf(selector)) > d.dpl && !(d.segment && isConforming(d));
  return hidden ? undefined : d;
}

const VALID = 1n << 63n;
/** System types with an access-rights byte, and those with a limit, in IA-32e mode (SDM Vol. 2 tables 3-54, 3-57). */
const LAR_TYPES = [2, 9, 11, 12];
const LSL_TYPES = [2, 9, 11];

const lar: Helper = (c, selector) => {
  const d = visible(c, Number(selector));
  if (!d || !(d.segment || LAR_TYPES.includes(d.type))) return 0n;
  return VALID | ((d.raw >> 32n) & 0x00ffff00n);
};

const lsl: Helper = (c, selector) => {
  const d = visible(c, Number(selector));
  if (!d || !(d.segment || LSL_TYPES.includes(d.type))) return 0n;
  return VALID | BigInt(d.limit);
};

/** VERR and VERW (SDM Vol. 2): 1 when the segment can be read, written. */
const verify =
  (write: boolean): Helper =>
  (c, selector) => {
    const d = visible(c, Number(selector));
    if (!d?.segment) return 0n;
    const ok = write ? (d.type & (TYPE.CODE | TYPE.WRITE_OR_READ)) === TYPE.WRITE_OR_READ : isReadable(d);
    return ok ? 1n : 0n;
  };

export const segmentHelpers: Readonly<Record<string, Helper>> = {
  load_segment(c, index, selector) {
    loadSegment(c, Number(index), Number(selector & 0xffffn));
  },
  lar,
  lsl,
  verr: verify(false),
  verw: verify(true),
};
