// What the arguments of a request must look like. A client may send anything; a handler sees only what fits.

/** Wrong arguments; names the argument and what was found there. */
export class ArgumentError extends Error {
  constructor(path: string, expected: string, found: unknown) {
    super(`${path === '' ? 'arguments' : path}: expected ${expected}, got ${describe(found)}`);
    this.name = 'ArgumentError';
  }
}

function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

/** Checks a value and returns it; throws an ArgumentError. `path` names the value, such as `breakpoints[0].line`. */
export type Shape<T> = (value: unknown, path: string) => T;
export interface OptionalShape<T> {
  readonly optional: Shape<T>;
}
type Fields = Readonly<Record<string, Shape<unknown> | OptionalShape<unknown>>>;
type Of<S> = S extends OptionalShape<infer T> ? T : S extends Shape<infer T> ? T : never;
export type Shaped<F extends Fields> = {
  readonly [K in keyof F as F[K] extends OptionalShape<unknown> ? never : K]: Of<F[K]>;
} & { readonly [K in keyof F as F[K] extends OptionalShape<unknown> ? K : never]?: Of<F[K]> };

const check =
  <T>(expected: string, test: (value: unknown) => value is T): Shape<T> =>
  (value, path) => {
    if (!test(value)) throw new ArgumentError(path, expected, value);
    return value;
  };

export const text = check('a text', (v): v is string => typeof v === 'string');
export const boolean = check('true or false', (v): v is boolean => typeof v === 'boolean');
export const integer = check('a whole number', (v): v is number => Number.isSafeInteger(v));
export const count = check(
  'a whole number, not negative',
  (v): v is number => Number.isSafeInteger(v) && Number(v) >= 0,
);
export const textOrNumber = check(
  'a text or a number',
  (v): v is string | number => typeof v === 'string' || typeof v === 'number',
);
export const textOrTexts = check(
  'a text or a list of texts',
  (v): v is string | readonly string[] =>
    typeof v === 'string' || (Array.isArray(v) && v.every((one) => typeof one === 'string')),
);
/** An object whose members are all texts. */
export const textMap = check(
  'an object of texts',
  (v): v is Readonly<Record<string, string>> =>
    typeof v === 'object' &&
    v !== null &&
    !Array.isArray(v) &&
    Object.values(v).every((one) => typeof one === 'string'),
);
export const anything: Shape<unknown> = (value) => value;

/** One of some texts; what is not known falls back, where the protocol says that clients may invent values. */
export const oneOf = <const T extends string>(...values: readonly T[]): Shape<T> =>
  check(values.join(', '), (v): v is T => (values as readonly unknown[]).includes(v));

/** Absent, or null: several clients write the one as the other. */
export const optional = <T>(shape: Shape<T>): OptionalShape<T> => ({ optional: shape });

/** More elements than any client has a use for. */
const MAX_ELEMENTS = 100_000;

export const listOf =
  <T>(shape: Shape<T>): Shape<readonly T[]> =>
  (value, path) => {
    if (!Array.isArray(value)) throw new ArgumentError(path, 'a list', value);
    if (value.length > MAX_ELEMENTS)
      throw new ArgumentError(path, `at most ${MAX_ELEMENTS} elements`, value.length);
    return value.map((one, index) => shape(one, `${path}[${index}]`));
  };

/** Members that are not in `fields` are left out: a newer protocol adds some. */
export const object =
  <F extends Fields>(fields: F): Shape<Shaped<F>> =>
  (value, path) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new ArgumentError(path, 'an object', value);
    const members = value as Readonly<Record<string, unknown>>;
    const shaped: Record<string, unknown> = {};
    for (const [name, field] of Object.entries(fields)) {
      const member = Object.hasOwn(members, name) ? members[name] : undefined;
      const at = path === '' ? name : `${path}.${name}`;
      if (typeof field === 'function') shaped[name] = field(member, at);
      else if (member !== undefined && member !== null) shaped[name] = field.optional(member, at);
    }
    // Each member has passed its field's check.
    return shaped as Shaped<F>;
  };

/** For requests without arguments, or with ones that may be left out as a whole. */
export const maybe =
  <F extends Fields>(fields: F): Shape<Shaped<F>> =>
  (value, path) =>
    object(fields)(value ?? {}, path);
