import type { GuestVcpu } from '../hypervisor/types';
import type { Machine, MachineSnapshot } from './machine';
import { comparePositions, firstAt, type Position } from './position';
import type { HistoryConfig, HistoryView, RunUntil } from './target';

/**
 * The run so far, as a place to go to: marks that are taken while the machine runs, and the way from one of them to any
 * later position, which the machine takes again as it did before. See docs/decisions/going-back.md.
 */
export interface History {
  /** A machine at its beginning, or none of whose past is known. */
  begin(): void;
  /** What was is of a machine that is no more. */
  forget(): void;
  /** The machine stands between two slices: a mark is taken when it is time for one. */
  follow(): void;
  /** It stands before a position at which it has been: what it says now, it has said. */
  repeats(): boolean;
  /** What comes now is no repetition any more: the future that was known is given up. @returns whether there was one */
  cut(): boolean;
  /** The same, and what was changed is not in the log: nothing before leads here again. */
  edited(): void;
  /** How far a run may go before `arrive` is asked. */
  bound(before: Position | undefined): Position | undefined;
  /**
   * The machine stands at a bound. What was changed by hand there is so again, where the run goes on beyond it.
   * @returns whether there was such
   */
  arrive(before: Position | undefined): boolean;

  /** To a position that is not before the first mark. */
  seek(to: Position): Promise<void>;
  /**
   * To the latest mark before a position; undefined: there is none. `near`: there will be marks close by that position,
   * since somebody goes back from it in small steps.
   */
  rewind(before: Position, near: boolean): Promise<Position | undefined>;
  /**
   * To where the vCPU stood before its last instruction, or the last arrival at a handler, before a position;
   * undefined: that is before the first mark, where the machine then stands.
   */
  back(vcpu: () => GuestVcpu, from: Position, overUpcalls: boolean): Promise<Position | undefined>;
  view(): HistoryView;
}

export interface HistoryHost {
  machine(): Machine;
  /** Undefined: no history is kept. */
  readonly limits: HistoryConfig | undefined;
  /** Lets messages in. */
  turn(): Promise<void>;
  /** Every domain has ended, and one is to start again. */
  restartDue(): boolean;
  /** Nobody is to be stopped for anything; and as it was. */
  quiet(on: boolean): void;
}

interface Kept {
  readonly at: Position;
  readonly snapshot: MachineSnapshot;
  /** Something was changed by hand here: not reached from marks before. */
  readonly edited: boolean;
  /** Instructions of each vCPU. */
  readonly counts: readonly number[];
}

/** Some tenths of a second to run again, and a few hundredths of it to mark. */
const INTERVAL = 64_000_000n;
/** Nearest mark to a position that somebody steps back from. */
const NEAREST = 4096n;
const SPACING = 8n;
/** Instructions before a place in which an upcall is looked for that was over there. */
const LONGEST_UPCALL = 1_000_000n;
/** Guest instructions, and exits, between two looks at messages. */
const SLICE = 1_000_000n;
const SLICE_EXITS = 2000;
/** Of a mark beside frames: the tables of frames, versions. */
const BYTES_A_FRAME = 32;

export function createHistory(host: HistoryHost): History {
  const memory = host.limits?.memory;
  const interval = host.limits?.interval ?? INTERVAL;
  /** In order. */
  let kept: Kept[] = [];
  let furthest: Position | undefined;
  let seeking = false;
  let dropped = false;

  const here = (): Position => host.machine().position();
  const latest = (holds: (one: Kept) => boolean): Kept | undefined => {
    for (let i = kept.length - 1; i >= 0; i--) {
      const one = kept[i];
      if (one !== undefined && holds(one)) return one;
    }
    return undefined;
  };
  const isBefore = (a: Position, b: Position): boolean => comparePositions(a, b) < 0;

  const bytes = (): number => {
    const machine = host.machine();
    const each = machine.cpu.mem.frameCount * BYTES_A_FRAME + (kept[0]?.snapshot.tlbs.length ?? 0);
    return machine.marks.savedBytes() + kept.length * each;
  };
  function drop(one: Kept): void {
    host.machine().marks.drop(one.snapshot.frames);
    kept = kept.filter((other) => other !== one);
  }

  /** Marks become fewer the longer ago they are; the first is the last to go. */
  function thin(limit: number): void {
    while (kept.length > 2 && bytes() > limit) {
      const now = Number(kept[kept.length - 1]?.at.retired ?? 0n);
      let best: Kept | undefined;
      let least = Infinity;
      kept.forEach((one, i) => {
        const [before, after] = [kept[i - 1], kept[i + 1]];
        if (before === undefined || after === undefined || one.edited) return;
        const gap = Number(after.at.retired - before.at.retired);
        const weight = gap / (now - Number(one.at.retired) + 1);
        if (weight < least) [best, least] = [one, weight];
      });
      const [first] = kept;
      // As far apart as they are long ago, and still too many bytes: the beginning goes.
      if (best === undefined || least > 1) {
        best = first;
        dropped = true;
      }
      if (best !== undefined) drop(best);
    }
  }

  function take(edited = false): void {
    if (memory === undefined) return;
    const at = here();
    const counts = host
      .machine()
      .vcpus()
      .map(({ cpu }) => cpu.icount());
    for (const one of kept.filter(({ at: old }) => comparePositions(old, at) === 0)) drop(one);
    const mark: Kept = { at, snapshot: host.machine().save(), edited, counts };
    kept = [
      ...kept.filter((one) => isBefore(one.at, at)),
      mark,
      ...kept.filter((one) => isBefore(at, one.at)),
    ];
    thin(memory);
  }

  /** Goes on, as before, up to a position, or until the run has its own end; nobody hears of it. */
  async function replay(to: Position, until: RunUntil = {}): Promise<'there' | 'ended'> {
    const machine = host.machine();
    let session = machine.run(until);
    session.bound(to);
    let before: Position | undefined;
    for (;;) {
      const end = session.slice(SLICE, true, SLICE_EXITS);
      if (end.kind === 'bound') return 'there';
      if (end.kind === 'slice') {
        await host.turn();
        continue;
      }
      if (end.kind === 'stop') {
        const { kind } = end.stop.reason;
        if (kind === 'step') return 'ended';
        if (kind === 'pause') continue;
      }
      // A domain has ended, or waits for what is next in the log.
      const now = here();
      if (end.kind === 'idle' || (before !== undefined && !isBefore(before, now)))
        throw new Error(`the run does not lead to instruction ${to.retired.toString()} again`);
      before = now;
      if (host.restartDue()) await machine.reboot();
      session = machine.run(until);
      session.bound(to);
    }
  }

  async function quietly<T>(work: () => Promise<T>): Promise<T> {
    if (memory === undefined) throw new Error('no history is kept');
    seeking = true;
    host.quiet(true);
    try {
      return await work();
    } finally {
      seeking = false;
      host.quiet(false);
    }
  }
  const restore = (one: Kept): void => {
    host.machine().restore(one.snapshot);
  };

  /** Marks closer and closer to a position. */
  async function approach(to: Position): Promise<void> {
    const from = latest(({ at }) => isBefore(at, to));
    if (from === undefined) return;
    let distance = NEAREST;
    const gap = to.retired - from.at.retired;
    if (gap <= 2n * distance) return;
    while (distance * SPACING < gap) distance *= SPACING;
    restore(from);
    for (; distance >= NEAREST; distance /= SPACING) {
      await replay(firstAt(to.retired - distance));
      if (isBefore(here(), to)) take();
    }
  }

  async function rewind(before: Position, near: boolean): Promise<Position | undefined> {
    if (near) await approach(before);
    const mark = latest(({ at }) => isBefore(at, before));
    if (mark !== undefined) restore(mark);
    return mark?.at;
  }

  async function seek(to: Position): Promise<void> {
    const mark = latest(({ at }) => !isBefore(to, at));
    if (mark === undefined) throw new Error('that is before the history begins');
    restore(mark);
    await replay(to);
  }

  /** The last place before `end`, from here on, at which a step of the vCPU ends; its `count`th is the last of all. */
  async function lastStep(vcpu: GuestVcpu, end: Position, count: number): Promise<Position | undefined> {
    const ref = { domain: vcpu.domain.id, vcpu: vcpu.id };
    const some = (instructions: bigint): Promise<'there' | 'ended'> =>
      replay(end, { instructions, vcpu: ref, skipUpcalls: false });
    let last: Position | undefined;
    for (let left = count - 1 - vcpu.cpu.icount(); left > 0; left = count - 1 - vcpu.cpu.icount()) {
      if ((await some(BigInt(left))) === 'there') return last;
      last = here();
    }
    while ((await some(1n)) === 'ended' && isBefore(here(), end)) last = here();
    return last;
  }

  /**
   * The same, when upcalls that came in between are run through, as single steps do: where the step began that ends at
   * `end`. Undefined where none does: then `end` is inside of an upcall, as seen from here.
   */
  async function lastOver(vcpu: GuestVcpu, end: Position): Promise<Position | undefined> {
    const ref = { domain: vcpu.domain.id, vcpu: vcpu.id };
    const steps = (instructions: bigint): Promise<'there' | 'ended'> =>
      replay(end, { instructions, vcpu: ref });
    const start = here();
    /** What upcalls retire does not count, so that the number of steps has to be looked for. */
    let [done, most] = [0n, end.retired - start.retired];
    while (done < most) {
      const half = (done + most + 1n) / 2n;
      await seek(start);
      if ((await steps(half)) === 'ended' && isBefore(here(), end)) done = half;
      else most = half - 1n;
    }
    await seek(start);
    if (done > 1n) await steps(done - 1n);
    const place = (): string => `${vcpu.cpu.get('rip')} ${vcpu.cpu.get('rsp')}`;
    for (let before: Position | undefined; ;) {
      const [last, began] = [here(), place()];
      if ((await steps(1n)) === 'there') {
        // Just behind the upcall it stands where it stood before it: that is where the step before ended.
        return place() === began ? before : undefined;
      }
      if (!isBefore(here(), end)) return last;
      before = last;
    }
  }

  /** Where a step before `from` began, if `last` is in an upcall that has come and gone since; else `last`. */
  async function beforeUpcalls(vcpu: GuestVcpu, from: Position, last: Position): Promise<Position> {
    // The upcall is known for one only where it is come to from before it.
    let tried = 0n;
    for (const one of [...kept].reverse()) {
      const distance = from.retired - one.at.retired;
      if (!isBefore(one.at, last) || distance < 4n * tried) continue;
      if (one.edited || distance > LONGEST_UPCALL) break;
      tried = distance;
      restore(one);
      const over = await lastOver(vcpu, from);
      if (over !== undefined && isBefore(over, last)) return over;
    }
    return last;
  }

  function forget(): void {
    for (const one of kept) host.machine().marks.drop(one.snapshot.frames);
    kept = [];
    dropped = false;
    furthest = undefined;
  }

  return {
    forget,
    begin() {
      forget();
      if (memory === undefined) return;
      furthest = here();
      take();
    },
    follow() {
      if (memory === undefined) return;
      const now = here();
      if (furthest === undefined || isBefore(furthest, now)) furthest = now;
      const last = latest(({ at }) => !isBefore(now, at));
      if (last === undefined || now.retired - last.at.retired >= interval) take();
    },
    repeats: () => seeking || (furthest !== undefined && isBefore(here(), furthest)),
    cut() {
      if (memory === undefined) return false;
      const now = here();
      const was = furthest !== undefined && isBefore(now, furthest);
      for (const one of kept.filter(({ at }) => isBefore(now, at))) drop(one);
      furthest = now;
      return was;
    },
    edited() {
      if (memory === undefined) return;
      host.machine().forgetFuture();
      take(true);
    },
    bound(before) {
      const now = here();
      const edit = kept.find(({ at, edited }) => edited && isBefore(now, at))?.at;
      if (before === undefined || (edit !== undefined && isBefore(edit, before))) return edit;
      return before;
    },
    arrive(before) {
      const now = here();
      if (before !== undefined && !isBefore(now, before)) return false;
      const edit = kept.find(({ at, edited }) => edited && comparePositions(at, now) === 0);
      if (edit === undefined) return false;
      restore(edit);
      return true;
    },

    seek: (to) => quietly(() => seek(to)),
    rewind: (before, near) => quietly(() => rewind(before, near)),
    back: (find, from, overUpcalls) =>
      quietly(async () => {
        // How far it is at the place that is left.
        await seek(from);
        // A fault, a privileged instruction and a delivery come to the hypervisor before anything retires.
        const there = here();
        if (from.inside === true && !there.held && comparePositions(there, from) === 0) return there;
        const vcpu = find();
        const count = vcpu.cpu.icount();
        const place = host.machine().vcpus().indexOf(vcpu);
        await approach(from);
        // A mark itself may be where the step ends; but beyond what was changed by hand nothing leads here.
        const isFar = ({ counts, edited }: Kept): boolean => edited || (counts[place] ?? 0) < count - 1;
        const earlier = kept.filter(({ at }) => isBefore(at, from));
        const mark = latest((one) => isBefore(one.at, from) && isFar(one)) ?? earlier[0];
        if (mark === undefined) return undefined;
        restore(mark);
        const began = (mark.counts[place] ?? 0) < count || mark.edited;
        const last = (await lastStep(vcpu, from, count)) ?? (began ? mark.at : undefined);
        const through = overUpcalls && last !== undefined ? await beforeUpcalls(vcpu, from, last) : last;
        if (through === undefined) restore(mark);
        else await seek(through);
        return through;
      }),
    view() {
      const [first] = kept;
      if (memory === undefined || first === undefined) return { kept: false };
      const { retired, time } = first.at;
      return {
        kept: true,
        from: { retired, time },
        position: first.at,
        whole: !dropped,
        marks: kept.length,
        bytes: bytes(),
        repeats: furthest !== undefined && isBefore(here(), furthest),
      };
    },
  };
}
