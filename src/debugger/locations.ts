import type { AddressSpace, VcpuRef } from '../machine/target';

/** An address and the memory it means. As text: `virtual:d1v0:0x…`, `pseudophysical:d1:0x…`, `machine:0x…`. */
export interface Location {
  readonly space: AddressSpace;
  readonly address: bigint;
}

export class LocationError extends Error {
  constructor(text: string, problem: string) {
    super(`'${text}' is not a memory reference: ${problem}`);
    this.name = 'LocationError';
  }
}

export const hex = (value: bigint | number): string =>
  value < 0 ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;

/** Sixteen digits: addresses in columns. */
export const hex64 = (value: bigint): string =>
  `0x${BigInt.asUintN(64, value).toString(16).padStart(16, '0')}`;

/** `d1v0`, as Xen's own console names a vCPU. */
export const vcpuName = ({ domain, vcpu }: VcpuRef): string => `d${domain}v${vcpu}`;

export const sameVcpu = (a: VcpuRef, b: VcpuRef): boolean => a.domain === b.domain && a.vcpu === b.vcpu;

export function formatLocation({ space, address }: Location): string {
  const at = hex(BigInt.asUintN(64, address));
  if (space.kind === 'virtual') return `virtual:${vcpuName(space.vcpu)}:${at}`;
  return space.kind === 'machine' ? `machine:${at}` : `pseudophysical:d${space.domain}:${at}`;
}

export const virtual = (vcpu: VcpuRef, address: bigint): Location => ({
  space: { kind: 'virtual', vcpu },
  address: BigInt.asUintN(64, address),
});

/** How the words before the address name a space. */
const spaces: readonly {
  readonly pattern: RegExp;
  readonly space: (match: RegExpExecArray) => AddressSpace;
}[] = [
  {
    pattern: /^virtual:d(\d{1,5})v(\d{1,5})$/,
    space: ([, domain, vcpu]) => ({ kind: 'virtual', vcpu: { domain: Number(domain), vcpu: Number(vcpu) } }),
  },
  {
    pattern: /^pseudophysical:d(\d{1,5})$/,
    space: ([, domain]) => ({ kind: 'pseudophysical', domain: Number(domain) }),
  },
  { pattern: /^machine$/, space: () => ({ kind: 'machine' }) },
];

/** 0x… or decimal, below 2^64. */
export function parseAddress(text: string): bigint | undefined {
  if (!/^(0[xX][0-9a-fA-F]{1,16}|\d{1,20})$/.test(text)) return undefined;
  const value = BigInt(text);
  return value < 1n << 64n ? value : undefined;
}

/**
 * A bare address means the virtual memory of `current`. Throws a LocationError that says what is wrong.
 */
export function parseLocation(text: string, current: VcpuRef | undefined): Location {
  const colon = text.lastIndexOf(':');
  const digits = text.slice(colon + 1).trim();
  const address = parseAddress(digits);
  if (address === undefined) throw new LocationError(text, `'${digits}' is not a 64-bit address`);
  if (colon === -1) {
    if (current === undefined)
      throw new LocationError(text, 'no vCPU is stopped whose memory a bare address could mean');
    return virtual(current, address);
  }
  const prefix = text.slice(0, colon).trim();
  for (const { pattern, space } of spaces) {
    const match = pattern.exec(prefix);
    if (match !== null) return { space: space(match), address };
  }
  throw new LocationError(text, `'${prefix}' is none of virtual:dNvN, pseudophysical:dN, machine`);
}
