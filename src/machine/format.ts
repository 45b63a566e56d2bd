import type { RecordRow } from './records/questions';
import type { CallCount, DecodedValue, HypercallView, TraceRecord, TraceSummary, Walk } from './target';

/** How many elements of a batch are spelled out in one line of text. */
const ELEMENTS_SHOWN = 4;

/** One decoded argument on one line: `{ptr=0x1000, val=0x…}`, `[…, +3 more]`, or its short text. */
export function formatValue(v: DecodedValue): string {
  const { children } = v;
  if (children === undefined || children.length === 0) return v.text;
  if (v.type.endsWith('[]')) {
    const shown = children.slice(0, ELEMENTS_SHOWN).map(formatValue);
    if (children.length > shown.length) shown.push(`+${(children.length - shown.length).toString()} more`);
    return `[${shown.join(', ')}]`;
  }
  // A union's members mean nothing to some commands; then it has no text.
  const said = children.map((c) => [c.name, formatValue(c)] as const).filter(([, text]) => text !== '');
  return `{${said.map(([name, text]) => `${name}=${text}`).join(', ')}}`;
}

/** `event_channel_op.bind_virq` */
export const callName = (call: HypercallView): string =>
  call.op === undefined ? call.name : `${call.name}.${call.op}`;

/** strace's manner: `name(arg=…) = result (EINVAL: reason)`; the result only when there is one. */
export function formatCall(call: HypercallView): string {
  const text = `${callName(call)}(${call.args.map((a) => `${a.name}=${formatValue(a)}`).join(', ')})`;
  if (call.result === undefined) return text;
  const result = BigInt.asIntN(64, call.result);
  if (call.errno === undefined) return `${text} = ${result.toString()}`;
  return `${text} = ${result.toString()} ${call.errno}${call.reason === undefined ? '' : ` (${call.reason})`}`;
}

export function formatRecord(r: TraceRecord): string {
  const where = `${r.retired.toString().padStart(12)} d${r.domain.toString()}v${r.vcpu.toString()} ${hex(r.rip)}`;
  return `${where} ${'  '.repeat(r.depth)}${formatCall(r.call)}`;
}

/** A row of a view of the trace, as a record is printed. */
export function formatRow(row: RecordRow): string {
  const where = `${row.retired.toString().padStart(12)} d${row.domain.toString()}v${row.vcpu.toString()} ${row.site ?? row.rip}`;
  const failed =
    row.errno === undefined ? '' : ` ${row.errno}${row.reason === undefined ? '' : ` (${row.reason})`}`;
  return `${where} ${'  '.repeat(row.depth)}${row.name}(${row.text}) = ${row.result ?? ''}${failed}`;
}

export const hex = (n: bigint | number): string => `0x${n.toString(16)}`;

/** Virtual time with three digits: 870ns, 1.24µs, 35.1ms. */
export function formatTime(ns: number): string {
  const units = ['ns', 'µs', 'ms', 's'];
  let value = ns;
  let unit = 0;
  for (; value >= 999.5 && unit < units.length - 1; unit++) value /= 1000;
  const digits = unit === 0 || value >= 99.5 ? 0 : value >= 9.95 ? 1 : 2;
  return `${value.toFixed(digits)}${units[unit] ?? ''}`;
}

/** A table of counts, most frequent first; then what was refused and why, and what was trapped. */
export function formatSummary(s: TraceSummary): string {
  const most = <T extends { readonly count: number }>(list: readonly T[]): T[] =>
    [...list].sort((a, b) => b.count - a.count);
  const row = (
    ...[calls, refused, mean, median, name]: readonly [string, string, string, string, string]
  ): string =>
    `${calls.padStart(9)} ${refused.padStart(8)} ${mean.padStart(8)} ${median.padStart(8)}  ${name}`;
  const counted = ({ count, refused, between }: CallCount, name: string): string =>
    row(
      count.toString(),
      refused === 0 ? '' : refused.toString(),
      between === undefined ? '' : formatTime(between.mean),
      between === undefined ? '' : formatTime(between.median),
      name,
    );
  const lines = [
    `${s.total.toString()} hypercalls of ${s.calls.length.toString()} kinds`,
    'virtual time from each to the next of its kind: mean and median',
    row('calls', 'refused', 'mean', 'median', 'hypercall'),
  ];
  for (const c of most(s.calls)) {
    lines.push(counted(c, c.name));
    for (const op of most(c.ops)) lines.push(counted(op, `  .${op.name}`));
  }
  if (s.refusals.length > 0) {
    lines.push('', `${'times'.padStart(9)}  refused or cut short`);
    for (const { name, errno, count, reason } of most(s.refusals)) {
      const why = [errno, reason].filter((text) => text !== '').join(': ');
      lines.push(`${count.toString().padStart(9)}  ${name}  ${why}`);
    }
  }
  if (s.traps.length > 0) {
    lines.push('', `${'times'.padStart(9)}  trapped work`);
    for (const t of most(s.traps)) lines.push(`${t.count.toString().padStart(9)}  ${t.name}`);
  }
  return lines.join('\n');
}

/** A page-table walk, a line a level. */
export function formatWalk(w: Walk): string {
  const lines = [`walk of ${hex(w.address)}`];
  for (const l of w.levels) {
    const target =
      l.mfn === undefined
        ? 'not present'
        : `mfn ${hex(l.mfn)}${l.pfn === undefined ? '' : ` (pfn ${hex(l.pfn)})`}`;
    lines.push(
      `  L${l.level.toString()} table mfn ${hex(l.tableMfn)}[${l.index.toString()}] = ${hex(l.entry)} → ${target} ${l.flags.join(' ')}${l.frame === undefined ? '' : ` — ${l.frame}`}`,
    );
  }
  lines.push(
    w.machineAddress === undefined
      ? `  no translation: ${w.problem ?? 'not present'}`
      : `  machine address ${hex(w.machineAddress)}`,
  );
  return lines.join('\n');
}

/** Mnemonics of the exception vectors, SDM Vol. 3 table 6-1. */
export const VECTOR_NAMES: readonly string[] = [
  '#DE', '#DB', 'NMI', '#BP', '#OF', '#BR', '#UD', '#NM', '#DF', 'vector 9', '#TS', '#NP', '#SS', '#GP', '#PF',
  'vector 15', '#MF', '#AC', '#MC', '#XM',
]; // prettier-ignore
