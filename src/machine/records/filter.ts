import { evaluateExpression, hypercallScope, truth, type Scope, type Value } from '../conditions';
import { ExpressionError, parseExpression, parts, type Expression } from '../expressions';
import { LARGE_RESULT, type Chunk } from './columns';
import { FIELDS } from './fields';
import type { RecordSource } from './source';

/**
 * The filter language of traces, compiled once and then asked of every record. `mmu_update && refused`, `dom == 1`,
 * `rip in xen_set_pte`, `time >= 1.5ms && count > 4`. What can be said by a column is never asked of the record: parts
 * that hang on one small table (names, errors, call sites, vCPUs) are evaluated once for each of its values, numbers
 * are compared in the column, and only what is left, the arguments, has records decoded.
 */

/** Where a function is: [low, high), in the domains that run that image, or in all. */
export interface FunctionRange {
  readonly low: bigint;
  readonly high: bigint;
  readonly domains?: readonly number[];
}
/** For `rip in`: several images may have a function of a name. */
export type Functions = Readonly<Record<string, readonly FunctionRange[]>>;

export interface Filter {
  /** Everything passes. */
  readonly all: boolean;
  test(chunk: Chunk, k: number): boolean;
  /** Records that had to be decoded so far. */
  decoded(): number;
  /** Why it says nothing of any record so far: a name that none of them has, say. */
  complaint(): string | undefined;
}

type Test = (chunk: Chunk, k: number) => boolean;
type Numeric = (chunk: Chunk, k: number) => number;

export const TIME_UNITS: Readonly<Record<string, number>> = { ns: 1, us: 1e3, ms: 1e6, s: 1e9 };

/** Tables of which each value is judged once. */
const TABLE_OF: Readonly<Record<string, 'name' | 'errno' | 'vcpu' | 'site'>> = {
  name: 'name', op: 'name', errno: 'errno', refused: 'errno', dom: 'vcpu', domain: 'vcpu', vcpu: 'vcpu', rip: 'site',
}; // prettier-ignore

const COMPARE: Readonly<Record<string, (a: number, b: number) => boolean>> = {
  '==': (a, b) => a === b,
  '!=': (a, b) => a !== b,
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
};

export const parseFilter = (text: string): Expression =>
  parseExpression(text, { membership: true, units: TIME_UNITS });

/** Functions that a filter names after `in`: whoever has symbols says where they are. */
export function functionsNamed(text: string): readonly string[] {
  const found: string[] = [];
  const look = (e: Expression): void => {
    const name = e.kind === 'binary' && e.operator === 'in' ? functionName(e.right) : undefined;
    if (name !== undefined) found.push(name);
    parts(e).forEach(look);
  };
  if (text.trim() !== '') look(parseFilter(text));
  return found;
}

const functionName = (e: Expression): string | undefined =>
  e.kind === 'name' ? e.name : e.kind === 'literal' && typeof e.value === 'string' ? e.value : undefined;

/** `memory_op.populate_physmap` as one is written in a filter. */
const dotted = (e: Expression): string | undefined => {
  if (e.kind === 'name') return e.name;
  if (e.kind !== 'member' || e.arrow) return undefined;
  const of = dotted(e.of);
  return of === undefined ? undefined : `${of}.${e.name}`;
};

function namesIn(e: Expression): string[] {
  if (e.kind === 'name') return [e.name];
  return parts(e).flatMap(namesIn);
}

/**
 * @param calls names of hypercalls and sub-operations that are declared; those that were seen count as well
 * @throws ExpressionError saying what is wrong and where
 */
export function compileFilter(
  text: string,
  source: RecordSource,
  calls: ReadonlySet<string>,
  functions: Functions = {},
): Filter {
  if (text.trim() === '') {
    return { all: true, test: () => true, decoded: () => 0, complaint: () => undefined };
  }
  const compiler = createCompiler(source, calls, functions);
  const test = compiler.condition(parseFilter(text));
  return { all: false, test, decoded: compiler.decoded, complaint: compiler.complaint };
}

function createCompiler(source: RecordSource, calls: ReadonlySet<string>, functions: Functions) {
  const { columns } = source;
  let decoded = 0;
  let judged = 0;
  let failed = 0;
  let problem: string | undefined;

  const isCall = (name: string): boolean =>
    calls.has(name) ||
    columns.names.values.some((label) => label === name || label.split('.').includes(name));

  /** An error (a name that this record does not have) counts as not. */
  const holds = (e: Expression, scope: Scope): boolean => {
    judged++;
    try {
      return truth(evaluateExpression(e, scope));
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      failed++;
      problem = error.message;
      return false;
    }
  };

  /** Judged once for each value of a small table. */
  const once = (column: 'name' | 'errno' | 'vcpu' | 'site', judge: (id: number) => boolean): Test => {
    const known: (boolean | undefined)[] = [];
    return (chunk, k) => {
      const id = chunk[column][k] ?? 0;
      return (known[id] ??= judge(id));
    };
  };

  const constants: Readonly<Record<'name' | 'errno' | 'vcpu' | 'site', (id: number) => Scope>> = {
    name: (id) => {
      const [name = '', op = ''] = (columns.names.values[id] ?? '').split('.');
      return scopeOf({ name, op });
    },
    errno: (id) => scopeOf({ errno: columns.errnos.values[id] ?? '', refused: id === 0 ? 0n : 1n }),
    vcpu: (id) => {
      const { domain = 0, vcpu = 0 } = columns.vcpus[id] ?? {};
      return scopeOf({ dom: BigInt(domain), domain: BigInt(domain), vcpu: BigInt(vcpu) });
    },
    site: (id) => scopeOf({ rip: columns.sites.values[id] ?? 0n }),
  };

  const numbers: Readonly<Record<string, Numeric>> = {
    seq: (chunk, k) => chunk.seq?.[k] ?? chunk.base + k,
    retired: (chunk, k) => chunk.retired[k] ?? 0,
    time: (chunk, k) => chunk.time[k] ?? 0,
    depth: (chunk, k) => chunk.depth[k] ?? 0,
    result: (chunk, k) => {
      const small = chunk.result[k] ?? 0;
      if (small !== LARGE_RESULT) return small;
      decoded++;
      return Number(BigInt.asIntN(64, source.record(chunk.base + k).call.result ?? 0n));
    },
    cost: (chunk, k) => columns.cost(chunk.base + k)?.instructions ?? NaN,
    elapsed: (chunk, k) => columns.cost(chunk.base + k)?.time ?? NaN,
  };
  const numeric = (e: Expression): Numeric | undefined => {
    if (e.kind === 'literal' && typeof e.value !== 'string') {
      const value = Number(e.value);
      return () => value;
    }
    if (e.kind === 'name') return Object.hasOwn(numbers, e.name) ? numbers[e.name] : undefined;
    if (e.kind !== 'unary' || e.operator !== '-') return undefined;
    const of = numeric(e.operand);
    return of === undefined ? undefined : (chunk, k) => -of(chunk, k);
  };

  /** What a record says of a name; its arguments are decoded only when nothing else has it. */
  const recordScope = (chunk: Chunk, k: number): Scope => {
    let call: Scope | undefined;
    return {
      name: (name) => {
        const column = Object.hasOwn(numbers, name) ? numbers[name]?.(chunk, k) : undefined;
        if (column !== undefined && Number.isFinite(column)) return BigInt(column);
        const table = Object.hasOwn(TABLE_OF, name) ? TABLE_OF[name] : undefined;
        if (table !== undefined) return constants[table](chunk[table][k] ?? 0).name(name);
        if (call === undefined) {
          decoded++;
          call = hypercallScope(source.record(chunk.base + k).call);
        }
        return call.name(name);
      },
    };
  };

  /** By the names that a file gives: judged once for each site of a domain. */
  const inSites = (name: string): Test => {
    if (source.siteName === undefined) return () => false;
    const domains: (Test | undefined)[] = [];
    const within = (domain: number): Test =>
      once('site', (id) => source.siteName?.(id, domain)?.replace(/\+0x[0-9a-f]+$/, '') === name);
    return (chunk, k) => {
      const domain = columns.vcpus[chunk.vcpu[k] ?? 0]?.domain ?? 0;
      return (domains[domain] ??= within(domain))(chunk, k);
    };
  };

  const inFunction = (e: Extract<Expression, { kind: 'binary' }>): Test => {
    const name = functionName(e.right);
    if (e.left.kind !== 'name' || e.left.name !== 'rip' || name === undefined)
      throw new ExpressionError("'in' is for call sites: rip in FUNCTION", e.at);
    const ranges = functions[name];
    if (ranges === undefined && source.siteName === undefined)
      throw new ExpressionError(`there is no function '${name}'`, e.right.at);
    const named = inSites(name);
    const within = (ranges ?? []).map(({ low, high, domains }) => ({
      site: once('site', (id) => {
        const rip = columns.sites.values[id] ?? 0n;
        return rip >= low && rip < high;
      }),
      domain: once('vcpu', (id) => domains?.includes(columns.vcpus[id]?.domain ?? 0) ?? true),
    }));
    return (chunk, k) =>
      named(chunk, k) || within.some(({ site, domain }) => site(chunk, k) && domain(chunk, k));
  };

  const condition = (e: Expression): Test => {
    if (e.kind === 'binary') {
      if (e.operator === '&&' || e.operator === '||') {
        const left = condition(e.left);
        const right = condition(e.right);
        return e.operator === '&&'
          ? (chunk, k) => left(chunk, k) && right(chunk, k)
          : (chunk, k) => left(chunk, k) || right(chunk, k);
      }
      if (e.operator === 'in') return inFunction(e);
      const compare = Object.hasOwn(COMPARE, e.operator) ? COMPARE[e.operator] : undefined;
      const left = compare === undefined ? undefined : numeric(e.left);
      const right = left === undefined ? undefined : numeric(e.right);
      if (compare !== undefined && left !== undefined && right !== undefined)
        return (chunk, k) => compare(left(chunk, k), right(chunk, k));
    }
    if (e.kind === 'unary' && e.operator === '!') {
      const of = condition(e.operand);
      return (chunk, k) => !of(chunk, k);
    }
    const call = dotted(e);
    if (call !== undefined && !(call in FIELDS) && isCall(call))
      return once('name', (id) => answersTo(columns.names.values[id] ?? '', call));
    if (e.kind === 'name') {
      const number = numeric(e);
      if (number !== undefined) return (chunk, k) => number(chunk, k) !== 0;
    }
    const tables = new Set(
      namesIn(e).flatMap((name) => (Object.hasOwn(TABLE_OF, name) ? [TABLE_OF[name]] : [undefined])),
    );
    const unknown = unresolvable(e);
    const [table] = [...tables].filter((one) => one !== undefined);
    if (table !== undefined && [...tables].every((one) => one === table || one === undefined) && unknown)
      return once(table, (id) => holds(e, constants[table](id)));
    return (chunk, k) => holds(e, recordScope(chunk, k));
  };
  return {
    condition,
    decoded: () => decoded,
    complaint: () => (judged > 0 && judged === failed ? problem : undefined),
  };
}

/**
 * All that a comparison names beside columns of a table are names to compare with: `errno == EINVAL`,
 * `name == mmu_update`. An argument would be one too, but stands on the other side of a number or of its own.
 */
function unresolvable(e: Expression): boolean {
  const others = namesIn(e).filter((name) => !Object.hasOwn(TABLE_OF, name));
  if (others.length === 0) return true;
  return (
    e.kind === 'binary' &&
    (e.operator === '==' || e.operator === '!=') &&
    [e.left, e.right].every((side) => side.kind === 'name') &&
    [e.left, e.right].some((side) => side.kind === 'name' && /^(name|op|errno)$/.test(side.name))
  );
}

/** `memory_op.populate_physmap` answers to that, to `memory_op` and to `populate_physmap`. */
export function answersTo(label: string, name: string): boolean {
  if (label === name) return true;
  const dot = label.indexOf('.');
  return dot >= 0 && (label.slice(0, dot) === name || label.slice(dot + 1) === name);
}

const scopeOf = (values: Readonly<Record<string, Value>>): Scope => ({
  name: (name) => (Object.hasOwn(values, name) ? values[name] : undefined),
});
