/** What a saved machine's file contains: the sections in their order, and what is in each, name by name. */
import {
  bool,
  bytes,
  choice,
  count,
  i64,
  kindOf,
  list,
  mapOf,
  maybe,
  oneOf,
  optional,
  record,
  text,
  u16,
  u32,
  uint32s,
  type Schema,
} from '../../base/schema';
import { SAVED_FIELDS, STATE_VERSION } from '../../cpu/vcpu';
import { devicesSchema, DEVICES_VERSION } from '../../devices/saved';
import { hypervisorSchema, HYPERVISOR_VERSION } from '../../hypervisor/saved';
import type { ClockState } from '../clock';
import type { ImageMark } from '../disks';
import type { InputEntry, ScheduleState } from '../schedule';
import type { DiskConfig, DomainConfig, VcpuRef, VifConfig } from '../target';
import { tlbsSchema, TLBS_VERSION } from '../tlbs';
import type { Count, RefusalCount } from '../tallies';
import type { Refusal, TraceContent, TraceState } from '../trace';

/** A file that the machine was made from: enough to know it again. */
export interface FileMark {
  readonly name: string;
  readonly path: string | undefined;
  readonly length: number;
  /** Of the contents (hash.ts). */
  readonly hash: string;
}

export interface SavedDisk extends Omit<DiskConfig, 'image'> {
  readonly image: {
    readonly name: string;
    /** Absent: the image is in section `images`, or there is none. */
    readonly path: string | undefined;
    /** The image below what the guest wrote; absent for a drive without a medium. */
    readonly mark: ImageMark | undefined;
  };
}

/** As it was configured, but for the contents of files. */
export interface SavedDomain extends Omit<DomainConfig, 'kernel' | 'ramdisk' | 'disks'> {
  readonly kernel: FileMark;
  readonly ramdisk: FileMark | undefined;
  readonly disks: readonly SavedDisk[];
}

/** What a file says of itself, first. */
export interface About {
  /** Which program wrote it. */
  readonly program: string;
  readonly domains: readonly SavedDomain[];
  /** Frames and processors of the machine. */
  readonly frames: number;
  readonly processors: number;
  /** When it was saved. */
  readonly retired: bigint;
  readonly time: bigint;
}

const fileMark = record<FileMark>({ name: text, path: maybe(text), length: count, hash: text });
const endAction = optional(oneOf('destroy', 'restart', 'preserve'));
const about: Schema<About> = record<About>({
  program: text,
  domains: list(
    record<SavedDomain>({
      name: text,
      cmdline: text,
      memory: count,
      vcpus: u16,
      vifs: optional(
        list(record<VifConfig>({ mac: optional(text), bridge: optional(text), ip: optional(text) })),
      ),
      channels: optional(list(text)),
      onEnd: optional(
        record<NonNullable<SavedDomain['onEnd']>>({
          poweroff: endAction,
          reboot: endAction,
          crash: endAction,
          watchdog: endAction,
          soft_reset: endAction,
          suspend: endAction,
        }),
      ),
      kernel: fileMark,
      ramdisk: maybe(fileMark),
      disks: list(
        record<SavedDisk>({
          vdev: text,
          format: oneOf('raw', 'qcow2'),
          access: oneOf('read-only', 'overlay', 'write-through'),
          cdrom: bool,
          image: record<SavedDisk['image']>({
            name: text,
            path: maybe(text),
            mark: maybe(record<ImageMark>({ size: count, stamp: maybe(text), hash: text })),
          }),
        }),
      ),
    }),
  ),
  frames: u32,
  processors: u16,
  retired: i64,
  time: i64,
});

export interface SavedMachine {
  readonly clock: ClockState;
  readonly schedule: ScheduleState;
}

export type SavedProcessor = Readonly<Record<string, Uint8Array>>;

const counts = record<Count>({
  count,
  refused: count,
  last: kindOf('a number', (v) => typeof v === 'number'),
  between: count,
  classes: uint32s,
});

/** An image that was no file. */
export interface SavedImage {
  readonly domain: number;
  readonly vdev: string;
  readonly bytes: Uint8Array;
}

const moment = { retired: i64, time: i64, turns: count };
type Console = Extract<InputEntry, { readonly kind: 'console' }>;
type Network = Extract<InputEntry, { readonly kind: 'network' }>;
type Disk = Extract<InputEntry, { readonly kind: 'disk' }>;
type Change<C> = Extract<Disk, { readonly change: C }>;
const disk = { ...moment, kind: oneOf<'disk'>('disk'), domain: u16, vdev: text };
type Event<E> = Extract<Network, { readonly event: E }>;
const network = { ...moment, kind: oneOf<'network'>('network'), connection: count };
const input = choice<InputEntry, 'kind'>('kind', {
  alone: record<Extract<InputEntry, { readonly kind: 'alone' }>>({
    ...moment,
    kind: oneOf('alone'),
    vcpu: maybe(record<VcpuRef>({ domain: u16, vcpu: u16 })),
  }),
  console: record<Console>({ ...moment, kind: oneOf('console'), domain: u16, console: count, data: bytes() }),
  ask: record<Extract<InputEntry, { readonly kind: 'ask' }>>({
    ...moment,
    kind: oneOf('ask'),
    domain: u16,
    request: oneOf('poweroff', 'reboot', 'halt', 'suspend'),
  }),
  store: record<Extract<InputEntry, { readonly kind: 'store' }>>({
    ...moment,
    kind: oneOf('store'),
    path: text,
    value: maybe(text),
  }),
  resume: record<Extract<InputEntry, { readonly kind: 'resume' }>>({
    ...moment,
    kind: oneOf('resume'),
    domain: u16,
    how: oneOf('cancelled', 'anew'),
  }),
  network: choice<Network, 'event'>('event', {
    open: record<Event<'open'>>({ ...network, event: oneOf('open'), domain: u16, port: u16 }),
    data: record<Event<'data'>>({ ...network, event: oneOf('data'), at: count, data: bytes() }),
    end: record<Event<'end'>>({ ...network, event: oneOf('end') }),
    abort: record<Event<'abort'>>({ ...network, event: oneOf('abort') }),
    taken: record<Event<'taken'>>({ ...network, event: oneOf('taken'), bytes: count }),
  }),
  disk: choice<Disk, 'change'>('change', {
    plug: record<Change<'plug'>>({ ...disk, change: oneOf('plug') }),
    unplug: record<Change<'unplug'>>({ ...disk, change: oneOf('unplug') }),
    resize: record<Change<'resize'>>({ ...disk, change: oneOf('resize'), sectors: count }),
  }),
});

export interface Section<T> {
  readonly name: string;
  /** Of the component: another number, another meaning. */
  readonly version: number;
  readonly doc: string;
  readonly schema: Schema<T>;
}
const section = <T>(name: string, version: number, doc: string, schema: Schema<T>): Section<T> => ({
  name,
  version,
  doc,
  schema,
});

export const SECTIONS = {
  about: section('about', 1, 'what was saved, from what and when; can be read without the rest', about),
  machine: section(
    'machine',
    1,
    'virtual time, and whose turn it is',
    record<SavedMachine>({
      clock: record<ClockState>({ skipped: i64 }),
      schedule: record<ScheduleState>({
        current: count,
        quantumLeft: i64,
        deliveryDue: bool,
        turns: count,
        inputsTaken: count,
        alone: optional(count),
      }),
    }),
  ),
  input: section('input', 1, 'console input, each piece with the moment it took effect', list(input)),
  processors: section(
    'processors',
    STATE_VERSION,
    'the registers of each vCPU, as they lie in memory',
    list(
      record<SavedProcessor>(Object.fromEntries(SAVED_FIELDS.map(({ name, size }) => [name, bytes(size)]))),
    ),
  ),
  tlbs: section(
    'tlbs',
    TLBS_VERSION,
    'translations that the vCPUs have cached: they decide when A and D bits are set',
    tlbsSchema,
  ),
  hypervisor: section(
    'hypervisor',
    HYPERVISOR_VERSION,
    'what the hypervisor knows of frames, domains, vCPUs, event channels and grants',
    hypervisorSchema,
  ),
  images: section(
    'images',
    1,
    'disk images that were no files',
    list(record<SavedImage>({ domain: count, vdev: text, bytes: bytes() })),
  ),
  devices: section(
    'devices',
    DEVICES_VERSION,
    'the back ends: consoles, xenstore, disks with what the guest wrote to them',
    devicesSchema,
  ),
  trace: section(
    'trace',
    2,
    'the hypercall trace (left out on request: then the resumed machine’s begins empty)',
    record<TraceContent>({
      state: record<TraceState>({
        next: count,
        calls: mapOf(text, counts),
        ops: mapOf(text, counts),
        traps: mapOf(text, count),
        refusals: mapOf(text, record<RefusalCount>({ name: text, errno: text, count, reason: text })),
      }),
      first: count,
      records: list(bytes()),
      refusals: mapOf(count, record<Refusal>({ errno: maybe(text), reason: maybe(text) })),
    }),
  ),
} as const;

/** The frames' contents are no plain data: a number and 4096 bytes for each frame that is not all zeroes. */
export const FRAMES = {
  name: 'frames',
  version: 1,
  doc: 'for each frame that is not all zeroes: its number (u32), then its 4096 bytes; in ascending order',
} as const;
