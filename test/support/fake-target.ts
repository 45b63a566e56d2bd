import { createRecordViews } from '../../src/machine/records/views';
import { listedTrace } from './synthetic-trace';
import type { StopState } from '../../src/machine/conditions';
import { createGates } from '../../src/machine/gates';
import type {
  AddressSpace,
  DecodedValue,
  HypercallInfo,
  HypercallView,
  ConsoleListener,
  MachineConfig,
  Register,
  RunUntil,
  Stop,
  StopPoint,
  StopReason,
  Target,
  TraceRecord,
  VcpuRef,
} from '../../src/machine/target';
import { registerFile } from '../../src/debugger/registers';
import { CODE, NR, STACK, program } from './fake-program';

// A `Target` small enough to be obviously right: it runs the program of fake-program.ts, byte by byte, with stop
// points, hypercalls, a console and memory of three kinds. Tests of the debugger and the adapter run on it.

const GPR = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'] as const; // prettier-ignore
type Gpr = (typeof GPR)[number];

interface State {
  readonly registers: Map<string, Uint8Array>;
  readonly memory: Map<bigint, Uint8Array>;
  retired: bigint;
  call: HypercallView | undefined;
  ended: StopReason | undefined;
  readonly trace: TraceRecord[];
}

const VCPU: VcpuRef = { domain: 1, vcpu: 0 };
const PAGE = 4096n;
/** Pseudo-physical 0 is the page of the code; machine frames are 0x40 higher. */
const BASE = CODE & ~(PAGE - 1n);
const MACHINE_OFFSET = 0x40000n;

const toBytes = (value: bigint, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => Number((BigInt.asUintN(length * 8, value) >> BigInt(8 * i)) & 0xffn));
const fromBytes = (bytes: Uint8Array): bigint =>
  bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);

export const fakeHypercalls: readonly HypercallInfo[] = [
  { name: 'mmu_update', nr: NR.mmu_update, status: 'implemented', doc: 'xen.h HYPERVISOR_mmu_update', ops: [], args: ['ureqs', 'count', 'pdone', 'foreigndom'] },
  {
    name: 'memory_op',
    nr: NR.memory_op,
    status: 'implemented',
    doc: 'memory.h',
    ops: [
      { name: 'populate_physmap', cmd: 6, status: 'implemented', doc: 'header.h', args: ['domid'] },
      { name: 'exchange', cmd: 11, status: 'unimplemented', doc: 'header.h', args: ['domid'] },
    ],
    args: ['cmd', 'arg'],
  },
  { name: 'console_io', nr: NR.console_io, status: 'implemented', doc: 'xen.h', ops: [], args: ['cmd', 'count', 'buffer'] },
  { name: 'sched_op', nr: NR.sched_op, status: 'implemented', doc: 'sched.h', ops: [{ name: 'shutdown', cmd: 2, status: 'implemented', doc: 'header.h', args: ['domid'] }], args: ['cmd', 'arg'] },
  { name: 'event_channel_op', nr: NR.event_channel_op, status: 'unimplemented', doc: 'event_channel.h', ops: [], args: ['cmd', 'arg'] },
]; // prettier-ignore

const hex = (value: bigint): string => `0x${value.toString(16)}`;
const number = (name: string, type: string, value: bigint): DecodedValue => ({
  name,
  type,
  text: hex(value),
  value,
});

/** How each hypercall's arguments read, and what it answers. */
const calls: Readonly<Record<number, (get: (name: Gpr) => bigint) => { args: DecodedValue[]; op?: string; name: string; result: bigint; errno?: string; reason?: string }>> = {
  [NR.mmu_update]: (get) => ({
    name: 'mmu_update',
    args: [
      {
        name: 'ureqs',
        type: 'mmu_update_t[]',
        text: '[1]',
        value: get('rdi'),
        memory: { space: 'virtual', address: get('rdi') },
        children: Array.from({ length: Number(get('rsi')) }, (_, i) => ({
          name: `[${i}]`,
          type: 'mmu_update_t',
          text: '{…}',
          children: [
            { name: 'ptr', type: 'machine address', text: '0x41008', value: 0x41008n, memory: { space: 'machine', address: 0x41008n } },
            number('val', 'u64', 0x42063n),
          ],
        })),
      },
      number('count', 'u32', get('rsi')),
      { name: 'foreigndom', type: 'domid_t', text: 'DOMID_SELF', value: 0x7ff0n },
    ],
    result: -22n,
    errno: 'EINVAL',
    reason: 'l1e 0x42063 maps frame 0x42 writable, but it is typed L2',
  }),
  [NR.memory_op]: () => ({
    name: 'memory_op',
    op: 'populate_physmap',
    args: [
      { name: 'cmd', type: 'u32', text: 'XENMEM_populate_physmap', value: 6n },
      { name: 'arg', type: 'xen_memory_reservation_t', text: '{…}', children: [number('nr_extents', 'u64', 16n), number('extent_order', 'u32', 0n)] },
    ],
    result: 16n,
  }),
  [NR.console_io]: (get) => ({ name: 'console_io', args: [number('cmd', 'u32', get('rdi'))], result: 0n }),
  [NR.sched_op]: () => ({ name: 'sched_op', op: 'shutdown', args: [{ name: 'cmd', type: 'u32', text: 'SCHEDOP_shutdown', value: 2n }], result: 0n }),
}; // prettier-ignore

export interface FakeOptions {
  /** Label to start at. */
  readonly start?: string;
  /** What a named method rejects with. */
  readonly failing?: Readonly<Partial<Record<keyof Target, string>>>;
}

export interface FakeTarget extends Target {
  readonly disposed: () => boolean;
  readonly typed: () => string;
}

export function createFakeTarget(config: MachineConfig, options: FakeOptions = {}): FakeTarget {
  const name = config.domains[0]?.name ?? 'fake';
  const consoleListeners = new Set<ConsoleListener>();
  const logListeners = new Set<(text: string) => void>();
  let stops: readonly StopPoint[] = [];
  let pauseAsked = false;
  let running = false;
  let disposed = false;
  let typed = '';

  const boot = (): State => {
    const registers = new Map<string, Uint8Array>(GPR.map((one) => [one, toBytes(0n, 8)]));
    registers.set('rip', toBytes(program.labels.get(options.start ?? 'start') ?? CODE, 8));
    registers.set('rsp', toBytes(STACK - 64n, 8));
    registers.set('rflags', toBytes(0x202n, 8));
    registers.set('cr3', toBytes(0x41000n, 8));
    registers.set('cs', toBytes(0xe033n, 2));
    registers.set('xmm0', toBytes(0x3ff8000000000000_4000000000000000n, 16));
    registers.set('st0', toBytes(0x3fff_8000000000000000n, 10));
    const codePage = new Uint8Array(4096);
    codePage.set(program.bytes);
    const memory = new Map([
      [BASE, codePage],
      [STACK - PAGE, new Uint8Array(4096)],
    ]);
    return { registers, memory, retired: 0n, call: undefined, ended: undefined, trace: [] };
  };
  let state = boot();

  const get = (register: string): bigint => fromBytes(state.registers.get(register) ?? new Uint8Array(8));
  const set = (register: string, value: bigint): void => {
    state.registers.set(register, toBytes(value, state.registers.get(register)?.length ?? 8));
  };
  /** Virtual address of another kind of address; the same memory under three names. */
  const virtual = (space: AddressSpace, address: bigint): bigint =>
    space.kind === 'virtual' ? address : address + BASE - (space.kind === 'machine' ? MACHINE_OFFSET : 0n);
  const byteAt = (address: bigint): { page: Uint8Array; offset: number } | undefined => {
    const page = state.memory.get(address & ~(PAGE - 1n));
    return page === undefined ? undefined : { page, offset: Number(address & (PAGE - 1n)) };
  };
  const read = (address: bigint, length: number): Uint8Array => {
    const bytes: number[] = [];
    for (let i = 0; i < length; i++) {
      const found = byteAt(BigInt.asUintN(64, address + BigInt(i)));
      if (found === undefined) break;
      bytes.push(found.page[found.offset] ?? 0);
    }
    return Uint8Array.from(bytes);
  };
  const write = (address: bigint, data: Uint8Array): number => {
    for (const [i, byte] of data.entries()) {
      const found = byteAt(BigInt.asUintN(64, address + BigInt(i)));
      if (found === undefined) return i;
      found.page[found.offset] = byte;
    }
    return data.length;
  };
  const push = (value: bigint): void => {
    set('rsp', get('rsp') - 8n);
    write(get('rsp'), toBytes(value, 8));
  };
  const pop = (): bigint => {
    const value = fromBytes(read(get('rsp'), 8));
    set('rsp', get('rsp') + 8n);
    return value;
  };
  const setZero = (zero: boolean): void => {
    set('rflags', (get('rflags') & ~0x40n) | (zero ? 0x40n : 0n));
  };
  const isZero = (): boolean => (get('rflags') & 0x40n) !== 0n;
  const signed = (bytes: Uint8Array): bigint => BigInt.asIntN(bytes.length * 8, fromBytes(bytes));

  const gates = createGates(() => undefined);
  /** What conditions can ask for. */
  const here = (): StopState => ({
    own: { dom: 1n, vcpu: 0n },
    register: (name) => {
      const file = registerFile(
        [...state.registers].map(([one, bytes]) => ({ name: one, group: 'general', bits: bytes.length * 8, bytes, writable: true })),
      ); // prettier-ignore
      return file.get(name);
    },
    memory: (address, bytes) => fromBytes(read(address, bytes)),
  });
  const view = (): HypercallView | undefined => {
    const nr = Number(get('rax'));
    const decoded = calls[nr]?.((one) => get(one));
    if (decoded === undefined) return undefined;
    const { op, args } = decoded;
    return { name: decoded.name, nr, args, ...(op === undefined ? {} : { op }) };
  };
  const matching = (call: HypercallView, when: 'entry' | 'return'): number[] =>
    stops.flatMap((one) => {
      if (one.kind !== 'hypercall' || one.when !== when) return [];
      const names = ['*', call.name, `${call.name}.${call.op ?? ''}`];
      if (!names.includes(one.name)) return [];
      return gates.open(one, { ...here(), call: () => call }) ? [one.id] : [];
    });
  const events = (filter: string, call?: HypercallView): number[] =>
    stops.flatMap((one) =>
      one.kind === 'event' && one.filter === filter && gates.open(one, { ...here(), call: () => call }, true)
        ? [one.id]
        : [],
    );
  /** Ids of the instruction stop points at rip. */
  const pointsHere = (): number[] =>
    stops.flatMap((one) =>
      one.kind === 'instruction' && one.address === get('rip') && gates.open(one, here()) ? [one.id] : [],
    );

  /** Executes a hypercall whose entry has been passed; a reason to stop after it, if there is one. */
  const hypercall = (call: HypercallView): StopReason | undefined => {
    const outcome = calls[call.nr]?.((one) => get(one));
    if (outcome === undefined) return undefined;
    const { result, errno, reason } = outcome;
    set('rax', result);
    const done: HypercallView = {
      ...call,
      result,
      ...(errno === undefined ? {} : { errno }),
      ...(reason === undefined ? {} : { reason }),
    };
    state.trace.push({
      seq: state.trace.length,
      retired: state.retired,
      time: state.retired,
      ...VCPU,
      rip: get('rip'),
      call: done,
      depth: 0,
    });
    if (call.nr === NR.console_io)
      for (const listener of consoleListeners) listener(1, new TextEncoder().encode('hello, wörld\r\n'), 0);
    if (call.nr === NR.sched_op) {
      state.ended = { kind: 'shutdown', reason: 'poweroff', text: `domain ${name} powered off` };
      return state.ended;
    }
    state.call = done;
    const ids = matching(done, 'return');
    if (ids.length > 0) return { kind: 'hypercall', ids, when: 'return', call: done };
    const failed = errno === undefined ? [] : events('hypercall-failed', done);
    if (failed.length > 0)
      return { kind: 'event', ids: failed, text: `${call.name} failed with ${errno ?? ''}: ${reason ?? ''}` };
    return undefined;
  };

  const crash = (text: string): StopReason => {
    state.ended = { kind: 'crash', text };
    const ids = events('domain-crash');
    return ids.length > 0 ? { kind: 'event', ids, text } : state.ended;
  };

  /** One instruction; a reason to stop, if it gives one. `entered`: a stop at the hypercall's entry was taken before. */
  const step = (entered: boolean): StopReason | undefined => {
    const rip = get('rip');
    const code = read(rip, 15);
    const [first = 0, second = 0] = code;
    const after = (length: number): void => {
      set('rip', rip + BigInt(length));
      state.retired += 1n;
      state.call = undefined;
    };
    if (first === 0x0f && second === 0x05) {
      const call = view();
      if (call === undefined) return crash(`unknown hypercall ${get('rax')}`);
      const ids = matching(call, 'entry');
      if (ids.length > 0 && !entered) {
        state.call = call;
        return { kind: 'hypercall', ids, when: 'entry', call };
      }
      after(2);
      return hypercall(call);
    }
    /** Moves on, then does what the instruction does. */
    const then =
      (length: number, effect: () => void = () => undefined): (() => void) =>
      () => {
        after(length);
        effect();
      };
    const load = (register: Gpr): (() => void) =>
      then(5, () => set(register, fromBytes(code.subarray(1, 5))));
    const count = (register: Gpr, by: bigint): void => {
      set(register, get(register) + by);
      setZero(get(register) === 0n);
    };
    const jumpBy = (bytes: Uint8Array): void => set('rip', get('rip') + signed(bytes));
    const execute: readonly (readonly [number[], () => void])[] = [
      [[0x90], then(1)],
      [[0x55], then(1, () => push(get('rbp')))],
      [[0x5d], then(1, () => set('rbp', pop()))],
      [[0xc3], then(1, () => set('rip', pop()))],
      [[0x48, 0x89, 0xe5], then(3, () => set('rbp', get('rsp')))],
      [[0x48, 0xff, 0xc0], then(3, () => count('rax', 1n))],
      [[0x48, 0xff, 0xc9], then(3, () => count('rcx', -1n))],
      [[0x40, 0x84, 0xff], then(3, () => setZero((get('rdi') & 0xffn) === 0n))],
      [[0xf3, 0xa4], then(2)],
      [[0xb8], load('rax')],
      [[0xb9], load('rcx')],
      [[0xbe], load('rsi')],
      [[0xbf], load('rdi')],
      [
        [0xe8],
        then(5, () => {
          push(get('rip'));
          jumpBy(code.subarray(1, 5));
        }),
      ],
      [[0xeb], then(2, () => jumpBy(code.subarray(1, 2)))],
      [
        [0x75],
        then(2, () => {
          if (!isZero()) jumpBy(code.subarray(1, 2));
        }),
      ],
    ];
    const found = execute.find(([pattern]) => pattern.every((byte, i) => code[i] === byte));
    if (found === undefined) {
      const ids = events('guest-fault');
      const text = `#UD at ${hex(rip)}`;
      if (ids.length > 0 && state.ended === undefined) {
        state.ended = { kind: 'crash', text };
        return { kind: 'event', ids, text };
      }
      return crash(text);
    }
    found[1]();
    return undefined;
  };

  const arrived = ({ address, outside, exits }: RunUntil): { kind: 'step' | 'address' } | undefined => {
    const rip = get('rip');
    if (exits?.at.includes(rip) === true) return { kind: 'address' };
    if (address?.at === rip && get('rsp') >= (address.minRsp ?? 0n)) return { kind: 'address' };
    return outside !== undefined && (rip < outside.low || rip >= outside.high) ? { kind: 'step' } : undefined;
  };

  const run = async (until: RunUntil): Promise<StopReason> => {
    let left = until.instructions;
    let skip = until.skipCurrent ?? true;
    for (let turn = 0; ; turn++) {
      if (state.ended !== undefined) return state.ended;
      if (turn % 64 === 63) await new Promise((resolve) => setImmediate(resolve));
      if (pauseAsked) return { kind: 'pause' };
      const ids = skip ? [] : pointsHere();
      if (ids.length > 0) return { kind: 'instruction', ids };
      const before = state.retired;
      const reason = step(skip && state.call !== undefined && state.call.result === undefined);
      skip = false;
      if (reason !== undefined) return reason;
      const over = left !== undefined && (left -= state.retired - before) <= 0n;
      const there = over ? ({ kind: 'step' } as const) : arrived(until);
      if (there !== undefined) return { ...there, ids: pointsHere() };
    }
  };

  const moment = (): { retired: bigint; time: bigint } => ({ retired: state.retired, time: state.retired });
  const groups: readonly (readonly [string, Register['group'], boolean])[] = [
    ...[...GPR, 'rip', 'rflags'].map((one) => [one, 'general', true] as const),
    ['cr3', 'control', false],
    ['cs', 'segment', false],
    ['xmm0', 'sse', true],
    ['st0', 'x87', true],
  ];

  const target: FakeTarget = {
    disposed: () => disposed,
    typed: () => typed,
    now: () => Promise.resolve(moment()),
    domains: () =>
      Promise.resolve([
        {
          id: 1,
          name,
          frames: 2,
          consolePorts: 1,
          vcpus: [{ ref: VCPU, state: 'running', rip: get('rip'), mode: 'kernel', icount: state.retired }],
        },
      ]),
    setStops: (points) => {
      gates.set(points);
      stops = points;
      return Promise.resolve();
    },
    run: async (until) => {
      if (running) throw new Error('run() while running');
      running = true;
      pauseAsked = false;
      try {
        const reason = await run(until);
        return { reason, at: moment(), vcpu: VCPU } satisfies Stop;
      } finally {
        running = false;
      }
    },
    pause: () => {
      pauseAsked = true;
    },
    position: () => Promise.resolve({ ...moment(), turns: 0, inputs: 0, asked: 0, held: false }),
    history: () => Promise.resolve({ kept: false }),
    seekTo: () => Promise.reject(new Error('a fake has no history')),
    rewind: () => Promise.reject(new Error('a fake has no history')),
    stepBack: () => Promise.reject(new Error('a fake has no history')),
    mark: () => Promise.resolve(1),
    seek: () => Promise.resolve(moment()),
    dropMark: () => Promise.resolve(),
    save: (path) => Promise.reject(new Error(`cannot write '${path}': this machine is a fake`)),
    cancelSave: () => undefined,
    askGuest: () => Promise.resolve(),
    resumeDomain: () => Promise.reject(new Error('domain 1 is not suspended')),
    onSaving: () => () => undefined,
    restart: () => {
      if (running) throw new Error('restart() while running');
      state = boot();
      return Promise.resolve();
    },
    stateHash: () => Promise.resolve(`${state.retired}`),
    registers: () => {
      // What the embedded machine does not promise either: state is only looked at while it stands still.
      if (running) throw new Error('registers() while running');
      return Promise.resolve(
        groups.map(([one, group, writable]) => {
          const bytes = state.registers.get(one) ?? new Uint8Array(8);
          return { name: one, group, bits: bytes.length * 8, bytes: bytes.slice(), writable };
        }),
      );
    },
    setRegister: (_vcpu, register, bytes) => {
      state.registers.set(register, bytes.slice());
      return Promise.resolve();
    },
    readMemory: (space, address, length) => Promise.resolve(read(virtual(space, address), length)),
    writeMemory: (space, address, data) => Promise.resolve(write(virtual(space, address), data)),
    walk: (_vcpu, address) =>
      Promise.resolve({
        address,
        levels: [
          {
            level: 4,
            tableMfn: 0x41,
            index: 511,
            entry: 0x42067n,
            flags: ['P', 'RW', 'U', 'A', 'D'],
            mfn: 0x42,
            pfn: 2,
            frame: 'L3, pinned',
          },
        ],
        machineAddress: byteAt(address) === undefined ? undefined : address - BASE + MACHINE_OFFSET,
        ...(byteAt(address) === undefined ? { problem: 'L3 entry 510 is not present' } : {}),
      }),
    tableEntries: (_vcpu, path) =>
      Promise.resolve(
        path.length > 0
          ? []
          : [
              {
                index: 511,
                virtual: 0xffffff8000000000n,
                entry: 0x42067n,
                flags: ['P', 'RW'],
                mfn: 0x42,
                pfn: 2,
                owner: 'd1',
                frame: 'L3',
                table: true,
                run: 1,
              },
            ],
      ),
    frame: (mfn) =>
      Promise.resolve({ mfn, owner: 'd1', type: 'L3', typeCount: 1, count: 2, pinned: true, pfn: 2 }),
    frameUses: (mfn) =>
      Promise.resolve({
        frame: { mfn, owner: 'd1', type: 'L3', typeCount: 1, count: 2, pinned: true, pfn: 2 },
        entries: [],
        more: 0,
        roots: [],
        grants: [],
      }),
    mappedRanges: () =>
      Promise.resolve([{ virtual: CODE, pages: 1, flags: ['P', 'RW'], mfn: 0x42, pfn: 2, owner: 'd1' }]),
    channels: () => Promise.resolve([]),
    grants: () => Promise.resolve([]),
    storeNode: (path) =>
      Promise.resolve(
        path === '/' ? { path, value: '', permissions: ['n0'], watchers: [], children: [] } : undefined,
      ),
    storeInput: () => Promise.resolve(),
    hypercalls: () => Promise.resolve(fakeHypercalls),
    currentHypercall: () => Promise.resolve(state.call),
    hypervisorStack: () => Promise.resolve([]),
    hypervisorValues: () => Promise.resolve([]),
    hypervisorEvaluate: () => Promise.reject(new Error('not inside the hypervisor')),
    crossing: () => Promise.resolve(undefined),
    hypervisorWatch: () => Promise.reject(new Error('not inside the hypervisor')),
    hypervisorFailure: () => Promise.resolve([]),
    hypervisorState: () =>
      Promise.resolve([
        {
          name: 'trap_table',
          type: 'trap_info_t[]',
          text: '[1]',
          children: [{ name: '[14]', type: 'trap_info_t', text: 'page fault' }],
        },
        { name: 'upcall_mask', type: 'bool', text: 'true', value: 1n },
      ]),
    trace: (from, count) => {
      const records = state.trace.slice(from, from + count);
      return Promise.resolve({ first: 0, next: from + records.length, records });
    },
    devices: () => Promise.resolve({ console: [], echo: [], block: [], net: { vifs: [], bridges: [] } }),
    traceSummary: () => Promise.resolve({ total: state.trace.length, calls: [], refusals: [], traps: [] }),
    traceQuestion: (question) =>
      Promise.resolve(createRecordViews(listedTrace(state.trace), new Set())(question)),
    consoleInput: (_domain, data) => {
      typed += new TextDecoder().decode(data);
      return Promise.resolve();
    },
    networkInput: () => Promise.resolve(),
    diskInput: () => Promise.resolve(),
    onNetwork: () => () => undefined,
    onConsole: (listener) => {
      consoleListeners.add(listener);
      return () => consoleListeners.delete(listener);
    },
    onLog: (listener) => {
      logListeners.add(listener);
      return () => logListeners.delete(listener);
    },
    dispose: () => {
      disposed = true;
      return Promise.resolve();
    },
  };
  for (const [method, message] of Object.entries(options.failing ?? {})) {
    Object.assign(target, { [method]: () => Promise.reject(new Error(message)) });
  }
  return target;
}
