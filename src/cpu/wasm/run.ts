import { EXIT } from '../exits';
import type { Node } from '../ir/nodes';
import type { Recorder } from '../ir/recorder';
import { VECTOR } from '../ops';
import { LINK, RECORD, RECORD_SIZE, REST_SHIFT } from '../record';
import { offsetOf, type FieldName } from '../state';
import { EXEC, RC, RETURN, RETURN_COUNT, RETURN_SHIFT, SLOT, SLOT_COUNT, SLOT_SHIFT } from './abi';
import { execEntry, field, global, pageOf, setField, type Routines } from './routines';

const i64 = (r: Recorder, name: FieldName): Node => r.load('i64.load', r.param('i32', 0), offsetOf(name));

/** The place of the table of blocks for code at `host`. */
function slotOf(r: Recorder, host: Node): Node {
  const hash = r.n('i32.xor', host, r.n('i32.shr_u', host, r.i32(15)));
  const index = r.n('i32.shl', r.n('i32.and', hash, r.i32(SLOT_COUNT - 1)), r.i32(SLOT_SHIFT));
  return r.n('i32.add', global(r, 'slots'), index);
}

/** The place of the shadow return cache for a return to an address. */
function returnOf(r: Recorder, to: Node): Node {
  const low = r.wrap(to);
  const hash = r.n('i32.xor', low, r.n('i32.shr_u', low, r.i32(10)));
  const index = r.n('i32.shl', r.n('i32.and', hash, r.i32(RETURN_COUNT - 1)), r.i32(RETURN_SHIFT));
  return r.n('i32.add', global(r, 'returns'), index);
}

/**
 * The end of a block, of the record `rec`: goes on to the next block when the link record after `rec` knows it and
 * nothing asks to stop; else back to the run loop, which will make the link. A return ends with `chain_return`, which
 * asks the shadow return cache first: a function has many callers, a link record two ways.
 */
export function defineChain(t: Routines): void {
  for (const returns of [false, true]) {
    t.define(returns ? 'chain_return' : 'chain', ['i32', 'i32'], ['i32'], (r, cpu, rec) => {
      const end = (): void => r.return(r.i32(RC.END));
      recordChain(r, { cpu, rec, next: i64(r, 'next'), returns, end });
      return undefined;
    });
  }
}

export interface BlockEnd {
  readonly cpu: Node;
  readonly rec: Node;
  /** The address to go on from. */
  readonly next: Node;
  readonly returns: boolean;
  /** To the run loop. */
  readonly end: () => void;
}

/** The same wherever it stands; an act `goto` goes to the next block's first record. */
export function recordChain(r: Recorder, { cpu, rec, next, returns, end }: BlockEnd): void {
  const link = r.n('i32.add', rec, r.i32(RECORD_SIZE));
  const generation = field(r, 'generation');
  // Every block begins with this look (see EXEC): a miss is the run loop's.
  const entry = execEntry(r, next);
  r.if(r.n('i64.ne', r.load('i64.load', entry, EXEC.tag), pageOf(r, next)), end);
  const host = r.n('i32.add', r.wrap(next), r.load('i32.load', entry, EXEC.addend));

  /** The next block's records and their number; none when it is not known. */
  const first = r.local('i32', r.i32(0));
  const count = r.local('i64', r.i64(0));
  const take = (at: Node, way: Record<'first' | 'count', number>): void => {
    r.assign(first, r.load('i32.load', at, way.first));
    r.assign(count, r.load('i64.load16_u', at, way.count));
  };
  /** A way of a link record, or an entry of the shadow return cache, at `at`. */
  const known = (at: Node, way: Record<'rip' | 'host' | 'generation', number>): Node =>
    r.n(
      'i32.and',
      r.n('i64.eq', r.load('i64.load', at, way.rip), next),
      r.n(
        'i32.and',
        r.n('i32.eq', r.load('i32.load', at, way.host), host),
        r.n('i32.eq', r.load('i32.load', at, way.generation), generation),
      ),
    );
  /** A branch with many targets: the table of blocks itself. */
  const fromTable = (): void => {
    const slot = slotOf(r, host);
    const plain = r.n(
      'i32.or',
      r.load('i32.load', slot, SLOT.host2),
      r.load('i32.load16_u', slot, SLOT.breakpoint),
    );
    const same = r.n(
      'i32.and',
      r.n('i64.eq', r.load('i64.load', slot, SLOT.rip), next),
      r.n('i32.eq', r.load('i32.load', slot, SLOT.host), host),
    );
    r.if(r.n('i32.and', same, r.n('i32.eqz', plain)), () => take(slot, SLOT));
  };
  const fromLink = (): void => {
    const [one, other] = LINK.ways;
    const full = (): Node => r.n('i32.eq', r.load('i32.load', link, other.generation), generation);
    r.if(
      known(link, one),
      () => take(link, one),
      () =>
        r.if(
          known(link, other),
          () => take(link, other),
          () => r.if(full(), fromTable),
        ),
    );
    r.if(r.n('i32.eqz', r.read(first)), () => {
      setField(r, 'link_from', link);
      end();
    });
  };
  if (returns) {
    const shadow = returnOf(r, next);
    r.if(
      known(shadow, RETURN),
      () => take(shadow, RETURN),
      () => {
        fromLink();
        // The next return to here goes on at once.
        r.store('i64.store', shadow, next, RETURN.rip);
        r.store('i32.store', shadow, r.read(first), RETURN.first);
        r.store('i32.store', shadow, host, RETURN.host);
        r.store('i32.store', shadow, generation, RETURN.generation);
        r.store('i32.store', shadow, r.wrap(r.read(count)), RETURN.count);
      },
    );
  } else fromLink();

  // On to it, if there is room for all of it and nothing asks to stop. What is counted so far lacks the instruction
  // just done; what will be lacks the last one, too.
  const [to, instructions] = [r.read(first), r.read(count)];
  const after = r.n('i64.add', i64(r, 'icount'), instructions);
  const tf = r.n('i32.and', r.wrap(i64(r, 'rflags')), r.i32(TF));
  const stop = r.n('i32.or', r.load('i32.atomic.load', cpu, offsetOf('kick')), tf);
  const room = r.n('i64.lt_s', after, i64(r, 'ilimit'));
  r.if(r.n('i32.and', room, r.n('i32.eqz', stop)), () => {
    setField(r, 'icount', after);
    warm(r, cpu, to, r.wrap(instructions), host, next);
    r.callVoid('goto', [cpu, to]);
  });
  end();
}

/** A block is entered: at its last spark of heat the region compiler hears of it. */
function warm(r: Recorder, cpu: Node, first: Node, count: Node, host: Node, rip?: Node): void {
  const link = r.n('i32.add', first, r.n('i32.mul', count, r.i32(RECORD_SIZE)));
  const heat = r.n('i32.sub', r.load('i32.load', link, LINK.heat), r.i32(1));
  r.store('i32.store', link, heat, LINK.heat);
  r.if(r.n('i32.eqz', heat), () => {
    // The compiler looks there for the block's address.
    if (rip !== undefined) setField(r, 'next', rip);
    r.callVoid('hot', [cpu, first, link, host]);
  });
}

/** truncate(first, count, of): copies the first `count` records of a block, closed with a link record that knows nothing. */
function defineTruncate(t: Routines, endOfBlock: number): void {
  t.define('truncate', ['i32', 'i32', 'i32'], ['i32'], (r, first, count, of) => {
    const copy = global(r, 'partial');
    const bytes = r.n('i32.mul', count, r.i32(RECORD_SIZE));
    const end = r.n('i32.add', copy, bytes);
    r.callVoid('memory.copy', [copy, first, bytes]);
    const missing = r.n('i32.shl', r.n('i32.sub', of, count), r.i32(REST_SHIFT));
    const at = r.local('i32', copy);
    r.loop(
      () => r.n('i32.lt_u', r.read(at), end),
      () => {
        const here = r.read(at);
        const flags = r.n('i32.sub', r.load('i32.load8_u', here, RECORD.flags), missing);
        r.store('i32.store8', here, flags, RECORD.flags);
        r.assign(at, r.n('i32.add', here, r.i32(RECORD_SIZE)));
      },
    );
    // The interpreter's own: a region runs whole blocks only.
    const link = r.n('i32.add', first, r.n('i32.mul', of, r.i32(RECORD_SIZE)));
    r.store('i32.store16', copy, r.load('i32.load16_u', link, LINK.entry), RECORD.handler);
    r.store('i32.store16', end, r.i32(endOfBlock), LINK.handler);
    for (const way of LINK.ways) r.store('i32.store', end, r.i32(0), way.generation);
    return copy;
  });
}

const TF = 1 << 8;
const DR6_BS = 1n << 14n;

/**
 * The run loop: finds (or has decoded) the block at rip, runs its records, keeps `icount` and `rip` exact.
 * `icount` counts the block's instructions but the last before the block runs, and the last one after it: so
 * an instruction that looks at the time ends its block and sees the number retired before it.
 *
 * An exit goes to the function at `crossing` in the table first: non-zero says that it is done with, as it would have
 * been outside, and the run goes on.
 */
export function defineRun(t: Routines, endOfBlock: number, crossing: number): void {
  defineTruncate(t, endOfBlock);

  t.define('run', ['i32'], ['i32'], (r, cpu) => {
    const bail = r.local('i32', r.i32(0));
    r.loop(
      () => r.i32(1),
      (top) => {
        const leave = (reason: Node): void => {
          r.if(r.call('dispatch', [cpu, reason, r.i32(crossing)], 'i32'), () => r.continue(top));
          r.return(reason);
        };
        const start = i64(r, 'icount');
        const left = r.n('i64.sub', i64(r, 'ilimit'), start);
        r.if(r.n('i64.le_s', left, r.i64(0)), () => r.return(r.i32(EXIT.LIMIT)));
        r.if(r.load('i32.atomic.load', cpu, offsetOf('kick')), () => r.return(r.i32(EXIT.KICK)));
        const rip = i64(r, 'rip');

        // Where its bytes are.
        const at = r.call('fetch', [cpu, rip], 'i32');
        r.if(r.n('i32.eqz', at), () => leave(r.i32(EXIT.EXCEPTION)));

        // The block: by linear address and bytes.
        const slot = slotOf(r, at);
        const other = r.n(
          'i32.or',
          r.n('i64.ne', r.load('i64.load', slot, SLOT.rip), rip),
          r.n('i32.ne', r.load('i32.load', slot, SLOT.host), at),
        );
        const decode = (): void => {
          r.if(r.call('decode', [cpu, slot, at], 'i32'), () => leave(r.i32(EXIT.EXCEPTION)));
        };
        r.if(other, decode);
        const host2 = r.load('i32.load', slot, SLOT.host2);
        r.if(host2, () => {
          const second = r.n('i64.add', pageOf(r, rip), r.i64(4096));
          const fetched = r.call('fetch', [cpu, second], 'i32');
          r.if(r.n('i32.eqz', fetched), () => leave(r.i32(EXIT.EXCEPTION)));
          r.if(r.n('i32.ne', fetched, host2), decode);
        });
        r.if(r.load('i32.load16_u', slot, SLOT.breakpoint), () => {
          r.if(r.n('i32.eqz', field(r, 'skip_break')), () => r.return(r.i32(EXIT.BREAK)));
          setField(r, 'skip_break', r.i32(0));
        });

        const stepping = r.n('i32.and', r.wrap(i64(r, 'rflags')), r.i32(TF));
        const link = field(r, 'link_from');
        const linkable = r.n('i32.eqz', r.n('i32.or', host2, r.load('i32.load16_u', slot, SLOT.breakpoint)));
        r.if(r.n('i32.and', r.n('i32.ne', link, r.i32(0)), linkable), () => {
          const [a, b] = LINK.ways;
          for (const [name, to] of [
            ['rip', 'i64'],
            ['first', 'i32'],
            ['host', 'i32'],
            ['generation', 'i32'],
          ] as const) {
            r.store(`${to}.store`, link, r.load(`${to}.load`, link, a[name]), b[name]);
          }
          r.store('i32.store16', link, r.load('i32.load16_u', link, a.count), b.count);
          r.store('i64.store', link, rip, a.rip);
          r.store('i32.store', link, r.load('i32.load', slot, SLOT.first), a.first);
          r.store('i32.store', link, at, a.host);
          r.store('i32.store16', link, r.load('i32.load16_u', slot, SLOT.count), a.count);
          r.store('i32.store', link, field(r, 'generation'), a.generation);
        });
        setField(r, 'link_from', r.i32(0));

        // As much of it as the limit allows; one instruction under TF.
        const count = r.local('i64', r.load('i64.load16_u', slot, SLOT.count));
        const first = r.local('i32', r.load('i32.load', slot, SLOT.first));
        const allowed = r.n('select', r.i64(1), left, stepping);
        const truncated = r.n(
          'i32.or',
          r.n('i64.gt_u', r.read(count), allowed),
          r.n('i32.ne', stepping, r.i32(0)),
        );
        const whole = r.wrap(r.read(count));
        const beginning = r.read(first);
        r.if(truncated, () => {
          r.assign(first, r.call('truncate', [r.read(first), r.wrap(allowed), r.wrap(r.read(count))], 'i32'));
          r.assign(count, allowed);
        });
        const n = r.read(count);
        const begin = r.read(first);
        setField(r, 'icount', r.n('i64.add', start, r.n('i64.sub', n, r.i64(1))));

        r.if(r.n('i32.eqz', truncated), () => warm(r, cpu, beginning, whole, at));
        const handler = r.local('i32', r.load('i32.load16_u', begin, RECORD.handler));
        r.if(r.n('i32.and', r.n('i32.ne', r.read(bail), r.i32(0)), r.n('i32.eqz', truncated)), () => {
          const own = r.n('i32.add', beginning, r.n('i32.mul', whole, r.i32(RECORD_SIZE)));
          r.assign(handler, r.load('i32.load16_u', own, LINK.entry));
        });
        r.assign(bail, r.i32(0));
        const result = r.call('dispatch', [cpu, begin, r.read(handler)], 'i32');

        const singleStep = (): void => {
          r.if(stepping, () => {
            // SDM Vol. 3 §17.3.1.4: a trap after the instruction.
            setField(r, 'dr6', r.n('i64.or', i64(r, 'dr6'), r.i64(DR6_BS)));
            r.callVoid('raise', [cpu, r.i32(VECTOR.DB), r.i32(-1)]);
            r.return(r.i32(EXIT.EXCEPTION));
          });
        };
        r.if(r.n('i32.eq', result, r.i32(RC.END)), () => {
          setField(r, 'icount', r.n('i64.add', i64(r, 'icount'), r.i64(1)));
          setField(r, 'rip', i64(r, 'next'));
          singleStep();
          r.continue(top);
        });

        r.if(r.n('i32.and', result, r.i32(RC.REGION)), () => {
          setField(r, 'fp_flags', r.i32(0));
          r.assign(bail, r.n('i32.and', result, r.i32(RC.BAIL)));
          r.continue(top);
        });

        const here = field(r, 'record');
        const flags = r.load('i64.load8_u', here, RECORD.flags);
        const done = r.n('i64.sub', i64(r, 'icount'), r.n('i64.shr_u', flags, r.i64(REST_SHIFT)));
        const next = r.load('i64.load', here, RECORD.next);
        setField(r, 'pending', r.i32(0));
        setField(r, 'fp_flags', r.i32(0));
        r.if(r.n('i32.and', result, r.i32(RC.FAULT)), () => {
          setField(r, 'icount', done);
          setField(r, 'rip', r.n('i64.sub', next, r.load('i64.load8_u', here, RECORD.length)));
          leave(field(r, 'exit_reason'));
        });
        setField(r, 'icount', r.n('i64.add', done, r.i64(1)));
        const ended = r.n('i32.and', result, r.i32(RC.END));
        setField(r, 'rip', r.n('select', i64(r, 'next'), next, ended));
        r.if(r.n('i32.and', result, r.i32(RC.EXIT)), () => leave(field(r, 'exit_reason')));
        singleStep();
      },
    );
    return undefined;
  });
}
