import { highHalf, lowHalf } from '../../base/words';
import { VECTOR } from '../ops';
import type { HelperContext } from './context';

/** Segment descriptors in the GDT and LDT, SDM Vol. 3 §3.4.2 (selectors), §3.4.5 (descriptors). */
export interface Descriptor {
  readonly raw: bigint;
  /** Where it lies, for the accessed bit. */
  readonly address: bigint;
  readonly base: bigint;
  /** In bytes: last valid offset, with G applied. */
  readonly limit: number;
  readonly type: number;
  /** S: code or data (not system). */
  readonly segment: boolean;
  readonly dpl: number;
  readonly present: boolean;
  /** L: 64-bit code. */
  readonly long: boolean;
  /** D/B. */
  readonly big: boolean;
}

/** Type bits of code and data descriptors. */
export const TYPE = { ACCESSED: 1, WRITE_OR_READ: 2, CONFORMING: 4, CODE: 8 } as const;

export const isNull = (selector: number): boolean => (selector & 0xfffc) === 0;
export const rplOf = (selector: number): number => selector & 3;
/** The error code that names a selector. */
export const selectorError = (selector: number): number => selector & 0xfffc;

/** The descriptor, or undefined when the selector lies outside its table. Table reads are the supervisor's. */
export function readDescriptor(c: HelperContext, selector: number): Descriptor | undefined {
  const local = (selector & 4) !== 0;
  // A null LDTR has no table.
  if (local && isNull(c.getInt('ldt'))) return undefined;
  const offset = selector & 0xfff8;
  if (offset + 7 > c.getInt(local ? 'ldt_limit' : 'gdt_limit')) return undefined;
  const address = BigInt.asUintN(64, c.get(local ? 'ldt_base' : 'gdt_base') + BigInt(offset));
  return parse(c.load(64, address, undefined, true), address);
}

export function parse(raw: bigint, address: bigint): Descriptor {
  const [low, high] = [lowHalf(raw), highHalf(raw)];
  const limit = (low & 0xffff) | (high & 0xf_0000);
  const bit = (n: number): boolean => ((high >>> n) & 1) === 1;
  return {
    raw,
    address,
    base: BigInt(((low >>> 16) | ((high & 0xff) << 16) | (high & 0xff00_0000)) >>> 0),
    limit: bit(23) ? limit * 4096 + 4095 : limit,
    type: (high >>> 8) & 15,
    segment: bit(12),
    dpl: (high >>> 13) & 3,
    present: bit(15),
    long: bit(21),
    big: bit(22),
  };
}

/** Sets the accessed bit where it is clear (SDM Vol. 3 §3.4.5.1). Xen hands out descriptors with it set. */
export function markAccessed(c: HelperContext, d: Descriptor): void {
  if ((d.type & TYPE.ACCESSED) === 0) c.store(64, d.address, d.raw | (1n << 40n), undefined, true);
}

export const fault = (c: HelperContext, vector: keyof typeof VECTOR, selector: number): never =>
  c.raise(VECTOR[vector], selectorError(selector));
