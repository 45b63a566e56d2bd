import { XENFEAT } from '../abi/version';

/** XENFEAT_* bit numbers by the names that the FEATURES note uses. */
const bits = new Map<string, number>(
  Object.entries(XENFEAT).map(([name, bit]) => [name.replace(/^XENFEAT_/, ''), bit]),
);

/** What a FEATURES string says, as masks of XENFEAT_* bits. A required feature is a supported one, too. */
export interface FeatureRequest {
  readonly supported: number;
  readonly required: number;
  /** Names that xen/features.h does not have, and that the kernel can do without. */
  readonly unknown: readonly string[];
  /** The same, marked as required: such a kernel cannot be started. */
  readonly unknownRequired: readonly string[];
}

/** Names separated by '|', a required one preceded by '!' (xen/elfnote.h, XEN_ELFNOTE_FEATURES). */
export function parseFeatures(text: string): FeatureRequest {
  let supported = 0;
  let required = 0;
  const unknown: string[] = [];
  const unknownRequired: string[] = [];
  for (const item of text.split('|')) {
    if (item === '') continue;
    const needed = item.startsWith('!');
    const name = needed ? item.slice(1) : item;
    const number = bits.get(name);
    if (number === undefined) {
      (needed ? unknownRequired : unknown).push(name);
      continue;
    }
    const bit = 2 ** number;
    supported |= bit;
    if (needed) required |= bit;
  }
  return { supported: supported >>> 0, required: required >>> 0, unknown, unknownRequired };
}

/** Names of the bits set in a mask, in bit order; a bit without a name as its number. */
export function featureNames(mask: number): string[] {
  const names = new Map(Array.from(bits, ([name, bit]) => [bit, name]));
  return Array.from({ length: 32 }, (_, bit) => bit)
    .filter((bit) => ((mask >>> bit) & 1) !== 0)
    .map((bit) => names.get(bit) ?? `bit ${bit}`);
}
