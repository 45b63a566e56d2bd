/**
 * A decoded argument or structure, ready to be shown as a tree: for the hypervisor and for who looks at the machine.
 */
export interface DecodedValue {
  readonly name: string;
  readonly type: string;
  /** Short text: hex for addresses and frames, the symbol for an enumerated number. */
  readonly text: string;
  readonly value?: bigint;
  readonly children?: readonly DecodedValue[];
  /** Set when the value is an address that can be opened in a memory view. */
  readonly memory?: { readonly space: 'virtual' | 'pseudophysical' | 'machine'; readonly address: bigint };
}

/** Bytes at a guest-virtual address, or undefined where none can be had (unmapped, or not captured). */
export type MemoryReader = (address: bigint, length: number) => Uint8Array | undefined;

/** What a decoder may look at besides the value itself. */
export interface DecodeContext {
  readonly memory?: MemoryReader;
  /** Values of the fields or arguments beside this one: a union picks by them, an array takes its length. */
  readonly siblings?: Readonly<Record<string, unknown>>;
}

export const hex = (value: bigint | number): string =>
  value < 0 ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
