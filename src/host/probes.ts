// The probes of this thread's own bundle: where it stands, in terms of the sources (see scripts/probes).
import { readFileSync } from 'node:fs';
import type { ProbeTable } from '../base/probe-table';
import type { Place, ProbeHost } from '../machine/statements';

/** A call of a probe, or the end of a module that has some. */
const MARK = /\.at\("([^"]+)", ?(\d+), ?\[|"end of ([^"]+)"/g;
/** Deeper than the hypervisor ever is. */
const DEEP = 400;

interface Mark {
  readonly offset: number;
  /** undefined: from here on, code without probes. */
  readonly place: Place | undefined;
}

/** @param bundle the file that this thread runs; @param table its dist/probes.json */
export function bundleProbes(bundle: string, table: string): ProbeHost {
  let read:
    | { readonly table: ProbeTable; readonly marks: readonly Mark[]; readonly lines: readonly number[] }
    | undefined;
  // Some megabytes of text that only those need who step through the hypervisor.
  const known = (): NonNullable<typeof read> => (read ??= load(bundle, table));

  const placeAt = (line: number, column: number): Place | undefined => {
    const { marks, lines } = known();
    const offset = (lines[line - 1] ?? 0) + column;
    let low = 0;
    for (let high = marks.length; low < high;) {
      const middle = (low + high) >> 1;
      if ((marks[middle]?.offset ?? 0) < offset) low = middle + 1;
      else high = middle;
    }
    return marks[low - 1]?.place;
  };

  return {
    get table() {
      return known().table;
    },
    depth: () => callSites().length,
    stack: () =>
      callSites().flatMap((site) => {
        const line = site.getLineNumber();
        const column = site.getColumnNumber();
        if (site.getFileName() !== bundle || line === null || column === null) return [];
        return placeAt(line, column) ?? [];
      }),
  };
}

function load(bundle: string, table: string): { table: ProbeTable; marks: Mark[]; lines: number[] } {
  const text = readFileSync(bundle, 'utf8');
  const lines = [0];
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) lines.push(at + 1);
  const marks = [...text.matchAll(MARK)].map((match): Mark => {
    const [, file, site] = match;
    return {
      offset: match.index,
      place: file === undefined || site === undefined ? undefined : { file, site: Number(site) },
    };
  });
  return { table: JSON.parse(readFileSync(table, 'utf8')) as ProbeTable, marks, lines };
}

/** The JavaScript stack as V8 has it, without this function. */
function callSites(): NodeJS.CallSite[] {
  const { stackTraceLimit } = Error;
  const described = Object.getOwnPropertyDescriptor(Error, 'prepareStackTrace');
  try {
    Error.stackTraceLimit = DEEP;
    Error.prepareStackTrace = (_error, sites) => sites;
    const holder: { stack?: unknown } = {};
    Error.captureStackTrace(holder, callSites);
    return Array.isArray(holder.stack) ? (holder.stack as NodeJS.CallSite[]) : [];
  } finally {
    // Putting back what was not there would keep V8 from making stacks in its own way.
    if (described === undefined) delete (Error as { prepareStackTrace?: unknown }).prepareStackTrace;
    else Object.defineProperty(Error, 'prepareStackTrace', described);
    Error.stackTraceLimit = stackTraceLimit;
  }
}
