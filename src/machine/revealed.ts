import type { DecodedValue, HypervisorValue } from './target';

/** Values of the hypervisor's own variables, for a person to look into: one level at a time, since they are graphs. */

export interface Revealed {
  readonly name: string;
  readonly value: unknown;
  readonly shown: () => HypervisorValue;
  readonly children: () => readonly Revealed[];
  /** For expressions: a value with its members under it, made when they are asked for. */
  readonly decoded: () => DecodedValue & { readonly source: Revealed };
}

/** More elements than anyone reads in a list. */
const MOST = 500;
const SHORT = 60;

export function reveal(name: string, value: unknown): Revealed {
  let below: readonly Revealed[] | undefined;
  const children = (): readonly Revealed[] => (below ??= parts(value));
  const self: Revealed = {
    name,
    value,
    shown: () => ({ name, type: typeOf(value), text: textOf(value), expandable: isExpandable(value) }),
    children,
    decoded: () => ({
      name,
      type: typeOf(value),
      text: typeof value === 'string' ? value : textOf(value),
      ...(numberOf(value) === undefined ? {} : { value: numberOf(value) ?? 0n }),
      get children() {
        return children().map((child) => child.decoded());
      },
      source: self,
    }),
  };
  return self;
}

/** Locals by their names, as one value. */
export function revealAll(names: readonly string[], values: readonly unknown[]): Revealed {
  const locals = names.slice(0, values.length).map((name, index) => reveal(name, values[index]));
  return { ...reveal('locals', {}), children: () => locals };
}

function numberOf(value: unknown): bigint | undefined {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'boolean') return value ? 1n : 0n;
  return typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : undefined;
}

const isExpandable = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !(value instanceof RegExp);

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value !== 'object') return typeof value;
  const prototype = Object.getPrototypeOf(value) as { constructor?: { name?: string } } | null;
  return prototype?.constructor?.name ?? 'Object';
}

function textOf(value: unknown): string {
  switch (typeof value) {
    case 'bigint':
      return value < 10n && value > -10n ? value.toString() : `${value.toString()} (${hexOf(value)})`;
    case 'number':
      return Number.isInteger(value) && value >= 10
        ? `${value.toString()} (${hexOf(BigInt(value))})`
        : value.toString();
    case 'string':
      return JSON.stringify(value);
    case 'function':
      return `ƒ ${value.name}`;
    case 'object':
      return value === null ? 'null' : objectText(value);
    default:
      return String(value);
  }
}
const hexOf = (value: bigint): string =>
  value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;

function objectText(value: object): string {
  if (Array.isArray(value)) return `Array(${value.length.toString()})`;
  if (ArrayBuffer.isView(value)) return `${typeOf(value)} of ${value.byteLength.toString()} bytes`;
  if (value instanceof Map || value instanceof Set) return `${typeOf(value)}(${value.size.toString()})`;
  const keys = keysOf(value);
  let text = '';
  for (const key of keys) {
    const member = memberOf(value, key);
    const piece =
      typeof member === 'object' && member !== null
        ? '{…}'
        : typeof member === 'function'
          ? 'ƒ'
          : textOf(member);
    if (text.length + piece.length > SHORT) return `{ ${text}, … }`;
    text += `${text === '' ? '' : ', '}${key}: ${piece}`;
  }
  return text === '' ? '{}' : `{ ${text} }`;
}

/** Getters of its class, too, if they are declared enumerable: arguments of hypercalls are such. */
function keysOf(value: object): string[] {
  const keys: string[] = [];
  for (const key in value) keys.push(key);
  return keys;
}

/** A getter that fails is no reason for the rest not to be seen. */
export function memberOf(value: object, key: string): unknown {
  try {
    return (value as Readonly<Record<string, unknown>>)[key];
  } catch (error) {
    return error instanceof Error ? `cannot be read: ${error.message}` : 'cannot be read';
  }
}

function parts(value: unknown): readonly Revealed[] {
  if (typeof value !== 'object' || value === null) return [];
  if (value instanceof Map)
    return [...value]
      .slice(0, MOST)
      .map(([key, one]) => reveal(typeof key === 'object' ? typeOf(key) : String(key), one));
  if (value instanceof Set)
    return [...value].slice(0, MOST).map((one, index) => reveal(index.toString(), one));
  if (ArrayBuffer.isView(value) && !(value instanceof DataView))
    return Array.from(value as unknown as ArrayLike<number | bigint>).slice(0, MOST).map((one, index) => reveal(index.toString(), one)); // prettier-ignore
  return keysOf(value)
    .slice(0, MOST)
    .map((key) => reveal(key, memberOf(value, key)));
}
