import { callName } from '../format';
import { ExpressionError } from '../expressions';
import type { DecodedValue, TraceRecord } from '../target';
import { CHUNK, type Axis } from './columns';
import { compileFilter, type Filter, type Functions } from './filter';
import { argumentsText, exportText, resultText, type ExportedRecord } from './formats';
import type {
  Answer,
  CallTotal,
  DetailRow,
  FilterSpec,
  Lane,
  Likeness,
  Question,
  QuestionKind,
  RecordRow,
  TraceQuestions,
} from './questions';
import { siteKey } from './questions';
import type { RecordSource } from './source';

/** Work of one answer: records looked at in their columns, and decoded ones. Some 10 ms each. */
const LOOKED_AT = 400_000;
const DECODED = 2_000;
/** Filters whose results are kept: that of the table, of what it was before, of a comparison. */
const REMEMBERED = 4;
const MOST_ROWS = 1_000;
const MOST_BUCKETS = 4_000;
/** Entries of a multicall that are listed; Xen runs no more of them than a guest can write down. */
const MOST_ENTRIES = 1_000;
/** One-line texts are cut here: rows are a screen wide. */
const MOST_TEXT = 400;
const COST_CLASSES = 40;

/** Positions that passed a filter, ascending. */
interface Found {
  readonly key: string;
  readonly filter: Filter;
  readonly generation: number;
  positions: Float64Array;
  matched: number;
  /** Everything before has been looked at. */
  scanned: number;
}

type Answers = { readonly [K in QuestionKind]: (ask: TraceQuestions[K]['ask']) => Answer<K> };

/** Answers what a trace can be asked. @param calls names of declared hypercalls and sub-operations */
export function createRecordViews(
  source: RecordSource,
  calls: ReadonlySet<string>,
): (question: Question) => Answer {
  const { columns } = source;
  let known: Found[] = [];

  /** Fresh for a filter that was not asked for lately. Throws an ExpressionError. */
  const foundBy = ({ filter: text, functions = {} }: FilterSpec): Found => {
    const key = JSON.stringify([text.trim(), functions]);
    const before = known.find((one) => one.key === key && one.generation === source.generation());
    const found: Found = before ?? {
      key,
      filter: compileFilter(text, source, calls, functionsOf(functions)),
      generation: source.generation(),
      positions: new Float64Array(CHUNK),
      matched: 0,
      scanned: columns.first(),
    };
    known = [found, ...known.filter((one) => one !== found && one.generation === found.generation)].slice(
      0,
      REMEMBERED,
    );
    return found;
  };

  /** A stretch further. */
  const look = (found: Found): void => {
    const { filter } = found;
    found.scanned = Math.max(found.scanned, columns.first());
    const limit = Math.min(columns.next(), found.scanned + LOOKED_AT);
    const before = filter.decoded();
    while (found.scanned < limit && filter.decoded() - before < DECODED) {
      const chunk = columns.chunk(found.scanned);
      if (chunk === undefined) break;
      const end = Math.min(limit, chunk.base + chunk.count);
      if (found.matched + CHUNK > found.positions.length) {
        const more = new Float64Array(found.positions.length * 2);
        more.set(found.positions);
        found.positions = more;
      }
      let position = found.scanned;
      for (; position < end && filter.decoded() - before < DECODED; position++)
        if (filter.test(chunk, position - chunk.base)) found.positions[found.matched++] = position;
      found.scanned = position;
    }
  };

  /** Rows of what is gone from the front are not there any more. */
  const gone = (found: Found): number =>
    found.filter.all ? columns.first() : lowerBound(found.positions, found.matched, columns.first());
  const matchedBy = (found: Found): number =>
    found.filter.all ? columns.next() - columns.first() : found.matched - gone(found);
  const positionOf = (found: Found, index: number): number =>
    found.filter.all ? columns.first() + index : (found.positions[gone(found) + index] ?? -1);

  const rowOf = (at: number, record: TraceRecord & { readonly site?: string }): RecordRow => {
    const { call } = record;
    const result = resultText(record);
    const cost = record.depth > 0 ? undefined : columns.cost(at);
    const text = argumentsText(record);
    return {
      at,
      seq: record.seq,
      retired: Number(record.retired),
      time: Number(record.time),
      domain: record.domain,
      vcpu: record.vcpu,
      depth: record.depth,
      name: callName(call),
      text: text.length > MOST_TEXT ? `${text.slice(0, MOST_TEXT)}…` : text,
      ...(result === undefined ? {} : { result }),
      ...(call.errno === undefined ? {} : { errno: call.errno }),
      ...(call.reason === undefined ? {} : { reason: call.reason }),
      rip: hex(record.rip),
      ...(record.caller === undefined ? {} : { caller: hex(record.caller) }),
      ...(record.site === undefined ? {} : { site: record.site }),
      ...(cost === undefined ? {} : { cost }),
    };
  };
  const row = (at: number): RecordRow => rowOf(at, source.record(at));

  const vcpuAt = (at: number): number => {
    const chunk = columns.chunk(at);
    return chunk?.vcpu[at - chunk.base] ?? -1;
  };
  const depthAt = (at: number): number => {
    const chunk = columns.chunk(at);
    return chunk?.depth[at - chunk.base] ?? 0;
  };
  /** The entries of a multicall come before it, one after another on its vCPU. */
  const entriesOf = (at: number): RecordRow[] => {
    const vcpu = vcpuAt(at);
    const found: number[] = [];
    for (let p = at - 1; p >= columns.first() && found.length < MOST_ENTRIES; p--) {
      if (vcpuAt(p) !== vcpu) continue;
      if (depthAt(p) === 0) break;
      found.push(p);
    }
    return found.reverse().map(row);
  };
  const within = (at: number): number | undefined => {
    const vcpu = vcpuAt(at);
    for (let p = at + 1; p < columns.next(); p++) if (vcpuAt(p) === vcpu && depthAt(p) === 0) return p;
    return undefined;
  };

  /** Calls `visit` for what a filter found of [from, to), until it answers with false. */
  const each = (found: Found, from: number, to: number, visit: (position: number) => unknown): void => {
    if (found.filter.all) {
      for (let p = Math.max(from, columns.first()); p < Math.min(to, columns.next()); p++)
        if (visit(p) === false) return;
      return;
    }
    for (let i = lowerBound(found.positions, found.matched, from); i < found.matched; i++) {
      const position = found.positions[i] ?? to;
      if (position >= to || visit(position) === false) return;
    }
  };

  const answers: Answers = {
    info: () => {
      const span = (axis: Axis): readonly [number, number] => {
        const start = columns.chunk(columns.first());
        const end = columns.chunk(columns.next() - 1);
        return [start?.[axis][0] ?? 0, end?.[axis][columns.next() - 1 - end.base] ?? 0];
      };
      const loading = source.loading?.();
      return {
        generation: source.generation(),
        first: columns.first(),
        next: columns.next(),
        names: columns.names.values,
        errnos: columns.errnos.values.slice(1),
        vcpus: columns.vcpus,
        retired: span('retired'),
        time: span('time'),
        ...(loading === undefined ? {} : { loading }),
      };
    },
    scan: (ask) => {
      const where = { generation: source.generation(), first: columns.first(), next: columns.next() };
      try {
        const found = foundBy(ask);
        if (found.filter.all) return { ...where, matched: matchedBy(found), scanned: columns.next() };
        look(found);
        const complaint = found.matched === 0 ? found.filter.complaint() : undefined;
        return {
          ...where,
          matched: matchedBy(found),
          scanned: found.scanned,
          ...(complaint === undefined ? {} : { complaint }),
        };
      } catch (error) {
        if (!(error instanceof ExpressionError)) throw error;
        return {
          ...where,
          matched: 0,
          scanned: columns.next(),
          problem: { message: error.message, at: error.at },
        };
      }
    },
    rows: ({ start, count, ...spec }) => {
      const found = foundBy(spec);
      const end = Math.min(start + Math.min(count, MOST_ROWS), matchedBy(found));
      const rows: RecordRow[] = [];
      for (let i = Math.max(0, start); i < end; i++) rows.push(row(positionOf(found, i)));
      return { rows };
    },
    at: ({ positions }) => ({ rows: positions.slice(0, MOST_ROWS).map(row) }),
    record: ({ at }) => {
      const record = source.record(at);
      const parent = record.depth > 0 ? within(at) : undefined;
      return {
        row: rowOf(at, record),
        args: record.call.args.map(detailOf),
        entries: record.call.name === 'multicall' && record.depth === 0 ? entriesOf(at) : [],
        ...(parent === undefined ? {} : { within: parent }),
      };
    },
    index: ({ at, ...spec }) => {
      const found = foundBy(spec);
      if (found.filter.all) return { index: Math.min(at, columns.next() - 1) - columns.first() };
      const here = lowerBound(found.positions, found.matched, at + 1) - gone(found);
      return { index: Math.max(-1, here - 1) };
    },
    moment: ({ retired, domain, vcpu }) => {
      for (let p = columns.reached('retired', retired + 1) - 1; p >= columns.first(); p--) {
        const its = columns.vcpus[vcpuAt(p)];
        if (domain === undefined || (its?.domain === domain && its.vcpu === vcpu)) return { at: p };
      }
      return {};
    },
    timeline: ({ axis, from, to, buckets, ...spec }) => {
      const found = foundBy(spec);
      const many = Math.min(buckets, MOST_BUCKETS);
      const lanes: Lane[] = columns.vcpus.map((vcpu) => ({
        vcpu,
        counts: new Array<number>(many).fill(0),
        refused: new Array<number>(many).fill(0),
      }));
      const scale = many / Math.max(1, to - from);
      each(found, columns.reached(axis, from), columns.reached(axis, to), (position) => {
        const chunk = columns.chunk(position);
        if (chunk === undefined) return;
        const k = position - chunk.base;
        const lane = lanes[chunk.vcpu[k] ?? 0];
        const bucket = Math.min(many - 1, Math.floor(((chunk[axis][k] ?? 0) - from) * scale));
        const counts = (chunk.errno[k] === 0 ? undefined : lane?.refused) as number[] | undefined;
        const all = lane?.counts as number[] | undefined;
        if (all !== undefined) all[bucket] = (all[bucket] ?? 0) + 1;
        if (counts !== undefined) counts[bucket] = (counts[bucket] ?? 0) + 1;
      });
      return { lanes };
    },
    totals: (spec) => {
      const found = foundBy(spec);
      const totals = columns.names.values.map((name) => ({
        name,
        count: 0,
        refused: 0,
        instructions: 0,
        time: 0,
      }));
      const costs = new Array<number>(COST_CLASSES).fill(0);
      each(found, columns.first(), columns.next(), (position) => {
        const chunk = columns.chunk(position);
        if (chunk === undefined) return;
        const k = position - chunk.base;
        const total = totals[chunk.name[k] ?? 0];
        if (total === undefined) return;
        total.count++;
        if (chunk.errno[k] !== 0) total.refused++;
        const cost = chunk.depth[k] === 0 ? columns.cost(position) : undefined;
        if (cost === undefined) return;
        total.instructions += cost.instructions;
        total.time += cost.time;
        const index = Math.min(COST_CLASSES - 1, Math.floor(Math.log2(Math.max(1, cost.instructions))));
        costs[index] = (costs[index] ?? 0) + 1;
      });
      const called: readonly CallTotal[] = totals.filter(({ count }) => count > 0);
      while (costs.length > 0 && costs.at(-1) === 0) costs.pop();
      return { calls: [...called].sort((a, b) => b.count - a.count), costs };
    },
    signatures: ({ from, likeness }) => {
      const start = Math.max(from, columns.first());
      const end = Math.min(columns.next(), start + (likeness === 'calls' ? LOOKED_AT / 10 : DECODED));
      const of: number[] = [];
      const signatures: number[] = [];
      for (let p = start; p < end; p++) {
        of.push(vcpuAt(p));
        signatures.push(signature(source, p, likeness));
      }
      return { vcpus: columns.vcpus, of, signatures, next: end, last: columns.next() };
    },
    sites: ({ from, to, ...spec }) => {
      const known = new Map<number, Set<number>>();
      const sites: { readonly domain: number; readonly address: string }[] = [];
      let count = 0;
      each(foundBy(spec), from, to, (at) => {
        const chunk = columns.chunk(at);
        const domain = columns.vcpus[vcpuAt(at)]?.domain ?? 0;
        const its = known.get(domain) ?? new Set();
        known.set(domain, its);
        const site = chunk?.site[at - chunk.base] ?? 0;
        if (!its.has(site)) sites.push({ domain, address: hex(columns.sites.values[site] ?? 0n) });
        its.add(site);
        return ++count < MOST_ROWS;
      });
      return { sites };
    },
    export: ({ format, from, to, head, names = {}, ...spec }) => {
      const found = foundBy(spec);
      const records: ExportedRecord[] = [];
      let next = to;
      each(found, from, to, (at) => {
        if (records.length === MOST_ROWS) next = Math.min(next, at);
        if (next < to) return false;
        const cost = columns.cost(at);
        const record = source.record(at);
        const site = names[siteKey(record.domain, hex(record.caller ?? record.rip))];
        records.push({
          record: site === undefined ? record : { ...record, site },
          ...(cost === undefined ? {} : { cost }),
        });
        return true;
      });
      const done = next === to;
      return {
        text: exportText(format, records, { first: head, last: done }),
        count: records.length,
        next,
        done,
      };
    },
  };

  return (question) => {
    source.update();
    const { kind, ...ask } = question;
    return (answers[kind] as (ask: unknown) => Answer)(ask);
  };
}

const hex = (n: bigint): string => `0x${n.toString(16)}`;

const functionsOf = (given: FilterSpec['functions'] = {}): Functions =>
  Object.fromEntries(
    Object.entries(given).map(([name, ranges]) => [
      name,
      ranges.map(({ low, high, ...where }) => ({ low: BigInt(low), high: BigInt(high), ...where })),
    ]),
  );

/** Index of the first of `count` ascending numbers that is not below `value`. */
function lowerBound(list: Float64Array, count: number, value: number): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((list[middle] ?? Infinity) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

const detailOf = (v: DecodedValue): DetailRow => ({
  name: v.name,
  type: v.type,
  text: v.text,
  ...(v.memory === undefined ? {} : { memory: { space: v.memory.space, address: hex(v.memory.address) } }),
  ...(v.children === undefined || v.children.length === 0 ? {} : { children: v.children.map(detailOf) }),
});

/** FNV-1a, 32 bits. */
function hashOf(text: string, start = 0x811c_9dc5): number {
  let hash = start;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193);
  return hash >>> 0;
}

const argumentText = (v: DecodedValue): string =>
  `${v.name}=${v.value?.toString(16) ?? v.text}${v.children === undefined ? '' : `{${v.children.map(argumentText).join()}}`}`;

function signature(source: RecordSource, at: number, likeness: Likeness): number {
  const { columns } = source;
  const chunk = columns.chunk(at);
  if (chunk === undefined) return 0;
  const k = at - chunk.base;
  const name = columns.names.values[chunk.name[k] ?? 0] ?? '';
  const plain = hashOf(`${name} ${chunk.depth[k] ?? 0} ${columns.errnos.values[chunk.errno[k] ?? 0] ?? ''}`);
  if (likeness === 'calls') return plain;
  const { call, retired, rip } = source.record(at);
  const full = hashOf(`${call.args.map(argumentText).join()} ${call.result?.toString(16) ?? ''}`, plain);
  return likeness === 'arguments' ? full : hashOf(`${retired.toString()} ${rip.toString(16)}`, full);
}
