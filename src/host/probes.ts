// The probes of this thread's own bundle: where it stands, in terms of the sources (see scripts/probes).
import { readFileSync } from 'node:fs';
import type { ProbeTable } from '../base/probe-table';
import type { Place, ProbeHost, StackPlace } from '../machine/statements';

/** The beginning of a module with probes; a call of one, or what marks a statement without; what has no place. */
const MARK = /probesOf\)?\("([^"]+)"\)|(?:\w*\$at\w*\(|\/\*@)(\d+)(?:[,)]|\*\/)|"end of [^"]+"/g;
/** Deeper than the hypervisor ever is. */
const DEEP = 1200;

interface Mark {
  readonly offset: number;
  /** undefined: from here on, code without probes. */
  readonly place: Place | undefined;
}

interface Marks {
  readonly marks: readonly Mark[];
  /** Offsets at which the bundle's lines begin. */
  readonly lines: readonly number[];
}

/** @param bundle the file that this thread runs; @param table its dist/probes.json */
export function bundleProbes(bundle: string, table: string): ProbeHost {
  // Each is read when somebody needs it: breakpoints want the table, only a stack wants the bundle's text.
  let sites: ProbeTable | undefined;
  let read: Marks | undefined;

  const placeAt = (line: number, column: number): Place | undefined => {
    const { marks, lines } = (read ??= marksIn(bundle));
    const offset = (lines[line - 1] ?? 0) + column;
    let low = 0;
    for (let high = marks.length; low < high;) {
      const middle = (low + high) >> 1;
      if ((marks[middle]?.offset ?? 0) < offset) low = middle + 1;
      else high = middle;
    }
    return marks[low - 1]?.place;
  };

  const placesOf = (calls: readonly NodeJS.CallSite[]): StackPlace[] =>
    calls.flatMap((site, index) => {
      const line = site.getLineNumber();
      const column = site.getColumnNumber();
      if (site.getFileName() !== bundle || line === null || column === null) return [];
      const place = placeAt(line, column);
      return place === undefined ? [] : [{ ...place, below: calls.length - index - 1 }];
    });

  return {
    get table() {
      return (sites ??= JSON.parse(readFileSync(table, 'utf8')) as ProbeTable);
    },
    depth: () => callSites().length,
    stack: () => placesOf(callSites()),
    stackOf: (error) => placesOf(callSitesOf(() => error.stack)),
  };
}

function marksIn(bundle: string): Marks {
  const text = readFileSync(bundle, 'utf8');
  const lines = [0];
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) lines.push(at + 1);
  let file: string | undefined;
  const marks = [...text.matchAll(MARK)].map((match): Mark => {
    const [, begins, site] = match;
    file = begins ?? file;
    const place = file === undefined || site === undefined ? undefined : { file, site: Number(site) };
    return { offset: match.index, place };
  });
  return { marks, lines };
}

/** The JavaScript stack as V8 has it, without this function. */
function callSites(): NodeJS.CallSite[] {
  return callSitesOf(() => {
    const holder: { stack?: unknown } = {};
    Error.captureStackTrace(holder, callSites);
    return holder.stack;
  });
}

/** V8 makes a stack's text when it is first asked for: then it can give the calls instead. */
function callSitesOf(stack: () => unknown): NodeJS.CallSite[] {
  const { stackTraceLimit } = Error;
  const described = Object.getOwnPropertyDescriptor(Error, 'prepareStackTrace');
  try {
    Error.stackTraceLimit = DEEP;
    Error.prepareStackTrace = (_error, sites) => sites;
    const found = stack();
    return Array.isArray(found) ? (found as NodeJS.CallSite[]) : [];
  } finally {
    // Putting back what was not there would keep V8 from making stacks in its own way.
    if (described === undefined) delete (Error as { prepareStackTrace?: unknown }).prepareStackTrace;
    else Object.defineProperty(Error, 'prepareStackTrace', described);
    Error.stackTraceLimit = stackTraceLimit;
  }
}
