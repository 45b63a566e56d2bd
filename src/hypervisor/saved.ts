/**
 * What the hypervisor's state is, name by name: what a saved machine's file is held to. A change here, or in what a
 * name means, is a new HYPERVISOR_VERSION.
 */
import {
  bool,
  bytes,
  count,
  i64,
  int32s,
  integer,
  list,
  maybe,
  numbered,
  oneOf,
  optional,
  record,
  text,
  u16,
  u32,
  u8,
  uint16s,
  uint32s,
  variant,
} from '../base/schema';
import type { BackendEnd, BackendState, GrantMap } from './backend-ports';
import type { FrameSnapshot } from './frames';
import type { MachineSide } from './snapshot';
import type {
  Call,
  Callback,
  CapturedRange,
  Channel,
  DomainState,
  Fault,
  FifoQueues,
  Held,
  MappedGrant,
  Multicall,
  Port,
  TrapEntry,
  VcpuState,
} from './state';
import type { HypervisorSnapshot } from './types';

export const HYPERVISOR_VERSION = 1;

const frame = u32;
const callback = record<Callback>({ address: i64, maskEvents: bool });

const call = record<Call>({
  nr: u32,
  args: list(i64, 6),
  rip: i64,
  depth: u8,
  result: optional(i64),
  errno: optional(text),
  reason: optional(text),
  captured: list(record<CapturedRange>({ address: i64, bytes: bytes() })),
  spent: optional(count),
});

const fault = record<Fault>({ vector: u8, error: maybe(u32), address: maybe(i64), software: bool });

const held = variant<Held>({
  'hypercall-entry': { call },
  'hypercall-return': { call },
  fault: { fault },
  privileged: { mnemonic: text, text },
  upcall: {},
});

const vcpu = record<VcpuState>({
  initialised: bool,
  online: bool,
  run: oneOf('running', 'runnable', 'blocked', 'offline'),
  runSince: i64,
  runTimes: list(i64, 4),
  kernelMode: bool,
  traps: list(record<TrapEntry>({ cs: u16, flags: u8, address: i64 }), 256),
  event: callback,
  failsafe: callback,
  syscall: callback,
  nmiPending: bool,
  nmiMasked: bool,
  kernelSs: i64,
  kernelSp: i64,
  gdtFrames: list(frame),
  gdtEntries: u32,
  ldtBase: i64,
  ldtEntries: u32,
  ldtPages: list(record<{ page: number; mfn: number }>({ page: u32, mfn: frame })),
  kernelTable: frame,
  userTable: maybe(frame),
  taskSwitched: bool,
  cr2: i64,
  cr4: i64,
  shadowGs: i64,
  iopl: u8,
  ioBitmap: maybe(record<{ address: bigint; ports: number }>({ address: i64, ports: u32 })),
  infoFrame: frame,
  infoOffset: integer(0, 4095),
  infoRegistered: bool,
  timeArea: i64,
  runstateArea: i64,
  singleshot: maybe(i64),
  period: i64,
  periodicNext: i64,
  pollPorts: maybe(list(u32)),
  pollTimeout: maybe(i64),
  virqPorts: numbered(u32),
  fifo: maybe(record<FifoQueues>({ frame, offset: integer(0, 4095), tails: list(u32) })),
  held: maybe(held),
  multicall: maybe(record<Multicall>({ call, list: i64, count: u32, index: u32, problem: maybe(text) })),
  yielded: bool,
});

const channel = variant<Channel>({
  free: {},
  reserved: {},
  unbound: { remote: u16 },
  interdomain: { remote: u16, remotePort: u32 },
  virq: { virq: u32 },
  ipi: {},
});

const domain = record<DomainState>({
  maxPages: count,
  totalPages: count,
  mapPages: count,
  vmAssist: i64,
  shutdown: maybe(oneOf('poweroff', 'reboot', 'suspend', 'crash', 'watchdog', 'soft_reset')),
  crashText: maybe(text),
  sharedInfo: frame,
  consoleFrame: frame,
  storeFrame: frame,
  consolePort: u32,
  storePort: u32,
  ports: list(
    record<Port>({
      channel,
      vcpu: u32,
      priority: u8,
      lastVcpu: u32,
      lastPriority: u8,
      early: optional(bool),
    }),
  ),
  fifoArray: maybe(list(frame)),
  eoiFrame: maybe(frame),
  pirqs: list(u32),
  pciAddress: u32,
  shutdownCode: maybe(u8),
  globalVirqs: numbered(u32),
  watchdogs: list(maybe(i64)),
  grantVersion: oneOf(1, 2),
  grantMaxVersion: oneOf(1, 2),
  grantFrames: list(frame),
  statusFrames: list(frame),
  grantMaxFrames: u32,
  maptrack: list(
    maybe(
      record<MappedGrant>({
        domain: u16,
        ref: u32,
        mfn: frame,
        writable: bool,
        host: bool,
        containsPte: bool,
        device: bool,
      }),
    ),
  ),
  p2m: int32s,
});

interface Snapshot extends HypervisorSnapshot {
  readonly frames: MachineSide;
  readonly backend: BackendState;
}

export const hypervisorSchema = record<Snapshot>({
  frames: record<MachineSide>({
    frames: record<FrameSnapshot>({
      owner: uint16s,
      type: bytes(),
      typeCount: uint32s,
      refs: uint32s,
      flags: bytes(),
      linear: int32s,
      free: int32s,
    }),
    slots: numbered(
      record<{ readonly l3: number; readonly l1s: readonly number[] }>({ l3: frame, l1s: list(frame) }),
    ),
  }),
  backend: record<BackendState>({
    ends: list(maybe(record<BackendEnd>({ remote: u16, remotePort: u32 }))),
    pending: list(u32),
    maps: list(record<GrantMap>({ domain: u16, ref: u32, mfn: frame, writable: bool })),
  }),
  domains: list(
    record<Snapshot['domains'][number]>({ id: u16, name: text, state: domain, vcpus: list(vcpu) }),
  ),
});
