import type { DecodedValue, HypercallView, TraceRecord, TraceSummary, Walk } from './target';

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

export const hex = (n: bigint | number): string => `0x${n.toString(16)}`;

/** A table of counts, most frequent first. */
export function formatSummary(s: TraceSummary): string {
  const lines = [
    `${s.total.toString()} hypercalls of ${s.calls.length.toString()} kinds`,
    `${'calls'.padStart(9)} ${'refused'.padStart(8)}  hypercall`,
  ];
  const row = (count: number, refused: number, name: string): string =>
    `${count.toString().padStart(9)} ${(refused === 0 ? '' : refused.toString()).padStart(8)}  ${name}`;
  for (const c of [...s.calls].sort((a, b) => b.count - a.count)) {
    lines.push(row(c.count, c.refused, c.name));
    for (const op of [...c.ops].sort((a, b) => b.count - a.count))
      lines.push(row(op.count, op.refused, `  .${op.name}`));
  }
  if (s.traps.length > 0) {
    lines.push('', `${'times'.padStart(9)}  trapped work`);
    for (const t of s.traps) lines.push(`${t.count.toString().padStart(9)}  ${t.name}`);
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
