import type { ProbeTable } from '../base/probe-table';
import { arm as armProbes, armed, probe, settle } from '../hypervisor/probe';
import type { GuestVcpu } from '../hypervisor/types';
import { ExpressionError, evaluateExpression, parseExpression, truth, type Expression } from './conditions';
import { crossing, isEntry, viewCrossing, type Crossing, type Crossings, type Way } from './crossings';
import { createHitCounts } from './hit-condition';
import { createRecords } from './records';
import { reveal, revealAll, type Revealed } from './revealed';
import type { CrossingView, HypervisorFrame, HypervisorValue, RunUntil, StopPoint, VcpuRef } from './target';
import type { HypervisorWatch } from './target';
import type { StateWatches } from './state-watches';

/**
 * Stepping through the hypervisor's own statements: which of them to hold at, and what is there then. The probes in
 * the code call `at`; where it decides to hold, the thread stays in it, serving whoever asks, until it is let go.
 */

export interface Place {
  readonly file: string;
  readonly site: number;
}
/** A place on the stack; `below`: the JavaScript frames under it. */
export interface StackPlace extends Place {
  readonly below: number;
}

/** What the place it runs in knows of its own code: only a bundle with probes in a thread of its own has one. */
export interface ProbeHost {
  readonly table: ProbeTable;
  /** JavaScript frames on the stack. */
  depth(): number;
  /** The statements under way in probed code, innermost first. */
  stack(): readonly StackPlace[];
  /** Those under way when an error was made. */
  stackOf(error: Error): readonly StackPlace[];
}

/** Where there are no probes, the machine is held nowhere; what it does is told all the same. */
export interface Statements {
  setStops(points: readonly StopPoint[]): void;
  /** The machine begins to run; what it looks for. */
  begin(until: RunUntil): void;
  /** It stands still: whatever is called now is not the guest's doing. */
  end(): void;
  readonly crossings: Crossings;
  stack(): readonly HypervisorFrame[];
  /** What lies under the locals of a frame; an empty path is the locals themselves. */
  values(frame: number, path: readonly string[]): readonly HypervisorValue[];
  /** Throws ExpressionError. */
  evaluate(frame: number, expression: string): HypervisorValue;
  watch(what: string | { readonly frame: number; readonly path: readonly string[] }): HypervisorWatch;
  /** The machine is another one now; `anew`: at its beginning, so that hits count from nothing. */
  forget(anew: boolean): void;
  /** Held in it: what it is at. */
  crossing(): CrossingView | undefined;
  /** Where an error was made. */
  framesOf(error: Error): readonly HypervisorFrame[];
}

export interface StatementsHost {
  readonly probes: ProbeHost | undefined;
  /** Blocks until whoever looks at the machine lets it go on, and answers how; undefined: not again. */
  hold(ids: readonly number[], text: string | undefined): RunUntil | undefined;
  isCurrent(vcpu: VcpuRef): boolean;
  /** What conditions on failing checks know besides the check's own values. */
  names(): Readonly<Record<string, bigint | string | undefined>>;
  /** Is told of a condition that says nothing where it was asked. */
  warn(text: string): void;
}

/** What a step looks for: any statement, one no deeper, one less deep, or the first of what handles a crossing. */
type Looking = 'in' | 'over' | 'out' | 'enter';

interface Point {
  readonly id: number;
  readonly condition: Expression | undefined;
}

/** Where checks fail: the first statements of what says so. They are left out of the stack. */
const CHECKS: Readonly<Record<string, readonly string[]>> = {
  'hypervisor/hypercall.ts': ['new Refusal'],
  'hypervisor/domain.ts': ['crash'],
};
const SAYERS: ReadonlySet<string> = new Set([
  'hypervisor/hypercall.ts new Refusal',
  'hypervisor/hypercall.ts fail',
  'hypervisor/domain.ts crash',
]);
/** How everything is stored in frames: who stores is the one that calls it. */
const STORES = 'hypervisor/memory.ts';

interface Shown {
  readonly shown: HypervisorFrame;
  readonly locals: Revealed | undefined;
}

export function createStatements(host: StatementsHost, watched: StateWatches): Statements {
  const { probes } = host;
  /** By file, then by site. */
  let points = new Map<string, (readonly Point[])[]>();
  let failing: readonly Point[] = [];
  let checks = new Map<string, ReadonlySet<number>>();
  /** V8's depth of the check that failed last in this crossing: what passes its failure on is less deep. */
  let failedAt = 0;
  let step: Looking | undefined;
  let from = 0;
  let deliveries = false;
  /** Whose calls are to be entered. */
  let entering: VcpuRef | undefined;
  let now: Crossing | undefined;
  const hits = createHitCounts();
  const records = createRecords();
  let frames: readonly Shown[] = [];
  let holding = false;
  let running = false;

  const depthNow = (): number => probes?.depth() ?? 0;
  const siteOf = (place: Place): NonNullable<ProbeTable[string]>[number] | undefined =>
    probes?.table[place.file]?.[place.site];
  const nameOf = (place: Place): string => `${place.file} ${siteOf(place)?.function ?? ''}`;

  const frameOf = (place: Place): HypervisorFrame | undefined => {
    const site = siteOf(place);
    return site && { function: site.function, file: place.file, line: site.line, column: site.column };
  };
  const toFrames = (places: readonly Place[]): HypervisorFrame[] =>
    withoutSayers(places, nameOf).flatMap((place) => frameOf(place) ?? []);

  /** @returns how many calls at the top are left out, where a check has failed */
  function capture(atCheck: boolean, depth: number): number {
    const all = probes?.stack() ?? [];
    const values = records.along(all, depth);
    const kept = atCheck ? withoutSayers(all, nameOf).length : all.length;
    frames = all
      .map((place, index): Shown | undefined => {
        const shown = frameOf(place);
        const locals = values[index];
        const names = siteOf(place)?.locals ?? [];
        return shown && { shown, locals: locals && revealAll(names, locals) };
      })
      .slice(all.length - kept)
      .filter((one) => one !== undefined);
    return all.length - kept;
  }

  function thoseHolding(here: readonly Point[], scope: Scope): readonly number[] {
    return here
      .filter(({ id, condition }) => {
        if (condition === undefined) return true;
        try {
          return truth(evaluateExpression(condition, scope));
        } catch (error) {
          if (!(error instanceof ExpressionError)) throw error;
          host.warn(`the condition of breakpoint ${id.toString()} does not hold: ${error.message}`);
          return false;
        }
      })
      .filter(({ id }) => hits.reached(id))
      .map(({ id }) => id);
  }

  const ownLocals = (place: Place, values: readonly unknown[]): Revealed =>
    revealAll(siteOf(place)?.locals ?? [], values);

  function wanted(file: string, site: number, values: readonly unknown[]): readonly number[] {
    const here = points.get(file)?.[site];
    if (here === undefined || here.length === 0) return NOBODY;
    return thoseHolding(here, scopeOf(ownLocals({ file, site }, values)));
  }

  /** A check has failed, and somebody wants to know. */
  function failure(file: string, site: number, values: readonly unknown[]): Change | undefined {
    if (checks.get(file)?.has(site) !== true) return undefined;
    const depth = depthNow();
    if (depth < failedAt) return undefined;
    const own = scopeOf(ownLocals({ file, site }, values));
    const names = host.names();
    const scope: Scope = { name: (name) => own.name(name) ?? names[name] };
    const ids = thoseHolding(failing, scope);
    if (ids.length === 0) return undefined;
    failedAt = depth;
    const said = (name: string): string => {
      const value = own.name(name);
      return typeof value === 'object' ? value.text : '';
    };
    const text = said('errno') === '' ? said('text') : `${said('errno')}: ${said('reason')}`;
    const call = names['name'];
    return { ids, text: typeof call === 'string' ? `${call}: ${text}` : text };
  }

  /** Whether a step ends at a place, by what it looks for. */
  const arrivals: Readonly<{ [L in Looking]: (place: Place, depth: number) => boolean }> = {
    in: () => true,
    over: (_place, depth) => depth <= from,
    out: (_place, depth) => depth < from,
    enter: (place) =>
      isEntry(nameOf(place), now, deliveries) && (entering === undefined || host.isCurrent(entering)),
  };

  function at(file: string, site: number, locals: readonly unknown[]): void {
    // What the debugger itself runs in here while it holds the machine is not the machine's doing.
    if (holding) return;
    const before = records.last();
    // V8 walks the stack for a depth: only for functions that call themselves, and not on the way to a handler.
    const recursive = probes?.table[file]?.[site]?.recursive === true;
    const here = recursive ? depthNow() : undefined;
    records.add(file, site, locals, here);
    // So is what looks at it.
    holding = true;
    let held = false;
    try {
      const change = watched.active ? noticed({ file, site }, before) : undefined;
      const failed = failing.length === 0 ? undefined : failure(file, site, locals);
      const told = change ?? failed;
      const ids = wanted(file, site, locals);
      const stops = told !== undefined || ids.length > 0;
      if (!stops && step === undefined) return;
      const depth = step === 'enter' ? 0 : (here ?? depthNow());
      if (!stops && (step === undefined || !arrivals[step]({ file, site }, depth))) return;
      held = true;
      const now = here ?? depthNow();
      const cut = capture(failed !== undefined && ids.length === 0, now);
      from = now - cut;
      const until = host.hold([...(change?.ids ?? []), ...(failed?.ids ?? []), ...ids], told?.text);
      step = until?.hypervisor;
      deliveries = false;
      running = until !== undefined;
    } finally {
      holding = false;
      if (held) {
        frames = [];
        arm();
      }
    }
  }

  /** What has changed, and by which statement: one of this function's, or the last of what it called. */
  function noticed(here: Place, before: Place | undefined): Change | undefined {
    const change = watched.changed();
    if (change === undefined || before === undefined) return change;
    const own = records.lastBefore((one) => nameOf(one) === nameOf(here));
    const by = before.file === STORES ? (records.lastBefore((one) => one.file !== STORES) ?? before) : before;
    const said = (place: Place): string => {
      const at = frameOf(place);
      return `${place.file.slice(place.file.lastIndexOf('/') + 1)}:${(at?.line ?? 0).toString()} (${at?.function ?? ''})`;
    };
    const who =
      own === undefined || own === by ? `by ${said(by)}` : `by ${said(own)}, which called ${said(by)}`;
    return { ids: change.ids, text: `${change.text}, ${who}` };
  }

  /** Does something that may run probed code itself. */
  function quietly<T>(work: () => T): T {
    const before = holding;
    holding = true;
    try {
      return work();
    } finally {
      holding = before;
    }
  }

  function arm(): void {
    probe.at = at;
    const looking = step !== undefined || points.size > 0 || failing.length > 0 || watched.active;
    armProbes(probes !== undefined && running && looking);
    if (!armed()) records.clear();
  }

  const crossings: Crossings = {
    get active() {
      return armed() || watched.active;
    },
    begin: (way: Way, vcpu: GuestVcpu, own: boolean) => {
      now = quietly(() => crossing(way, vcpu, own));
      failedAt = 0;
    },
    leave: () => {
      now = undefined;
    },
    end: () => {
      now = undefined;
      const change = watched.active ? quietly(() => watched.changed()) : undefined;
      return change && { kind: 'state', ...change };
    },
  };

  const frameAt = (index: number): Revealed => {
    const frame = frames[index];
    if (frame === undefined) throw new RangeError(`there is no hypervisor frame ${index.toString()}`);
    if (frame.locals === undefined)
      throw new RangeError('its values were not kept: nobody was looking when it was called');
    return frame.locals;
  };

  return {
    setStops: (given) => {
      const parse = (text: string | undefined): Expression | undefined =>
        text === undefined ? undefined : parseExpression(text);
      points = new Map();
      for (const point of given) {
        if (point.kind !== 'statement') continue;
        const { file, line, id } = point;
        const sites = probes?.table[file] ?? [];
        const condition = parse(point.condition);
        // The statements that begin on the line; each is a place of its own.
        const places = points.get(file) ?? sites.map(() => []);
        for (const [site, { line: at }] of sites.entries())
          if (at === line) places[site] = [...(places[site] ?? []), { id, condition }];
        points.set(file, places);
      }
      failing = given
        .filter((point) => point.kind === 'event')
        .filter(({ filter }) => filter === 'failing-check')
        .map(({ id, condition }) => ({ id, condition: parse(condition) }));
      checks = checksIn(failing.length === 0 ? {} : (probes?.table ?? {}));
      hits.set(given.filter(({ kind }) => kind === 'statement' || kind === 'event'));
      watched.set(given.filter((point) => point.kind === 'state'));
      arm();
    },
    begin: (until) => {
      running = true;
      step = until.hypervisor === 'in' && probes !== undefined ? 'enter' : undefined;
      deliveries = until.deliveries ?? false;
      entering = until.vcpu ?? until.outside?.vcpu ?? until.exits?.vcpu ?? until.address?.vcpu;
      quietly(() => {
        watched.begin();
      });
      arm();
      // Single steps are short; what goes on for a while is worth compiling for.
      if (!armed() && until.instructions === undefined) settle();
    },
    end: () => {
      running = false;
      step = undefined;
      now = undefined;
      arm();
    },
    crossings,
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
    watch: (what) =>
      quietly(() =>
        typeof what === 'string' ? watched.look(what) : watched.keep(frameAt(what.frame), what.path),
      ),
    forget: (anew) => {
      if (anew) hits.reset();
      watched.forget(anew);
      arm();
    },
    crossing: () =>
      frames.length === 0
        ? undefined
        : viewCrossing(
            now,
            frames.map(({ shown }) => `${shown.file} ${shown.function}`),
          ),
    framesOf: (error) => toFrames(probes?.stackOf(error) ?? []),
  };
}

type Scope = Parameters<typeof evaluateExpression>[1];
interface Change {
  readonly ids: readonly number[];
  readonly text: string;
}

const NOBODY: readonly number[] = [];

/** The first statement of each function that says that a check has failed. */
function checksIn(table: ProbeTable): Map<string, ReadonlySet<number>> {
  return new Map(
    Object.entries(CHECKS).map(([file, names]) => [
      file,
      new Set(names.map((name) => table[file]?.findIndex((site) => site.function === name) ?? -1)),
    ]),
  );
}

/** From the check on that has failed, not from what it calls to say so. */
function withoutSayers(places: readonly Place[], nameOf: (place: Place) => string): readonly Place[] {
  const first = places.findIndex((place) => !SAYERS.has(nameOf(place)));
  return first === -1 ? places : places.slice(first);
}

const scopeOf = (locals: Revealed): Scope => ({
  name: (name) =>
    locals
      .children()
      .find((child) => child.name === name)
      ?.decoded(),
});
