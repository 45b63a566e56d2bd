import type { DebugInfo, Type } from '../../guest/dwarf';
import { Unavailable, bare, sizeOf } from '../../guest/dwarf';
import { latin1 } from '../../base/bytes';
import { hex } from '../locations';
import type { SymbolIndex } from '../symbols';
import { symbolic } from '../symbols';
import type { TypedValue, ValueSpace } from './typed';
import { addressOf, bytesOf, inMemory, memberOf, numberOf } from './typed';

// How values read: on one line, and as rows below one another.

/** What a pointer to nothing is shown as. */
export const NULL = 'NULL';

export interface ShowContext extends ValueSpace {
  readonly symbols: SymbolIndex;
}

const MAX_TEXT = 160;
const MAX_STRING = 200;
const MAX_MEMBERS = 8;
const MAX_DEPTH = 2;

const escapes: Readonly<Record<string, string>> = {
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '"': '\\"',
  '\\': '\\\\',
};
const escape = (text: string): string =>
  text.replace(/[^ -~]|["\\]/g, (c) => escapes[c] ?? `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);

/** Small numbers as they are, others in both notations. */
export const showNumber = (value: bigint): string => (value > 9n ? `${value} (${hex(value)})` : `${value}`);

const isCharacter = (type: Type): boolean => {
  const it = bare(type);
  return it.kind === 'base' && it.size === 1 && it.encoding === 'character';
};

/** Up to the NUL, or undefined where it does not look like text. */
function stringIn(bytes: Uint8Array, full: boolean): string | undefined {
  const nul = bytes.indexOf(0);
  const text = latin1(nul < 0 ? bytes : bytes.subarray(0, nul));
  if (/[^\t\n\r\x20-\x7e]/.test(text)) return undefined;
  return `"${escape(text)}"${nul < 0 && !full ? '…' : ''}`;
}

function showEnum(type: Extract<Type, { kind: 'enum' }>, value: bigint): string {
  const values = type.values();
  const exact = values.find((one) => one.value === value);
  if (exact !== undefined) return `${exact.name} (${value})`;
  // Flags: single bits that together make the value.
  const bits = values.filter((one) => one.value > 0n && (one.value & (one.value - 1n)) === 0n);
  const set = bits.filter((one) => (value & one.value) !== 0n);
  const covered = set.reduce((all, one) => all | one.value, 0n);
  return set.length > 0 && covered === value
    ? `${set.map(({ name }) => name).join(' | ')} (${hex(value)})`
    : showNumber(value);
}

async function showPointer(value: TypedValue, target: Type, context: ShowContext): Promise<string> {
  const address = await numberOf(value, context);
  if (typeof address !== 'bigint') return `${address}`;
  if (address === 0n) return NULL;
  const symbol = symbolic(context.symbols, address);
  const shown = symbol === undefined ? hex(address) : `${hex(address)} <${symbol}>`;
  if (!isCharacter(target)) return shown;
  const text = stringIn(await context.read(address, MAX_STRING), false);
  return text === undefined ? shown : `${hex(address)} ${text}`;
}

/** What a value is on one line. Never rejects: what is not to be had says why in its place. */
export async function showTyped(value: TypedValue, context: ShowContext, depth = 0): Promise<string> {
  try {
    return await show(value, context, depth);
  } catch (error) {
    if (error instanceof Unavailable) return `<${error.message}>`;
    throw error;
  }
}

async function show(value: TypedValue, context: ShowContext, depth: number): Promise<string> {
  const type = completed(bare(value.type), context.symbols.debug);
  switch (type.kind) {
    case 'void':
      return 'void';
    case 'function': {
      const address = addressOf(value);
      return address === undefined ? '{…}' : (symbolic(context.symbols, address) ?? hex(address));
    }
    case 'pointer': {
      const { location } = value;
      return location.kind === 'implicit pointer'
        ? '(a pointer to something that is in no memory)'
        : showPointer(value, type.target(), context);
    }
    case 'enum': {
      const number = await numberOf(value, context);
      return typeof number === 'bigint' ? showEnum(type, number) : `${number}`;
    }
    case 'base': {
      if (type.size === 0) return `<of unknown type ${type.name}>`;
      const number = await numberOf(value, context);
      if (typeof number === 'number') return `${number}`;
      if (type.encoding === 'boolean')
        return number === 0n ? 'false' : number === 1n ? 'true' : showNumber(number);
      if (type.encoding === 'character' && type.size === 1 && number >= 0x20n && number < 0x7fn)
        return `${number} '${String.fromCharCode(Number(number))}'`;
      return showNumber(number);
    }
    case 'array': {
      const element = type.element();
      const count = type.count ?? 0;
      if (isCharacter(element) && count > 0) {
        const bytes = await bytesOf(value, context, MAX_STRING);
        const text = stringIn(bytes, bytes.length === count);
        if (text !== undefined) return text;
      }
      if (type.count === undefined) return '[…]';
      if (depth >= MAX_DEPTH) return `[${count}]`;
      const rows = await Promise.all(
        elements(value, 0, Math.min(count, MAX_MEMBERS)).map(({ value: one }) =>
          showTyped(one, context, depth + 1),
        ),
      );
      return clip(`{${rows.join(', ')}${count > MAX_MEMBERS ? ', …' : ''}}`);
    }
    case 'struct':
    case 'union':
    case 'class': {
      if (type.incomplete) return '<incomplete type>';
      if (depth >= MAX_DEPTH) return '{…}';
      const all = membersOf({ ...value, type }, context.symbols.debug);
      const shown: string[] = [];
      for (const { name, value: one } of all.slice(0, MAX_MEMBERS))
        shown.push(`${name} = ${await showTyped(one, context, depth + 1)}`);
      return clip(`{${shown.join(', ')}${all.length > MAX_MEMBERS ? ', …' : ''}}`);
    }
  }
}

const clip = (text: string): string => (text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT - 2)}…}` : text);

const completed = <T extends Type>(
  type: T,
  debug: DebugInfo | undefined,
): Exclude<ReturnType<typeof bare>, never> => bare(debug?.complete(type) ?? type);

export interface NamedValue {
  readonly name: string;
  readonly value: TypedValue;
}

/** Members with a name; those of unnamed structures and unions inside count as the outer one's, as in C. */
export function membersOf(value: TypedValue, debug: DebugInfo | undefined, depth = 0): NamedValue[] {
  const type = completed(bare(value.type), debug);
  if ((type.kind !== 'struct' && type.kind !== 'union' && type.kind !== 'class') || depth > 16) return [];
  return type.members().flatMap((member): NamedValue[] => {
    const inner = memberOf(value, member);
    return member.name === undefined
      ? membersOf(inner, debug, depth + 1)
      : [{ name: member.name, value: inner }];
  });
}

/** Elements [from, from + count) of an array, whatever its type says of its length. */
export function elements(value: TypedValue, from: number, count: number): NamedValue[] {
  const type = bare(value.type);
  if (type.kind !== 'array') return [];
  const element = type.element();
  const size = sizeOf(element);
  return Array.from({ length: count }, (_, index) => ({
    name: `[${from + index}]`,
    value: { ...value, type: element, offset: value.offset + (from + index) * size },
  }));
}

/** What a pointer points to. */
export async function pointee(value: TypedValue, space: ValueSpace): Promise<TypedValue> {
  const type = bare(value.type);
  if (type.kind !== 'pointer') throw new Unavailable('it is not a pointer');
  const address = await numberOf(value, space);
  return inMemory(type.target(), BigInt(address));
}
