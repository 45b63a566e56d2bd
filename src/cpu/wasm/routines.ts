import { EXIT } from '../exits';
import { irOps, type IrOps } from '../ir/ops';
import { Emitter } from '../ir/emitter';
import type { Node } from '../ir/nodes';
import { Recorder } from '../ir/recorder';
import { VECTOR } from '../ops';
import { walk, WALK, type PhysicalOps } from '../paging';
import { offsetOf, type FieldName } from '../state';
import { ATTENTION } from '../types';
import {
  ACCESS, EXEC, EXEC_ENTRIES, EXEC_ENTRY_SHIFT, GLOBALS, RC, TLB, TLB_BARRED, TLB_EMPTY, TLB_ENTRIES, TLB_ENTRY_SHIFT, TLB_EXEC,
  TLB_USED, TLB_USED_MAX,
} from './abi'; // prettier-ignore
import type { FunctionRef, ModuleBuilder } from './encoder';
import { lowerRoutine } from './lower';
import type { ValType } from './opcodes';

/**
 * The functions behind the inlined fast paths: soft TLB misses, stores that need attention, page walk. They
 * are recorded and emitted with the same IR as instructions. Parameter 0 is always the vCPU.
 */
export class Routines {
  readonly functions = new Map<string, FunctionRef>();
  readonly handlerType: number;
  constructor(readonly builder: ModuleBuilder) {
    this.handlerType = builder.type({ params: ['i32', 'i32'], results: ['i32'] });
  }

  import(name: string, params: readonly ValType[], results: readonly ValType[]): void {
    this.functions.set(name, this.builder.importFunction('env', name, { params, results }));
  }

  define(
    name: string,
    params: readonly ValType[],
    results: readonly ValType[],
    record: (r: Recorder, ...params: Node[]) => Node | undefined,
  ): void {
    const ref = this.builder.declare(name, { params, results });
    this.functions.set(name, ref);
    const r = new Recorder();
    const value = record(r, ...params.map((type, i) => r.param(type, i)));
    if (value !== undefined) r.return(value);
    const e = new Emitter(params.length, lowerRoutine(this.functions, this.handlerType));
    // Control does not reach the end of a function whose last statement returns.
    this.builder.define(
      ref,
      e.function(r.body, (end) => {
        if (results.length > 0) end.code.byte(0x00);
      }),
    );
  }
}

/** i32 word of the globals page. */
export const global = (r: Recorder, name: Exclude<keyof typeof GLOBALS, 'base'>): Node =>
  r.pure('i32.load', [r.i32(0)], GLOBALS[name]);
export const field = (r: Recorder, name: FieldName): Node =>
  r.load('i32.load', r.param('i32', 0), offsetOf(name));
export const setField = (r: Recorder, name: FieldName, v: Node): void =>
  r.store(v.type === 'i32' ? 'i32.store' : 'i64.store', r.param('i32', 0), v, offsetOf(name));

const PAGE = ~0xfffn;
export const pageOf = (r: Recorder, va: Node): Node => r.n('i64.and', va, r.i64(PAGE));

/** Address of the TLB entry for a linear address. */
export function tlbEntry(r: Recorder, va: Node): Node {
  const scaled = r.wrap(r.n('i64.shr_u', va, r.i64(12 - TLB_ENTRY_SHIFT)));
  const masked = r.n('i32.and', scaled, r.i32((TLB_ENTRIES - 1) << TLB_ENTRY_SHIFT));
  return r.n('i32.add', masked, field(r, 'tlb'));
}

/** Address of the fetch entry for a linear address. */
export function execEntry(r: Recorder, va: Node): Node {
  const scaled = r.wrap(r.n('i64.shr_u', va, r.i64(12 - EXEC_ENTRY_SHIFT)));
  const masked = r.n('i32.and', scaled, r.i32((EXEC_ENTRIES - 1) << EXEC_ENTRY_SHIFT));
  return r.n('i32.add', r.n('i32.add', masked, r.i32(TLB_EXEC)), field(r, 'tlb'));
}

/** What `walk` needs besides Ops: machine memory by machine address. */
function physical(r: Recorder): PhysicalOps<Node> {
  const place = (address: Node, inside: (host: Node) => void, outside?: () => void): void => {
    const frame = r.n('i64.shr_u', address, r.i64(12));
    const ok = r.n('i64.lt_u', frame, r.bool(global(r, 'frameCount')));
    r.if(ok, () => inside(r.n('i32.add', global(r, 'framesBase'), r.wrap(address))), outside);
  };
  return {
    physLoad(w, address) {
      const v = r.local('i64', r.i64(-1));
      place(address, (host) => r.assign(v, r.load(w === 64 ? 'i64.load' : `i64.load${w}_u`, host)));
      return r.read(v);
    },
    physStore(w, address, v) {
      place(address, (host) => {
        r.call('attend', [r.param('i32', 0), host, r.i32(w / 8)], 'i32');
        r.store(w === 64 ? 'i64.store' : `i64.store${w}`, host, v);
      });
    },
  };
}

const routineOps = (r: Recorder): IrOps & PhysicalOps<Node> => ({ ...irOps(r), ...physical(r) });

/** Imports; the order is the module's import order. */
function declareImports(t: Routines): void {
  // decode(cpu, slot, host): fills the slot; 0, or non-zero when it raised.
  t.import('decode', ['i32', 'i32', 'i32'], ['i32']);
  // cow(frame); smc(cpu, frame, offset, bytes)
  t.import('cow', ['i32'], []);
  t.import('smc', ['i32', 'i32', 'i32', 'i32'], []);
  // watch(cpu, machine address, linear, bytes, write): non-zero to leave.
  t.import('watch', ['i32', 'i32', 'i64', 'i32', 'i32'], ['i32']);
  // fp(cpu, operation, a, b, c): the exact path; gathers into fp_flags.
  t.import('fp', ['i32', 'i32', 'i64', 'i64', 'i64'], ['i64']);
  t.import('fp_settle', ['i32'], ['i32']);
  // hot(cpu, first record, link record, host): a block has been entered often.
  t.import('hot', ['i32', 'i32', 'i32', 'i32'], []);
  for (let n = 0; n <= 6; n++) {
    t.import(`helper${n}`, ['i32', 'i32', ...Array<ValType>(n).fill('i64')], ['i64']);
  }
}

function defineFaults(t: Routines): void {
  t.define('raise', ['i32', 'i32', 'i32'], [], (r, _cpu, vector, error) => {
    setField(r, 'exit_reason', r.i32(EXIT.EXCEPTION));
    setField(r, 'exit_vector', vector);
    setField(r, 'exit_error', error);
    return undefined;
  });
}

function defineAttention(t: Routines): void {
  /** Before a store of `bytes` at `host`, inside one frame: copy-on-write and decoded code. Returns the attention byte. */
  t.define('attend', ['i32', 'i32', 'i32'], ['i32'], (r, cpu, host, bytes) => {
    const inFrames = r.n('i32.sub', host, global(r, 'framesBase'));
    const frame = r.n('i32.shr_u', inFrames, r.i32(12));
    // Beyond memory (the page of ones lies below the frames): nothing, the store is dropped by commit.
    const attention = r.load('i32.load8_u', r.n('i32.add', global(r, 'attention'), frame));
    r.if(r.n('i32.and', attention, r.i32(ATTENTION.COW)), () => r.callVoid('cow', [frame]));
    r.if(r.n('i32.and', attention, r.i32(ATTENTION.CODE)), () => {
      const offset = r.n('i32.and', inFrames, r.i32(4095));
      const line = (at: Node): Node => r.bool(r.n('i32.shr_u', at, r.i32(6)));
      const last = r.n('i32.sub', r.n('i32.add', offset, bytes), r.i32(1));
      const lines = r.load(
        'i64.load',
        r.n('i32.add', global(r, 'codeLines'), r.n('i32.shl', frame, r.i32(3))),
      );
      const hit = (at: Node): Node => r.n('i64.shr_u', lines, line(at));
      const any = r.n('i64.and', r.n('i64.or', hit(offset), hit(last)), r.i64(1));
      r.if(r.condition(any), () => r.callVoid('smc', [cpu, frame, offset, bytes]));
    });
    return attention;
  });

  /** Asks the watch hook; leaves with EXIT when it says so. Parameters: cpu, machine address, linear, bytes, write. */
  t.define('ask_watch', ['i32', 'i32', 'i64', 'i32', 'i32'], [], (r, cpu, machine, linear, bytes, write) => {
    const stop = r.call('watch', [cpu, machine, linear, bytes, write], 'i32');
    r.if(stop, () => {
      setField(r, 'exit_reason', r.i32(EXIT.WATCH));
      setField(r, 'exit_address', linear);
      setField(r, 'exit_info', r.bool(r.n('i32.or', bytes, r.n('i32.shl', write, r.i32(8)))));
      setField(r, 'pending', r.n('i32.or', field(r, 'pending'), r.i32(RC.EXIT)));
    });
    return undefined;
  });

  /** Stores `bytes` from `source` at `host`, inside one frame, with all that the frame asks for. */
  t.define('commit', ['i32', 'i32', 'i64', 'i32', 'i32'], [], (r, cpu, host, linear, source, bytes) => {
    const machine = r.n('i32.sub', host, global(r, 'framesBase'));
    const inside = r.n('i32.lt_u', r.n('i32.shr_u', machine, r.i32(12)), global(r, 'frameCount'));
    r.if(inside, () => {
      const attention = r.call('attend', [cpu, host, bytes], 'i32');
      r.callVoid('memory.copy', [host, source, bytes]);
      r.if(r.n('i32.and', attention, r.i32(ATTENTION.WATCH_WRITE)), () =>
        r.callVoid('ask_watch', [cpu, machine, linear, bytes, r.i32(1)]),
      );
    });
    return undefined;
  });
}

/** Empties the TLB set at an address. */
export function defineFlush(t: Routines): void {
  t.define('flush_set', ['i32'], [], (r, set) => {
    const used = r.load('i32.load', set, TLB_USED);
    r.if(
      r.n('i32.gt_u', used, r.i32(TLB_USED_MAX)),
      () => r.callVoid('memory.fill', [set, r.i32(0xff), r.i32(TLB_EXEC)]),
      () => {
        const list = r.n('i32.add', set, r.i32(TLB_USED + 4));
        const end = r.n('i32.add', list, r.n('i32.shl', used, r.i32(2)));
        const at = r.local('i32', list);
        r.loop(
          () => r.n('i32.lt_u', r.read(at), end),
          () => {
            const entry = r.load('i32.load', r.read(at));
            for (const part of [TLB.tagRead, TLB.tagWrite, TLB.addend])
              r.store('i64.store', entry, r.i64(TLB_EMPTY), part);
            r.assign(at, r.n('i32.add', r.read(at), r.i32(4)));
          },
        );
      },
    );
    r.callVoid('memory.fill', [
      r.n('i32.add', set, r.i32(TLB_EXEC)),
      r.i32(0xff),
      r.i32(TLB_USED - TLB_EXEC),
    ]);
    r.store('i32.store', set, r.i32(0), TLB_USED);
    return undefined;
  });
}

function defineTranslation(t: Routines): void {
  for (const probe of [false, true]) {
    const name = probe ? 'walk_probe' : 'walk';
    t.define(name, ['i32', 'i64', 'i64', 'i64', 'i64'], ['i64'], (r, _cpu, linear, access, user, cr3) =>
      walk(routineOps(r), { linear, access, user, cr3, probe }),
    );
  }

  /** Walks and fills the TLB entry: the address in linear memory, or 0 with #PF raised. */
  t.define('fill', ['i32', 'i64', 'i32'], ['i32'], (r, cpu, va, access) => {
    const user = r.n('i32.eq', field(r, 'cpl'), r.i32(3));
    const cr3 = r.load('i64.load', cpu, offsetOf('cr3'));
    const result = r.call('walk', [cpu, va, r.bool(access), r.bool(user), cr3], 'i64');
    r.if(r.n('i64.lt_s', result, r.i64(0)), () => {
      r.callVoid('raise', [cpu, r.i32(VECTOR.PF), r.n('i32.and', r.wrap(result), r.i32(0xffff))]);
      setField(r, 'exit_address', va);
      r.return(r.i32(0));
    });
    const frame = r.n('i64.shr_u', r.n('i64.and', result, r.i64(0x000f_ffff_ffff_f000n)), r.i64(12));
    const inside = r.n('i64.lt_u', frame, r.bool(global(r, 'frameCount')));
    const page = pageOf(r, va);
    const host = r.local('i32', global(r, 'ones'));
    const attention = r.local('i32', r.i32(0xff & ~ATTENTION.WATCH_READ));
    r.if(inside, () => {
      r.assign(host, r.n('i32.add', global(r, 'framesBase'), r.n('i32.shl', r.wrap(frame), r.i32(12))));
      r.assign(attention, r.load('i32.load8_u', r.n('i32.add', global(r, 'attention'), r.wrap(frame))));
    });
    const addend = r.n('i32.sub', r.read(host), r.wrap(page));
    const at = r.n('i32.add', r.read(host), r.n('i32.and', r.wrap(va), r.i32(4095)));
    r.if(r.n('i32.eq', access, r.i32(ACCESS.FETCH)), () => {
      const entry = execEntry(r, va);
      r.store('i64.store', entry, page, EXEC.tag);
      r.store('i32.store', entry, addend, EXEC.addend);
      r.return(at);
    });
    const entry = tlbEntry(r, va);
    const empty = r.i64(TLB_EMPTY);
    const a = r.read(attention);
    const readable = r.n('i32.eqz', r.n('i32.and', a, r.i32(ATTENTION.WATCH_READ)));
    const writable = r.n('i32.and', r.wrap(result), r.i32(Number(WALK.WRITABLE)));
    // A flush clears what was filled: remember this entry, if it was empty.
    r.if(r.n('i32.eq', r.load('i32.load', entry, TLB.flags), r.i32(-1)), () => {
      const set = field(r, 'tlb');
      const used = r.load('i32.load', set, TLB_USED);
      r.if(r.n('i32.lt_u', used, r.i32(TLB_USED_MAX)), () =>
        r.store('i32.store', r.n('i32.add', set, r.n('i32.shl', used, r.i32(2))), entry, TLB_USED + 4),
      );
      r.store('i32.store', set, r.n('i32.add', used, r.i32(1)), TLB_USED);
    });
    const barred = r.n('i64.or', page, r.i64(TLB_BARRED));
    r.store('i64.store', entry, r.n('select', page, barred, readable), TLB.tagRead);
    r.store(
      'i64.store',
      entry,
      r.n('select', page, empty, r.n('i32.and', writable, r.n('i32.eqz', a))),
      TLB.tagWrite,
    );
    r.store('i32.store', entry, addend, TLB.addend);
    r.store('i32.store', entry, writable, TLB.flags);
    return at;
  });

  defineFlush(t);

  /** Raises #SS(0) or #GP(0) and returns 1 for a non-canonical address (SDM Vol. 1 §3.3.7.1). */
  t.define('canonical_fault', ['i32', 'i64', 'i32'], ['i32'], (r, cpu, va, seg) => {
    const high = r.n('i64.shr_s', va, r.i64(47));
    const bad = r.n('i64.gt_u', r.n('i64.add', high, r.i64(1)), r.i64(1));
    r.if(bad, () => {
      const vector = r.n('select', r.i32(VECTOR.SS), r.i32(VECTOR.GP), seg);
      r.callVoid('raise', [cpu, vector, r.i32(0)]);
    });
    return bad;
  });

  /** Translates one byte's address, without the fast tags: cpu, address, stack segment?, ACCESS. 0: raised. */
  t.define('resolve', ['i32', 'i64', 'i32', 'i32'], ['i32'], (r, cpu, va, seg, access) => {
    r.if(r.call('canonical_fault', [cpu, va, seg], 'i32'), () => r.return(r.i32(0)));
    const entry = tlbEntry(r, va);
    const served = r.n('i64.and', r.load('i64.load', entry, TLB.tagRead), r.i64(~TLB_BARRED));
    const hit = r.n('i64.eq', served, pageOf(r, va));
    const may = r.n(
      'i32.or',
      r.n('i32.eqz', access),
      r.n('i32.and', r.load('i32.load', entry, TLB.flags), r.i32(1)),
    );
    r.if(r.n('i32.and', hit, may), () => {
      const host = r.n('i32.add', r.wrap(va), r.load('i32.load', entry, TLB.addend));
      // The frame may need no attention any more: then the fast tag comes back.
      const frame = r.n('i32.shr_u', r.n('i32.sub', host, global(r, 'framesBase')), r.i32(12));
      r.if(r.n('i32.and', access, r.n('i32.lt_u', frame, global(r, 'frameCount'))), () => {
        const attention = r.load('i32.load8_u', r.n('i32.add', global(r, 'attention'), frame));
        const tag = r.n('select', r.i64(TLB_EMPTY), pageOf(r, va), attention);
        r.store('i64.store', entry, tag, TLB.tagWrite);
      });
      r.return(host);
    });
    return r.call('fill', [cpu, va, access], 'i32');
  });

  /** Address of an instruction's byte, by the fetch entries; 0: raised. */
  t.define('fetch', ['i32', 'i64'], ['i32'], (r, cpu, va) => {
    const entry = execEntry(r, va);
    r.if(r.n('i64.eq', r.load('i64.load', entry, EXEC.tag), pageOf(r, va)), () =>
      r.return(r.n('i32.add', r.wrap(va), r.load('i32.load', entry, EXEC.addend))),
    );
    r.if(r.call('canonical_fault', [cpu, va, r.i32(0)], 'i32'), () => r.return(r.i32(0)));
    return r.call('fill', [cpu, va, r.i32(ACCESS.FETCH)], 'i32');
  });
}

function defineSlowPaths(t: Routines): void {
  const unpack = (r: Recorder, packed: Node): { bytes: Node; seg: Node } => ({
    bytes: r.n('i32.and', packed, r.i32(255)),
    seg: r.n('i32.shr_u', packed, r.i32(8)),
  });
  /** The whole access has to be canonical before any of it is looked up: returns 0 from the routine otherwise. */
  const checkLast = (r: Recorder, cpu: Node, va: Node, bytes: Node, seg: Node): void => {
    const last = r.n('i64.add', va, r.bool(r.n('i32.sub', bytes, r.i32(1))));
    r.if(r.call('canonical_fault', [cpu, last, seg], 'i32'), () => r.return(r.i32(0)));
  };
  /** Bytes of the access that lie in its first page. */
  const firstPart = (r: Recorder, va: Node): Node =>
    r.n('i32.sub', r.i32(4096), r.n('i32.and', r.wrap(va), r.i32(4095)));
  const nextPage = (r: Recorder, va: Node): Node => r.n('i64.add', pageOf(r, va), r.i64(4096));
  const scratch = (r: Recorder, name: 'scratch0' | 'scratch1'): Node =>
    r.n('i32.add', r.param('i32', 0), r.i32(offsetOf(name)));

  t.define('watch_read', ['i32', 'i32', 'i64', 'i32'], [], (r, cpu, host, linear, bytes) => {
    const machine = r.n('i32.sub', host, global(r, 'framesBase'));
    const frame = r.n('i32.shr_u', machine, r.i32(12));
    r.if(r.n('i32.lt_u', frame, global(r, 'frameCount')), () => {
      const attention = r.load('i32.load8_u', r.n('i32.add', global(r, 'attention'), frame));
      r.if(r.n('i32.and', attention, r.i32(ATTENTION.WATCH_READ)), () =>
        r.callVoid('ask_watch', [cpu, machine, linear, bytes, r.i32(0)]),
      );
    });
    return undefined;
  });

  for (const [name, access] of [['slow_read', ACCESS.READ], ['slow_rmw', ACCESS.WRITE]] as const) {
    t.define(name, ['i32', 'i64', 'i32'], ['i32'], (r, cpu, va, packed) => {
      const { bytes, seg } = unpack(r, packed);
      checkLast(r, cpu, va, bytes, seg);
      const host = r.call('resolve', [cpu, va, seg, r.i32(access)], 'i32');
      r.if(r.n('i32.eqz', host), () => r.return(r.i32(0)));
      const part = firstPart(r, va);
      r.if(r.n('i32.le_u', bytes, part), () => {
        r.callVoid('watch_read', [cpu, host, va, bytes]);
        r.return(host);
      });
      const second = nextPage(r, va);
      const host2 = r.call('resolve', [cpu, second, seg, r.i32(access)], 'i32');
      r.if(r.n('i32.eqz', host2), () => r.return(r.i32(0)));
      const rest = r.n('i32.sub', bytes, part);
      r.callVoid('watch_read', [cpu, host, va, part]);
      r.callVoid('watch_read', [cpu, host2, second, rest]);
      const buffer = scratch(r, 'scratch1');
      r.callVoid('memory.copy', [buffer, host, part]);
      r.callVoid('memory.copy', [r.n('i32.add', buffer, part), host2, rest]);
      return buffer;
    });
  } // prettier-ignore

  /** The value is in scratch0. 0: raised, nothing stored. */
  t.define('slow_write', ['i32', 'i64', 'i32'], ['i32'], (r, cpu, va, packed) => {
    const { bytes, seg } = unpack(r, packed);
    const buffer = scratch(r, 'scratch0');
    const write = r.i32(ACCESS.WRITE);
    checkLast(r, cpu, va, bytes, seg);
    const host = r.call('resolve', [cpu, va, seg, write], 'i32');
    r.if(r.n('i32.eqz', host), () => r.return(r.i32(0)));
    const part = firstPart(r, va);
    r.if(r.n('i32.le_u', bytes, part), () => {
      r.callVoid('commit', [cpu, host, va, buffer, bytes]);
      r.return(r.i32(1));
    });
    const second = nextPage(r, va);
    const host2 = r.call('resolve', [cpu, second, seg, write], 'i32');
    r.if(r.n('i32.eqz', host2), () => r.return(r.i32(0)));
    r.callVoid('commit', [cpu, host, va, buffer, part]);
    r.callVoid('commit', [cpu, host2, second, r.n('i32.add', buffer, part), r.n('i32.sub', bytes, part)]);
    return r.i32(1);
  });

  /** cpu, address, stack << 8, bytes (at most a page). 0: raised. */
  t.define('slow_probe', ['i32', 'i64', 'i32', 'i32'], ['i32'], (r, cpu, va, packed, bytes) => {
    const seg = r.n('i32.shr_u', packed, r.i32(8));
    const write = r.i32(ACCESS.WRITE);
    checkLast(r, cpu, va, bytes, seg);
    r.if(r.n('i32.eqz', r.call('resolve', [cpu, va, seg, write], 'i32')), () => r.return(r.i32(0)));
    r.if(r.n('i32.gt_u', bytes, firstPart(r, va)), () =>
      r.return(r.call('resolve', [cpu, nextPage(r, va), seg, write], 'i32')),
    );
    return r.i32(1);
  });
}

/** Declares imports and defines all routines, in dependency order. */
export function defineRoutines(builder: ModuleBuilder): Routines {
  const t = new Routines(builder);
  declareImports(t);
  defineFaults(t);
  defineAttention(t);
  defineTranslation(t);
  defineSlowPaths(t);
  return t;
}
