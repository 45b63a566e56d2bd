/**
 * What saved data must be: every name of a record declared, with the kind of its value. The compiler holds a
 * declaration to the type of the state, so a name added there and not here does not compile; `check` holds data to
 * the declaration, so a name that a file lacks, or that nobody knows, is an error that names it.
 */
import { PlainError } from './plain';

/** Accepts values of type T, and says of others where they are wrong. */
export interface Schema<in T> {
  /** The kind of value, for people. */
  readonly kind: string;
  /** Throws a PlainError. */
  check(value: unknown, at: string): void;
  /** Of records: their names. */
  readonly names?: Readonly<Record<string, Schema<never>>>;
  /** The name may be missing. */
  readonly optional?: true;
  /** Says the type to the compiler; never there. */
  readonly takes?: (value: T) => void;
}

type Fields<T> = { readonly [K in keyof T]-?: Schema<T[K]> };

const shown = (value: unknown): string =>
  typeof value === 'string' ||
  typeof value === 'number' ||
  typeof value === 'bigint' ||
  typeof value === 'boolean'
    ? String(value)
    : '';

const wrong = (at: string, value: unknown, kind: string): never => {
  const is =
    value === undefined
      ? 'nothing'
      : Array.isArray(value)
        ? `a list of ${value.length}`
        : ArrayBuffer.isView(value)
          ? `an array of ${value.byteLength} bytes`
          : typeof value === 'object'
            ? 'a record'
            : `${typeof value} ${shown(value)}`;
  throw new PlainError(at, `it shall be ${kind}, and is ${is}`);
};

/** A value for which `test` holds. */
export const kindOf = <T>(kind: string, test: (value: unknown) => boolean): Schema<T> => ({
  kind,
  check: (value, at) => {
    if (!test(value)) wrong(at, value, kind);
  },
});

export const integer = (low: number, high: number): Schema<number> =>
  kindOf(
    `an integer from ${low} to ${high}`,
    (v) => Number.isInteger(v) && (v as number) >= low && (v as number) <= high,
  );
export const count: Schema<number> = kindOf(
  'a whole number',
  (v) => Number.isSafeInteger(v) && (v as number) >= 0,
);
export const u8 = integer(0, 0xff);
export const u16 = integer(0, 0xffff);
export const u32 = integer(0, 0xffff_ffff);
export const bool: Schema<boolean> = kindOf('true or false', (v) => typeof v === 'boolean');
export const text: Schema<string> = kindOf('text', (v) => typeof v === 'string');
/** Of either sign: times may lie before zero. */
export const i64: Schema<bigint> = kindOf(
  'a 64-bit number',
  (v) => typeof v === 'bigint' && (BigInt.asIntN(64, v) === v || BigInt.asUintN(64, v) === v),
);
/** @param length how many; any number when absent */
export const bytes = (length?: number): Schema<Uint8Array> =>
  kindOf(
    length === undefined ? 'bytes' : `${length} bytes`,
    (v) => v instanceof Uint8Array && (length === undefined || v.length === length),
  );
export const int32s: Schema<Int32Array> = kindOf('32-bit numbers', (v) => v instanceof Int32Array);
export const uint16s: Schema<Uint16Array> = kindOf('16-bit numbers', (v) => v instanceof Uint16Array);
export const uint32s: Schema<Uint32Array> = kindOf('32-bit numbers', (v) => v instanceof Uint32Array);
export const uint64s: Schema<BigUint64Array> = kindOf('64-bit numbers', (v) => v instanceof BigUint64Array);

export const oneOf = <T extends string | number | boolean>(...values: readonly T[]): Schema<T> =>
  kindOf(values.map(String).join(' or '), (v) => (values as readonly unknown[]).includes(v));

/** May be undefined, but is there. */
export const maybe = <T>(schema: Schema<T>): Schema<T | undefined> => ({
  kind: `${schema.kind}, or nothing`,
  check: (value, at) => {
    if (value !== undefined) schema.check(value, at);
  },
  ...(schema.names === undefined ? {} : { names: schema.names }),
});

/** May be missing. */
export const optional = <T>(schema: Schema<T>): Schema<T | undefined> => ({
  ...maybe(schema),
  optional: true,
});

/** @param length how many; any number when absent */
export const list = <T>(of: Schema<T>, length?: number): Schema<readonly T[]> => {
  const kind = length === undefined ? `a list: ${of.kind}` : `${length} times: ${of.kind}`;
  return {
    kind,
    check: (value, at) => {
      if (!Array.isArray(value) || (length !== undefined && value.length !== length))
        return wrong(at, value, kind);
      value.forEach((one: unknown, i) => of.check(one, `${at}[${i}]`));
    },
    ...(of.names === undefined ? {} : { names: of.names }),
  };
};

export const pair = <A, B>(first: Schema<A>, second: Schema<B>): Schema<readonly [A, B]> => {
  const kind = `a pair: ${first.kind}; ${second.kind}`;
  return {
    kind,
    check: (value, at) => {
      if (!Array.isArray(value) || value.length !== 2) return wrong(at, value, kind);
      first.check(value[0], `${at}[0]`);
      second.check(value[1], `${at}[1]`);
    },
    ...(second.names === undefined ? {} : { names: second.names }),
  };
};

export const mapOf = <K, V>(key: Schema<K>, of: Schema<V>): Schema<ReadonlyMap<K, V>> => ({
  kind: `by ${key.kind}: ${of.kind}`,
  check: (value, at) => {
    if (!(value instanceof Map)) return wrong(at, value, 'a map');
    for (const [k, v] of value as Map<unknown, unknown>) {
      key.check(k, `${at}, a key`);
      of.check(v, `${at}.${String(k)}`);
    }
  },
  ...(of.names === undefined ? {} : { names: of.names }),
});

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);

/** A record whose names are numbers. */
export const numbered = <T>(of: Schema<T>): Schema<Readonly<Record<number, T>>> => ({
  kind: `by number: ${of.kind}`,
  check: (value, at) => {
    if (!isRecord(value)) return wrong(at, value, 'a record');
    for (const [name, one] of Object.entries(value)) {
      if (!/^\d{1,10}$/.test(name)) throw new PlainError(at, `'${name}' is no number`);
      of.check(one, `${at}.${name}`);
    }
  },
  ...(of.names === undefined ? {} : { names: of.names }),
});

export function record<T>(fields: Fields<T>): Schema<T> {
  const names: Readonly<Record<string, Schema<never>>> = fields;
  return {
    kind: 'a record',
    names,
    check: (value, at) => {
      if (!isRecord(value)) return wrong(at, value, 'a record');
      for (const name of Object.keys(value))
        if (!Object.hasOwn(names, name)) throw new PlainError(at, `nobody knows its '${name}'`);
      for (const [name, schema] of Object.entries(names)) {
        if (Object.hasOwn(value, name)) schema.check(value[name], `${at}.${name}`);
        else if (schema.optional !== true) throw new PlainError(at, `it lacks '${name}'`);
      }
    },
  };
}

/** A record that says by one of its names which of several it is. */
export function choice<T, N extends string & keyof T>(
  name: N,
  cases: { readonly [K in T[N] & string]: Schema<Extract<T, { readonly [_ in N]: K }>> },
): Schema<T> {
  const known = new Map<string, Schema<never>>(Object.entries<Schema<never>>(cases));
  const kind = `one of ${[...known.keys()].join(', ')}`;
  return {
    kind,
    check: (value, at) => {
      const found = isRecord(value) ? known.get(String(value[name])) : undefined;
      if (found === undefined) return wrong(at, isRecord(value) ? value[name] : value, kind);
      found.check(value, at);
    },
  };
}

/** A record that says by `kind` which one it is. */
export function variant<T extends { readonly kind: string }>(cases: {
  readonly [K in T['kind']]: Fields<Omit<Extract<T, { readonly kind: K }>, 'kind'>>;
}): Schema<T> {
  const all = Object.entries<Readonly<Record<string, Schema<never>>>>(cases).map(([kind, fields]) => [
    kind,
    record({ kind: oneOf(kind), ...fields } as Fields<never>),
  ]);
  return choice<T, 'kind'>('kind', Object.fromEntries(all) as never);
}
