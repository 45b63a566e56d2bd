import { FRAME_FLAG, FRAME_TYPE_NAMES } from '../hypervisor/frames';
import type { Domain, Hypervisor } from '../hypervisor/types';
import { conditionHolds } from './conditions';
import { createHitCounts } from './hit-condition';
import { ExpressionError, parseExpression, type Expression } from './expressions';
import { ownerName } from './inspect';
import { memberOf, reveal, type Revealed } from './revealed';
import type { HypervisorWatch, StopPoint } from './target';

/**
 * State of the hypervisor's that somebody wants to see change: `frame[0x123].type`, `d1.port[5].pending`,
 * `d1.grant[8]`, any field that it keeps of a domain (`d1.totalPages`) or of a vCPU (`d1v0.run`), or something that a
 * local variable of its leads to.
 */

export type StatePoint = Extract<StopPoint, { kind: 'state' }>;

export interface Change {
  readonly ids: readonly number[];
  /** `frame[0x123].type: writable → L1` */
  readonly text: string;
}

export interface StateWatches {
  set(points: readonly StatePoint[]): void;
  readonly active: boolean;
  /** What things are now is what they are compared with from here on. */
  begin(): void;
  /** What has changed since it was last asked. */
  changed(): Change | undefined;
  /** The machine is another one now: what was reached from local variables of the hypervisor's is gone. */
  forget(anew: boolean): void;
  /** Throws an ExpressionError for what is not there. */
  look(expression: string): HypervisorWatch;
  /** Keeps what is reached by a path from the locals of a frame. Throws an ExpressionError where that is nowhere. */
  keep(locals: Revealed, path: readonly string[]): HypervisorWatch;
}

type Reader = () => unknown;

interface Entry {
  readonly point: StatePoint;
  readonly name: string;
  readonly read: Reader;
  readonly condition: Expression | undefined;
  last: unknown;
}

/** `frame 0x12`, `port d1 5`, `grant d1 8`, as one says it. */
const SPOKEN = /^\s*(?:(frame)\s+|(port|grant)\s+(d\d+)[\s:]+)(0[xX][0-9a-fA-F]+|\d+)(?=$|[\s.])/;
const written = (text: string): string =>
  text
    .replace(SPOKEN, (_all, frame: string | undefined, what = '', domain = '', number = '') =>
      frame === undefined
        ? `${String(domain)}.${String(what)}[${String(number)}]`
        : `frame[${String(number)}]`,
    )
    .trim();

/** A kept thing by its number. */
const HANDLE = /^@(\d+)$/;

export function createStateWatches(hypervisor: () => Hypervisor, warn: (text: string) => void): StateWatches {
  const hits = createHitCounts();
  let entries: readonly Entry[] = [];
  const kept = new Map<number, { readonly name: string; readonly read: Reader }>();
  let nextHandle = 1;

  const domainOf = (id: number, at: number): Domain => {
    const found = hypervisor().domains.get(id);
    if (found === undefined) throw new ExpressionError(`there is no domain ${id.toString()}`, at);
    return found;
  };
  const frameAt = (mfn: number, at: number): object => {
    const { frames } = hypervisor();
    if (mfn < 0 || mfn >= frames.count)
      throw new ExpressionError(`the machine has no frame 0x${mfn.toString(16)}`, at);
    return {
      owner: ownerName(frames.owner[mfn] ?? 0),
      type: FRAME_TYPE_NAMES[frames.type[mfn] ?? 0] ?? 'none',
      typeCount: frames.typeCount[mfn] ?? 0,
      count: frames.refs[mfn] ?? 0,
      pinned: ((frames.flags[mfn] ?? 0) & FRAME_FLAG.PINNED) !== 0,
    };
  };
  const root = (name: string, at: number): Reader => {
    const [, domain, vcpu] = /^d(\d+)(?:v(\d+))?$/.exec(name) ?? [];
    if (domain === undefined)
      throw new ExpressionError(
        `there is no '${name}' here; there are frame[MFN], dN, dN.port[N], dN.grant[REF] and dNvN`,
        at,
      );
    if (vcpu === undefined) return () => domainOf(Number(domain), at).state;
    return () => {
      const found = domainOf(Number(domain), at).vcpus[Number(vcpu)];
      if (found === undefined) throw new ExpressionError(`there is no ${name}`, at);
      return found.state;
    };
  };
  /** `dN.port` and `dN.grant`, which are the hypervisor's and the guest's together. */
  const tables: Readonly<Record<string, (domain: Domain, index: number) => object | undefined>> = {
    port: (domain, index) => hypervisor().portAt(domain, index),
    grant: (domain, index) => hypervisor().grantAt(domain, index),
  };
  const indexOf = (e: Expression): number => {
    if (e.kind === 'literal' && typeof e.value === 'bigint') return Number(e.value);
    throw new ExpressionError('a number is needed here', e.at);
  };
  const member = (of: Reader, name: string, at: number): Reader => {
    return () => {
      const value = of();
      if (typeof value === 'object' && value !== null && name in value) return memberOf(value, name);
      const names = typeof value === 'object' && value !== null ? Object.keys(value) : [];
      throw new ExpressionError(
        `there is no '${name}'${names.length === 0 ? '' : `; there are ${names.join(', ')}`}`,
        at,
      );
    };
  };
  const reader = (e: Expression): Reader => {
    if (e.kind === 'name') return root(e.name, e.at);
    if (e.kind === 'member') return member(reader(e.of), e.name, e.at);
    if (e.kind !== 'index') throw new ExpressionError('names, members and elements only', e.at);
    const { of } = e;
    const index = indexOf(e.index);
    if (of.kind === 'name' && of.name === 'frame') return () => frameAt(index, e.at);
    const table = of.kind === 'member' && of.of.kind === 'name' ? tables[of.name] : undefined;
    const domain = of.kind === 'member' && of.of.kind === 'name' ? /^d(\d+)$/.exec(of.of.name) : null;
    if (table === undefined || domain === null) return member(reader(of), index.toString(), e.at);
    return () => {
      const found = table(domainOf(Number(domain[1]), e.at), index);
      if (found === undefined) throw new ExpressionError(`there is no element ${index.toString()}`, e.at);
      return found;
    };
  };
  const find = (given: string): { readonly name: string; readonly read: Reader } => {
    const handle = HANDLE.exec(given.trim())?.[1];
    if (handle === undefined) {
      const name = written(given);
      return { name, read: reader(parseExpression(name)) };
    }
    const found = kept.get(Number(handle));
    if (found === undefined) throw new ExpressionError(`${given} is not known any more`, 0);
    return found;
  };
  /** What is no longer there is a value, too. */
  const sample = (read: Reader): unknown => {
    try {
      return flat(read());
    } catch (error) {
      if (error instanceof ExpressionError) return undefined;
      throw error;
    }
  };
  const told = ({ point, name, last, condition }: Entry, now: unknown): boolean => {
    if (condition === undefined) return true;
    const scope = { old: reveal('old', last).decoded(), new: reveal('new', now).decoded() };
    return conditionHolds(
      condition,
      { name: (one) => (one === 'old' || one === 'new' ? scope[one] : undefined) },
      ({ message }) => {
        warn(`the condition of breakpoint ${point.id.toString()} on ${name} does not hold: ${message}`);
      },
    );
  };

  return {
    set: (points) => {
      const before = new Map(entries.map((one) => [one.point.expression, one.last]));
      hits.set(points);
      entries = points.flatMap((point): Entry[] => {
        try {
          const { name, read } = find(point.expression);
          const condition = point.condition === undefined ? undefined : parseExpression(point.condition);
          const last = before.has(point.expression) ? before.get(point.expression) : sample(read);
          return [{ point, name, read, condition, last }];
        } catch (error) {
          if (!(error instanceof ExpressionError)) throw error;
          warn(`breakpoint ${point.id.toString()} on ${point.expression}: ${error.message}`);
          return [];
        }
      });
    },
    get active() {
      return entries.length > 0;
    },
    begin: () => {
      for (const one of entries) one.last = sample(one.read);
    },
    changed: () => {
      let found: { ids: number[]; texts: string[] } | undefined;
      for (const one of entries) {
        const now = sample(one.read);
        if (now === one.last) continue;
        if (told(one, now) && hits.reached(one.point.id)) {
          found ??= { ids: [], texts: [] };
          found.ids.push(one.point.id);
          found.texts.push(`${one.name}: ${shown(one.last)} → ${shown(now)}`);
        }
        one.last = now;
      }
      return found === undefined ? undefined : { ids: found.ids, text: found.texts.join('; ') };
    },
    forget: (anew) => {
      if (anew) hits.reset();
      kept.clear();
      const gone = entries.filter(({ point }) => HANDLE.test(point.expression));
      entries = entries.filter((one) => !gone.includes(one));
      for (const { point, name } of gone)
        warn(`breakpoint ${point.id.toString()} on ${name}: that was the machine's before it went elsewhere`);
    },
    look: (expression) => {
      const { name, read } = find(expression);
      const handle = HANDLE.test(expression.trim());
      return { expression: handle ? expression.trim() : name, name, text: shown(flat(read())) };
    },
    keep: (locals, path) => {
      let parent: Revealed = locals;
      let found: Revealed | undefined = locals;
      for (const name of path) {
        parent = found;
        found = parent.children().find((child) => child.name === name);
        if (found === undefined) throw new ExpressionError(`there is no '${name}' any more`, 0);
      }
      const { value } = found;
      const name = path.map((part, i) => (i === 0 ? part : /^\d+$/.test(part) ? `[${part}]` : `.${part}`)).join(''); // prettier-ignore
      if (path.length < 2 && (typeof value !== 'object' || value === null))
        throw new ExpressionError(`${name} is a local variable; what it leads to could be watched`, 0);
      const holder = parent.value;
      const key = path[path.length - 1] ?? '';
      const read: Reader = path.length < 2 ? () => value : () => memberIn(holder, key);
      const handle = nextHandle++;
      kept.set(handle, { name, read });
      return { expression: `@${handle.toString()}`, name, text: shown(flat(read())) };
    },
  };
}

function memberIn(holder: unknown, key: string): unknown {
  if (holder instanceof Map) return [...holder].find(([name]) => String(name) === key)?.[1];
  if (holder instanceof Set) return [...holder][Number(key)];
  return typeof holder === 'object' && holder !== null ? memberOf(holder, key) : undefined;
}

/** Something that can be compared: what is an object is its members. */
function flat(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const members = reveal('', value)
    .children()
    .map((child) => `${child.name}: ${child.shown().text}`);
  return `{ ${members.join(', ')} }`;
}

const shown = (value: unknown): string =>
  value === undefined ? 'not there' : typeof value === 'string' ? value : reveal('', value).shown().text;
