import { ExpressionError, parseExpression } from '../../machine/expressions';
import type { Expression } from '../../machine/expressions';
import type { Gate, StopPoint } from '../../machine/target';
import type { Code } from '../../machine/compiled';
import { compile } from '../c/compile';
import { noHypervisorSources } from '../hypervisor-source';
import type { Image } from '../symbols';
import { noSymbols, symbolsOfDomains } from '../symbols';
import { resolveException } from './exception';
import { pointsAt, resolveFunction } from './function';
import { numbersFor } from './in-machine';
import { unknownAt } from './unknown';
import { parseHitCondition } from '../../machine/hit-condition';
import { parseLogMessage } from './log-message';
import { resolveStatement } from './statement';
import type {
  Breakpoint,
  BreakpointKind,
  BreakpointOptions,
  BreakpointSpecs,
  Environment,
  Resolution,
  StopPointSpec,
} from './types';

export type {
  Breakpoint,
  BreakpointKind,
  BreakpointOptions,
  BreakpointSpecs,
  DataAccess,
  Environment,
} from './types';

/** How each kind finds the places in the machine that it means. */
const resolvers: {
  readonly [K in BreakpointKind]: (spec: BreakpointSpecs[K], environment: Environment) => Resolution;
} = {
  instruction: ({ address, domain }) => ({
    points: [{ kind: 'instruction', address, ...(domain === undefined ? {} : { domain }) }],
    address,
  }),
  function: resolveFunction,
  source: ({ file, line, ...options }, { symbols, hypervisor }) => {
    if (line < 1) return { points: [], message: `there is no line ${line}: they are counted from 1` };
    const own = hypervisor.fileOf(file);
    if (own !== undefined) return resolveStatement(own, line, options, hypervisor);
    const found = symbols.codes.flatMap((image) => {
      const code = image.symbols.code(file, line);
      return code === undefined ? [] : [{ image, code }];
    });
    if (found.length === 0) {
      const known = symbols.codes.some((image) => image.symbols.hasLines);
      return {
        points: [],
        message: known ? `no code for ${file}:${line}` : 'the guest image has no line table',
      };
    }
    // Another build of the source may have its next code farther down: that is another place.
    const nearest = Math.min(...found.map(({ code }) => code.line));
    const here = found.filter(({ code }) => code.line === nearest);
    const address = here[0]?.code.addresses[0];
    return {
      points: here.flatMap(({ image, code }) => code.addresses.flatMap((at) => pointsAt(at, image, symbols))),
      line: nearest,
      ...(address === undefined ? {} : { address }),
    };
  },
  exception: resolveException,
  data: ({ place, access, condition }) => ({
    points: [
      'expression' in place
        ? { kind: 'state', expression: place.expression, ...(condition === undefined ? {} : { condition }) }
        : { kind: 'data', place, access },
    ],
  }),
};

/** All breakpoints of a session: a table per kind, keyed by what the client replaces as one (a source file, or the kind). */
export interface Breakpoints {
  /** Replaces everything under that key; what has not changed keeps its number and its hits. */
  set<K extends BreakpointKind>(kind: K, key: string, specs: readonly BreakpointSpecs[K][]): Breakpoint[];
  /** Resolves all again, for a new machine, or because there is other code in it. @returns those whose state changed */
  resolve(environment?: Environment): Breakpoint[];
  all(): Breakpoint[];
  /** What the machine is to stop at; also where a Linux kernel has loaded a module, while something waits for code. */
  points(): StopPoint[];
  get(id: number): Breakpoint | undefined;
  /** Those of an exception filter. */
  exceptions(filter: string): Breakpoint[];
  /** Counts a hit and returns how many there have been. */
  countHit(id: number): number;
  resetHits(): void;
}

export function createBreakpoints(): Breakpoints {
  const tables = new Map<string, Breakpoint[]>();
  const hits = new Map<number, number>();
  let environment: Environment | undefined;
  let nextId = 1;

  const all = (): Breakpoint[] => [...tables.values()].flat();

  return {
    set: (kind, key, specs) => {
      const slot = `${kind} ${key}`;
      const old = [...(tables.get(slot) ?? [])];
      const fresh = specs.map((spec) => {
        const identity = identify(spec);
        const kept = old.findIndex((one) => identify(one.spec) === identity);
        const id = old[kept]?.id ?? nextId++;
        if (kept !== -1) old.splice(kept, 1);
        return build(id, kind, spec, environment);
      });
      for (const { id } of old) hits.delete(id);
      tables.set(slot, fresh);
      return fresh;
    },
    resolve: (fresh) => {
      environment = fresh ?? environment;
      const changed: Breakpoint[] = [];
      for (const [slot, list] of tables) {
        const rebuilt = list.map((one) => build(one.id, one.kind, one.spec, environment));
        changed.push(...rebuilt.filter((one, index) => differs(one, list[index])));
        tables.set(slot, rebuilt);
      }
      return changed;
    },
    all,
    points: () => [...all().flatMap(({ points }) => points), ...loadPoints(all(), environment)],
    get: (id) => all().find((one) => one.id === id),
    exceptions: (filter) =>
      all().filter(
        ({ kind, spec, verified }) =>
          kind === 'exception' && verified && 'filter' in spec && spec.filter === filter,
      ),
    countHit: (id) => {
      const count = (hits.get(id) ?? 0) + 1;
      hits.set(id, count);
      return count;
    },
    resetHits: () => hits.clear(),
  };
}

/** Number of the stops that are nobody's: the debugger looks at what has been loaded, and goes on. */
export const MODULE_LOADED = 0;
/** Linux calls it when a module is in its place, before the first of its code runs (kernel/module/main.c). */
const LOADED = 'do_init_module';

/** It has no code yet, or only that of other domains, which have loaded what this one may load, too. */
function waitsFor({ verified, points }: Breakpoint, { domains }: Image): boolean {
  const code = points.filter((point) => point.kind === 'instruction');
  return (
    !verified ||
    (code.length > 0 && !code.some(({ domain }) => domain === undefined || domains.includes(domain)))
  );
}

function loadPoints(all: readonly Breakpoint[], environment: Environment | undefined): StopPoint[] {
  if (environment === undefined) return [];
  const { symbols } = environment;
  const named = all.filter(({ kind }) => kind === 'source' || kind === 'function');
  return symbols.codes.flatMap((image) => {
    const address = image.symbols.linux === undefined ? undefined : image.symbols.find(LOADED);
    return address === undefined || !named.some((one) => waitsFor(one, image))
      ? []
      : pointsAt(address, image, symbols).map((point) => ({ ...point, id: MODULE_LOADED }));
  });
}

const identify = (spec: unknown): string =>
  JSON.stringify(spec, (_key, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value));

const differs = (a: Breakpoint, b: Breakpoint | undefined): boolean =>
  a.verified !== b?.verified || a.message !== b.message || a.address !== b.address || a.line !== b.line;

/** Anything in it that cannot be read makes it unverified, with the message that says so. */
function build<K extends BreakpointKind>(
  id: number,
  kind: K,
  spec: BreakpointSpecs[K],
  environment: Environment | undefined,
): Breakpoint<K> {
  const problems: string[] = [];
  const read = <T>(text: string | undefined, parse: (text: string) => T | string): T | undefined => {
    if (text === undefined || text.trim() === '') return undefined;
    const result = parse(text);
    if (typeof result !== 'string') return result;
    problems.push(result);
    return undefined;
  };
  const condition = read(spec.condition, parseCondition);
  const hit = read(spec.hitCondition, parseHitCondition);
  const log = read(spec.logMessage, parseLogMessage);

  const clean = spec.condition?.trim() === '' ? { ...spec, condition: undefined } : spec;
  const resolution = resolvers[kind](
    clean,
    environment ?? { symbols: symbolsOfDomains([]), hypercalls: [], hypervisor: noHypervisorSources },
  );
  const pending = environment === undefined;
  const verified = !pending && problems.length === 0 && resolution.points.length > 0;
  const gate = gateOf(spec, condition, resolution, environment);
  const inMachine = typeof gate === 'object';
  const unknown =
    environment !== undefined && condition !== undefined && typeof gate === 'string'
      ? unknownAt(condition, resolution.points, environment.symbols)
      : [];
  const said = [
    ...(resolution.message === undefined ? [] : [resolution.message]),
    ...(unknown.length === 0
      ? []
      : [`condition '${spec.condition ?? ''}': no '${unknown.join("', '")}' is known at this place; where it cannot be evaluated, it stops`]), // prettier-ignore
  ];
  const message = pending
    ? 'pending until the machine is there'
    : (problems[0] ?? (said.length === 0 ? undefined : said.join('; ')));
  return {
    id,
    kind,
    spec,
    verified,
    message,
    address: resolution.address,
    line: resolution.line,
    points: verified
      ? resolution.points.map((point, index) => ({ ...(inMachine ? gate.at(index) : {}), ...point, id }))
      : [],
    condition: inMachine ? undefined : condition,
    hit: inMachine ? undefined : hit,
    log,
    ...(typeof gate === 'string' && verified ? { slow: gate } : {}),
  };
}

/** What is in the hypervisor: the machine evaluates conditions and counts hits where it looks. */
const isInside = ({ kind }: StopPointSpec): boolean => kind === 'statement' || kind === 'state';
const isCode = ({ kind }: StopPointSpec): boolean => kind === 'instruction';

type PointGate = Omit<Gate, 'id'>;

/** What the machine is to decide before it stops at each of the points; where it cannot, why not. */
function gateOf(
  { condition: text, hitCondition }: BreakpointOptions,
  condition: Expression | undefined,
  { points, address }: Resolution,
  environment: Environment | undefined,
): { at(index: number): PointGate } | string | undefined {
  if (environment === undefined) return undefined;
  const hits = hitCondition === undefined || hitCondition.trim() === '' ? {} : { hits: hitCondition };
  if (points.some(isInside)) return { at: () => hits };
  const names = condition === undefined ? {} : numbersAt(condition, points, address, environment);
  const plain: PointGate = {
    ...(condition === undefined || text === undefined ? {} : { condition: text }),
    ...hits,
  };
  if (names !== undefined)
    return { at: () => ({ ...plain, ...(Object.keys(names).length === 0 ? {} : { names }) }) };
  if (condition === undefined) return undefined;
  const codes = codesAt(condition, points, environment);
  return typeof codes === 'string'
    ? codes
    : { at: (index) => ({ ...plain, ...(codes[index] === undefined ? {} : { code: codes[index] }) }) };
}

/** A condition over C variables, for each point; a text says why it is the debugger's to evaluate. */
function codesAt(
  condition: Expression,
  points: readonly StopPointSpec[],
  { symbols }: Environment,
): readonly Code[] | string {
  const known = new Map<string, Code | string>();
  const codes: Code[] = [];
  for (const point of points) {
    if (point.kind !== 'instruction') return 'what it asks for is decoded at the stop';
    const { address, domain } = point;
    const image =
      domain === undefined
        ? symbols.images.length === 1
          ? symbols.images[0]
          : undefined
        : symbols.codes.find(({ domains }) => domains.includes(domain));
    if (image === undefined) return 'several domains can come by, each with names of its own';
    const key = `${symbols.codes.indexOf(image)} ${address}`;
    const code = known.get(key) ?? compile(condition, { symbols: image.symbols, pc: address });
    known.set(key, code);
    if (typeof code === 'string') return code;
    codes.push(code);
  }
  return codes;
}

/** Names mean the same at all of the points, or it is not the machine's. */
function numbersAt(
  condition: Expression,
  points: readonly StopPointSpec[],
  address: bigint | undefined,
  { symbols }: Environment,
): Gate['names'] | undefined {
  const { images } = symbols;
  const [only] = images;
  const found = points.map((point) => {
    const domain = 'domain' in point ? point.domain : undefined;
    const own = domain !== undefined ? symbols.of(domain) : images.length === 1 ? only?.symbols : undefined;
    return numbersFor(condition, own ?? noSymbols, address, !isCode(point));
  });
  const [first] = found;
  const same = found.every((one) => one !== undefined && identify(one) === identify(first));
  return same ? first : undefined;
}

function parseCondition(text: string): ReturnType<typeof parseExpression> | string {
  try {
    const expression = parseExpression(text);
    if (expression.kind === 'assign')
      return `condition '${text}': '=' sets, and a condition only looks; '==' compares`;
    return expression;
  } catch (error) {
    if (error instanceof ExpressionError) return `condition '${text}': ${error.message}`;
    throw error;
  }
}
