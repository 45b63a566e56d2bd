/** `format.hex` of the protocol: numbers that are shown in both ways, or in decimal alone, in hexadecimal alone. */
export function inHex(value: string): string {
  if (/^-?\d+$/.test(value)) return hexOf(BigInt(value));
  return (
    value
      .replace(/(0x[0-9a-f]+) \(-?\d+\)/g, '$1')
      .replace(/-?\b\d+ \((-?0x[0-9a-f]+)\)/g, '$1')
      // Behind the name of an enumerator.
      .replace(/(?<=\w )\((\d+)\)/g, (_all, number: string) => `(${hexOf(BigInt(number))})`)
      .replace(PLAIN_MEMBER, (all, number?: string) => (number === undefined ? all : hexOf(BigInt(number))))
  );
}

/** A number alone among the members or elements of something; what stands in a text is none. */
const PLAIN_MEMBER = /"(?:[^"\\]|\\.)*"|(?<=[{ ])(-?\d+)(?=[,}])/g;

const hexOf = (value: bigint): string =>
  value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;

/** As the arguments of a request ask for it. */
export const formatted = (value: string, format: { readonly hex?: boolean } | undefined): string =>
  format?.hex === true ? inHex(value) : value;
