/** Page-table entry bits, SDM Vol. 3 tables 4-15 to 4-20; AVL bits as Xen uses them for PV guests. */
export const FLAG = {
  P: 1n,
  RW: 2n,
  US: 4n,
  PWT: 8n,
  PCD: 16n,
  A: 32n,
  D: 64n,
  PS: 128n,
  G: 256n,
  NX: 1n << 63n,
} as const;

const NAMES: readonly (readonly [bigint, string])[] = [
  [FLAG.P, 'P'],
  [FLAG.RW, 'RW'],
  [FLAG.US, 'US'],
  [FLAG.PWT, 'PWT'],
  [FLAG.PCD, 'PCD'],
  [FLAG.A, 'A'],
  [FLAG.D, 'D'],
  [FLAG.G, 'G'],
  [FLAG.NX, 'NX'],
];

/** Spelled out in the manual's names; bit 7 is PS in L2 and L3, PAT in L1. */
export function pteFlags(entry: bigint, level: number): string[] {
  const flags = NAMES.filter(([bit]) => (entry & bit) !== 0n).map(([, name]) => name);
  if ((entry & FLAG.PS) !== 0n) flags.push(level === 1 ? 'PAT' : 'PS');
  return flags;
}
