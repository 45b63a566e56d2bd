// What can be written at a place in a filter.

export interface Completion {
  readonly label: string;
  readonly kind: 'field' | 'call' | 'error' | 'argument' | 'function' | 'unit';
  readonly detail?: string;
}

export interface Vocabulary {
  /** Fields of every record, and what they are. */
  readonly fields: Readonly<Record<string, string>>;
  /** `memory_op.populate_physmap` */
  readonly calls: readonly string[];
  readonly errnos: readonly string[];
  readonly arguments: readonly string[];
  /** Names of functions that begin so. */
  functions(prefix: string): Promise<readonly string[]>;
}

export interface Completions {
  /** What is replaced: from here to the cursor. */
  readonly from: number;
  readonly items: readonly Completion[];
}

const MOST = 30;

export async function completeFilter(
  text: string,
  cursor: number,
  vocabulary: Vocabulary,
): Promise<Completions> {
  const before = text.slice(0, cursor);
  const prefix = /[A-Za-z_][\w.]*$/.exec(before)?.[0] ?? '';
  const from = cursor - prefix.length;
  const ahead = before.slice(0, from).trimEnd();
  const items = (await candidates(ahead, prefix, vocabulary)).filter(({ label }) => matches(label, prefix));
  return {
    from,
    items: items.sort((a, b) => rank(a, prefix) - rank(b, prefix)).slice(0, MOST),
  };
}

const matches = (label: string, prefix: string): boolean =>
  label.toLowerCase().includes(prefix.toLowerCase()) && label !== prefix;
/** What begins so comes first; otherwise they stay in their order. */
const rank = ({ label }: Completion, prefix: string): number =>
  label.toLowerCase().startsWith(prefix.toLowerCase()) ? 0 : 1;

async function candidates(ahead: string, prefix: string, v: Vocabulary): Promise<Completion[]> {
  if (/\bin$/.test(ahead)) return (await v.functions(prefix)).map((label) => ({ label, kind: 'function' }));
  if (/\berrno\s*[!=]=$/.test(ahead)) return v.errnos.map((label) => ({ label, kind: 'error' }));
  const bases = [...new Set(v.calls.map((name) => name.split('.')[0] ?? name))];
  if (/\bname\s*[!=]=$/.test(ahead)) return bases.map((label) => ({ label, kind: 'call' }));
  if (/\bop\s*[!=]=$/.test(ahead)) {
    const ops = v.calls.flatMap((name) => (name.includes('.') ? [name.slice(name.indexOf('.') + 1)] : []));
    return [...new Set(ops)].map((label) => ({ label, kind: 'call' }));
  }
  // After a value only an operator can follow.
  if (/[\w)"'`]$/.test(ahead)) return [];
  return [
    ...Object.entries(v.fields).map(([label, detail]) => ({ label, kind: 'field', detail }) as const),
    ...[...bases, ...v.calls.filter((name) => name.includes('.'))].map(
      (label) => ({ label, kind: 'call', detail: 'hypercall' }) as const,
    ),
    ...v.arguments.map((label) => ({ label, kind: 'argument', detail: 'argument' }) as const),
  ];
}
