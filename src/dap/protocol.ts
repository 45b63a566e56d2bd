import type { Answer, Question } from '../machine/records/questions';
import type {
  ChannelsView,
  DecodedValue,
  DevicesView,
  DomainView,
  FrameInfo,
  FrameUses,
  GrantTableView,
  GuestRequest,
  HypercallInfo,
  MappedRange,
  Moment,
  Resumption,
  SaveReport,
  StoreNode,
  TableEntry,
  TraceRecord,
  TraceSummary,
  Walk,
} from '../machine/target';

// What this adapter adds to the Debug Adapter Protocol. The editor imports types from here and nothing else.

export type { Comparison, Difference, Side } from '../machine/records/compare';
export type {
  Answer,
  CallTotal,
  DetailRow,
  ExportFormat,
  Lane,
  Likeness,
  Question,
  QuestionKind,
  RecordRow,
  TraceAccess,
  TraceQuestions,
} from '../machine/records/questions';

/** JSON has neither bigints nor bytes: they travel as `0x…` and as base64. */
export type Wire<T> = T extends bigint
  ? string
  : T extends Uint8Array
    ? string
    : T extends readonly (infer U)[]
      ? readonly Wire<U>[]
      : T extends object
        ? { readonly [K in keyof T]: Wire<T[K]> }
        : T;

/** What a launch says about one domain. With neither `kernel` nor `config`, the bundled sample guest. */
export interface DomainArguments {
  /** Without one, that of the configuration file, else the kernel's. */
  readonly name?: string;
  /** Path of a Xen PV kernel: an ELF file or a bzImage. */
  readonly kernel?: string;
  readonly ramdisk?: string;
  readonly cmdline?: string;
  /** "256M", "1G", or a number of MiB. */
  readonly memory?: string | number;
  readonly vcpus?: number;
  /** What becomes of the domain when it ends, in xl's words: "destroy", "restart", "preserve" … */
  readonly onPoweroff?: string;
  readonly onReboot?: string;
  readonly onCrash?: string;
  readonly onWatchdog?: string;
  /** Path of an xl.cfg(5) file. What is given here as well wins. */
  readonly config?: string;
  /** Disks as xl-disk-configuration(5) has them: "disk.img", "root.qcow2,qcow2,xvda,r". */
  readonly disks?: readonly string[];
  /** Names of the consoles that the domain has beside its first. */
  readonly channels?: readonly string[];
  /** Network interfaces as xl-network-configuration(5) has them: "", "bridge=lan,ip=10.0.2.20". */
  readonly vifs?: readonly string[];
  /** Files with the kernel's debugging information, where it is not found by itself. */
  readonly symbols?: readonly string[];
}

/** Arguments of `launch`. What is about one domain stands in `domains` where there are several. */
export interface LaunchArguments extends Omit<DomainArguments, 'config' | 'name'> {
  /** Path of an xl.cfg(5) file; several files are several domains. */
  readonly config?: string | readonly string[];
  readonly domains?: readonly DomainArguments[];
  /**
   * Path of a saved machine that goes on from where it was; `kernel` then only says where the symbols are, should
   * it have moved.
   */
  readonly restore?: string;
  /** Ports of this computer's loopback that lead into the guest: "8080:80", "127.0.0.1:8080:d1:80". */
  readonly ports?: readonly string[];
  /** Where sources are: beginnings of paths as the compiler had them, and the folders here that they mean. */
  readonly sourceMap?: Readonly<Record<string, string>>;
  /** What runs guest code: "interpret" or "compile". */
  readonly tier?: string;
  /** Hypercalls that are kept before the oldest go; default 1,000,000. */
  readonly traceRecords?: number;
  /** MiB that the marks for going back may take; 0: none are kept; default 256. */
  readonly history?: number;
  /** Whether compressed kernels are kept unpacked on disk for the next launch; default true. */
  readonly keepUnpacked?: boolean;
  /** Stop before the first instruction. */
  readonly stopOnEntry?: boolean;
  /** Stepping in enters the hypervisor: its handlers of hypercalls, faults and privileged instructions. Default true. */
  readonly stepIntoHypervisor?: boolean;
  /** Stepping in goes into event upcalls, NMIs and timers that come before the next instruction. Default false. */
  readonly stepIntoDeliveries?: boolean;
  /** Run without breakpoints, as clients mean it. */
  readonly noDebug?: boolean;
}

/** With the place that made the call, where a symbol covers it: `name+0x10`. */
export type SitedRecord = TraceRecord & { readonly site?: string };

export type MachineStatus = Wire<Moment> & { readonly state: 'running' | 'stopped' | 'ended' };

/** No members. */
export type Nothing = Readonly<Record<string, never>>;

/** Custom requests: arguments and body of each. A thread is a vCPU; without one, the vCPU that is stopped. */
export interface HyperstepRequests {
  'hyperstep/domains': {
    arguments: Nothing;
    body: { readonly domains: readonly Wire<DomainView>[] };
  };
  /** One table page: indices from L4 down; an empty path is the L4 table itself. */
  'hyperstep/pageTable': {
    arguments: { readonly threadId?: number; readonly path: readonly number[] };
    body: { readonly entries: readonly Wire<TableEntry>[] };
  };
  /** `address`: a number, register or any other expression. */
  'hyperstep/walk': { arguments: { readonly threadId?: number; readonly address: string }; body: Wire<Walk> };
  'hyperstep/frame': { arguments: { readonly mfn: number }; body: Wire<FrameInfo> };
  /** Who maps a frame: entries of page tables, base tables, grants. */
  'hyperstep/frameUses': { arguments: { readonly mfn: number }; body: Wire<FrameUses> };
  /** A vCPU's whole address space, runs of pages folded: what two stops are compared by. */
  'hyperstep/mappings': {
    arguments: { readonly threadId?: number };
    body: { readonly ranges: readonly Wire<MappedRange>[] };
  };
  /** What the hypervisor keeps about a vCPU: trap table, descriptor tables, timers … `threadId` is its thread here. */
  'hyperstep/vcpu': {
    arguments: { readonly domain: number; readonly vcpu: number };
    body: { readonly threadId: number; readonly state: readonly Wire<DecodedValue>[] };
  };
  /** Event channels in use, by domain. */
  'hyperstep/channels': {
    arguments: Nothing;
    body: { readonly domains: readonly Wire<ChannelsView>[] };
  };
  /** Grant tables, and what domains have mapped of others'. */
  'hyperstep/grants': {
    arguments: Nothing;
    body: { readonly domains: readonly Wire<GrantTableView>[] };
  };
  /** A node of xenstore with the names right below it; no `node` where there is none. Values hold a character a byte. */
  'hyperstep/xenstore': {
    arguments: { readonly at: string };
    body: { readonly node?: Wire<StoreNode> };
  };
  /**
   * Writes a node, as domain 0, or removes it where there is no `value`; `before` is what it held. Not `done` yet is
   * what waits for the hypercall that is under way.
   */
  'hyperstep/xenstoreWrite': {
    arguments: { readonly at: string; readonly value?: string };
    body: { readonly before?: string; readonly done: boolean };
  };
  /** Whether the machine runs, and how far it is. Does not interrupt it. */
  'hyperstep/status': { arguments: Nothing; body: MachineStatus };
  'hyperstep/hypercalls': {
    arguments: Nothing;
    body: { readonly hypercalls: readonly Wire<HypercallInfo>[] };
  };
  /** Records from number `from` on; `first` is the oldest that is still kept, `next` where to go on reading. */
  'hyperstep/trace': {
    arguments: { readonly from: number; readonly count: number };
    body: { readonly first: number; readonly next: number; readonly records: readonly Wire<SitedRecord>[] };
  };
  /** What the views of the trace ask (machine/records/questions.ts), of a running machine too. */
  'hyperstep/traceQuestion': {
    arguments: { readonly question: Question };
    body: { readonly answer: Answer };
  };
  /** Names of functions that begin so, for a filter. */
  'hyperstep/functions': {
    arguments: { readonly prefix: string };
    body: { readonly names: readonly string[] };
  };
  /** The source that an address belongs to, where the guest's symbols have lines. */
  'hyperstep/sourceAt': {
    arguments: { readonly address: string; readonly domain: number };
    body: { readonly path?: string; readonly line?: number; readonly name?: string };
  };
  /**
   * Goes back to the start and runs until the call of a record is about to be made: the machine is deterministic, so
   * that is after as many instructions as it was before.
   */
  /** The machine goes on with one vCPU, by its thread or by its number; the others stay where they are. */
  'hyperstep/runAlone': {
    arguments: { readonly threadId: number } | { readonly domain: number; readonly vcpu: number };
    body: Nothing;
  };
  'hyperstep/runToRecord': {
    arguments: {
      readonly retired: number;
      readonly domain: number;
      readonly vcpu: number;
      readonly rip: string;
    };
    body: Nothing;
  };
  'hyperstep/traceSummary': { arguments: Nothing; body: Wire<TraceSummary> };
  /** Consoles, disks, interfaces and bridges, with the requests in their rings. */
  'hyperstep/devices': { arguments: Nothing; body: Wire<DevicesView> };
  /** Writes the machine, running or not, into a file that `restore` may name. Can be cancelled. */
  'hyperstep/save': { arguments: { readonly file: string; readonly trace?: boolean }; body: SaveReport };
  /** Asks the guest, as xl does; it answers when it runs. */
  'hyperstep/ask': { arguments: { readonly domain: number; readonly request: GuestRequest }; body: Nothing };
  /** Lets a suspended domain go on, when the machine next runs. */
  'hyperstep/resume': { arguments: { readonly domain: number; readonly how: Resumption }; body: Nothing };
  /** What was typed at a console of a domain: its first, where none is named. */
  'hyperstep/consoleInput': {
    arguments: { readonly domain: number; readonly console?: number; readonly data: string };
    body: Nothing;
  };
  /** A disk that the domain was configured with is taken from it, given back, or grows to a number of 512-byte sectors. */
  'hyperstep/disk': {
    arguments: {
      readonly domain: number;
      readonly vdev: string;
      readonly change: 'unplug' | 'plug' | 'resize';
      readonly sectors?: number;
    };
    body: Nothing;
  };
}
export type HyperstepRequest = keyof HyperstepRequests;

/** Custom events. */
export interface HyperstepEvents {
  /** Output of a domain's console, with its control sequences: for a terminal. */
  'hyperstep/console': { readonly domain: number; readonly console: number; readonly data: string };
}
