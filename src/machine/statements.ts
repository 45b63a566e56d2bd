import type { ProbeTable } from '../base/probe-table';
import { probe } from '../hypervisor/probe';
import { ExpressionError, evaluateExpression, parseExpression, truth, type Expression } from './conditions';
import { reveal, revealAll, type Revealed } from './revealed';
import type { HypervisorFrame, HypervisorValue, RunUntil, StopPoint, VcpuRef } from './target';

/**
 * Stepping through the hypervisor's own statements: which of them to hold at, and what is there then. The probes in
 * the code call `at`; where it decides to hold, the thread stays in it, serving whoever asks, until it is let go.
 */

export interface Place {
  readonly file: string;
  readonly site: number;
}

/** What the place it runs in knows of its own code: only a bundle with probes in a thread of its own has one. */
export interface ProbeHost {
  readonly table: ProbeTable;
  /** JavaScript frames on the stack. */
  depth(): number;
  /** The statements under way in probed code, innermost first. */
  stack(): readonly Place[];
}

export type StatementStop = Extract<StopPoint, { kind: 'statement' }>;

/** Where there are no probes, none of it ever happens. */
export interface Statements {
  setStops(points: readonly StatementStop[]): void;
  /** The machine begins to run; what it looks for. */
  begin(until: RunUntil): void;
  /** It stands still: whatever is called now is not the guest's doing. */
  end(): void;
  stack(): readonly HypervisorFrame[];
  /** What lies under the locals of a frame; an empty path is the locals themselves. */
  values(frame: number, path: readonly string[]): readonly HypervisorValue[];
  /** Throws ExpressionError. */
  evaluate(frame: number, expression: string): HypervisorValue;
}

interface Record {
  readonly site: number;
  readonly locals: readonly unknown[];
}

/** What a step looks for: any statement, one no deeper, one less deep, or the first of a handler's own. */
type Looking = 'in' | 'over' | 'out' | 'enter';

const NOBODY: readonly number[] = [];
/** Parts of declarations, which run on the way to what a person calls the handler. */
const PLUMBING = /\.(?!run$)\w+$/;
/** Where a hypercall's own code begins; what comes before looks up, decodes and dispatches. */
const isHandler = (file: string): boolean =>
  file.startsWith('hypervisor/hypercalls/') && !file.endsWith('/table.ts');

/**
 * @param hold blocks until whoever looks at the machine lets it go on, and answers how; undefined: not again
 * @param warn is told of a condition that says nothing where it was asked
 */
export function createStatements(
  host: ProbeHost | undefined,
  hold: (ids: readonly number[]) => RunUntil | undefined,
  isCurrent: (vcpu: VcpuRef) => boolean,
  warn: (text: string) => void,
): Statements {
  let points = new Map<
    string,
    (readonly { readonly id: number; readonly condition: Expression | undefined }[])[]
  >();
  let step: Looking | undefined;
  let from = 0;
  /** Whose calls are to be entered. */
  let entering: VcpuRef | undefined;
  /** The last statement of each function that came by, by file and function. */
  const last = new Map<string, Record>();
  let frames: readonly { readonly shown: HypervisorFrame; readonly locals: Revealed | undefined }[] = [];
  let holding = false;
  let running = false;

  const depthNow = (): number => host?.depth() ?? 0;
  const siteOf = (place: Place): NonNullable<ProbeTable[string]>[number] | undefined =>
    host?.table[place.file]?.[place.site];
  const keyOf = (place: Place): string => `${place.file} ${siteOf(place)?.function ?? ''}`;

  /** The stack as it stands; values belong to the innermost of the calls of a function. */
  function capture(): void {
    const used = new Set<string>();
    frames = (host?.stack() ?? []).flatMap((place) => {
      const site = siteOf(place);
      if (site === undefined) return [];
      const key = keyOf(place);
      const record = used.has(key) ? undefined : last.get(key);
      used.add(key);
      const { line, column } = site;
      const known = record?.site === place.site ? record.locals : undefined;
      return [
        {
          shown: { function: site.function, file: place.file, line, column },
          locals: known === undefined ? undefined : revealAll(site.locals, known),
        },
      ];
    });
  }

  function wanted(place: Place, values: readonly unknown[]): readonly number[] {
    const here = points.get(place.file)?.[place.site];
    if (here === undefined || here.length === 0) return NOBODY;
    const scope = scopeOf(revealAll(siteOf(place)?.locals ?? [], values));
    return here
      .filter(({ id, condition }) => {
        if (condition === undefined) return true;
        try {
          return truth(evaluateExpression(condition, scope));
        } catch (error) {
          if (!(error instanceof ExpressionError)) throw error;
          warn(`the condition of breakpoint ${id.toString()} does not hold: ${error.message}`);
          return false;
        }
      })
      .map(({ id }) => id);
  }

  /** Whether a step ends at a place, by what it looks for. */
  const arrivals: Readonly<{ [L in Looking]: (place: Place, depth: number) => boolean }> = {
    in: () => true,
    over: (_place, depth) => depth <= from,
    out: (_place, depth) => depth < from,
    enter: (place) =>
      isHandler(place.file) &&
      !PLUMBING.test(siteOf(place)?.function ?? '') &&
      (entering === undefined || isCurrent(entering)),
  };

  function at(file: string, site: number, locals: readonly unknown[]): void {
    // What the debugger itself runs in here while it holds the machine is not the machine's doing.
    if (holding) return;
    const place = { file, site };
    last.set(keyOf(place), { site, locals });
    const ids = wanted(place, locals);
    if (ids.length === 0 && step === undefined) return;
    // V8 walks the stack for a depth: not for every statement on the way to a handler.
    const depth = step === 'enter' ? 0 : depthNow();
    if (ids.length === 0 && (step === undefined || !arrivals[step](place, depth))) return;
    holding = true;
    from = step === 'enter' ? depthNow() : depth;
    capture();
    try {
      const until = hold(ids);
      step = until?.hypervisor;
      running = until !== undefined;
    } finally {
      holding = false;
      frames = [];
      arm();
    }
  }

  function arm(): void {
    probe.at = at;
    probe.armed = running && (step !== undefined || points.size > 0);
    if (!probe.armed) last.clear();
  }

  const frameAt = (index: number): Revealed => {
    const frame = frames[index];
    if (frame === undefined) throw new RangeError(`there is no hypervisor frame ${index.toString()}`);
    if (frame.locals === undefined)
      throw new RangeError('values of an outer call of the same function are not kept');
    return frame.locals;
  };

  return {
    setStops: (given) => {
      points = new Map();
      for (const { file, line, id, condition } of given) {
        const sites = host?.table[file] ?? [];
        // The statements that begin on the line; each is a place of its own.
        const places = points.get(file) ?? sites.map(() => []);
        for (const [site, { line: at }] of sites.entries())
          if (at === line)
            places[site] = [...(places[site] ?? []), { id, condition: condition === undefined ? undefined : parseExpression(condition) }]; // prettier-ignore
        points.set(file, places);
      }
      arm();
    },
    begin: (until) => {
      if (host === undefined) return;
      running = true;
      step = until.hypervisor === 'in' ? 'enter' : undefined;
      entering = until.vcpu ?? until.outside?.vcpu ?? until.exits?.vcpu ?? until.address?.vcpu;
      arm();
    },
    end: () => {
      running = false;
      step = undefined;
      arm();
    },
    stack: () => frames.map(({ shown }) => shown),
    values: (frame, path) => {
      let found = frameAt(frame);
      for (const name of path) {
        const next = found.children().find((child) => child.name === name);
        if (next === undefined) throw new RangeError(`there is no '${name}' any more`);
        found = next;
      }
      return found.children().map(({ shown }) => shown());
    },
    evaluate: (frame, text) => {
      const value = evaluateExpression(parseExpression(text), scopeOf(frameAt(frame)));
      const revealed =
        typeof value === 'object' && 'source' in value ? (value.source as Revealed) : undefined;
      return revealed === undefined
        ? reveal(text, typeof value === 'object' ? value.text : value).shown()
        : { ...revealed.shown(), name: text };
    },
  };
}

const scopeOf = (locals: Revealed): Parameters<typeof evaluateExpression>[1] => ({
  name: (name) =>
    locals
      .children()
      .find((child) => child.name === name)
      ?.decoded(),
});
