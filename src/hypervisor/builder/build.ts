/** Makes a domain, as Xen and its toolstack do for an unprivileged PV guest. */
import { hex } from '../../abi/decoded';
import {
  MAX_GUEST_CMDLINE,
  SIF,
  XEN_LEGACY_MAX_VCPUS,
  shared_info,
  start_info,
  vcpu_info,
} from '../../abi/info';
import { PAGE_SIZE, type DomainId, type EventPort, type Mfn, type VcpuId } from '../../base/branded';
import type { Core } from '../core';
import { newPorts } from '../events';
import { FRAME_FLAG, FRAME_TYPE } from '../frames';
import { createGuestMemory } from '../guest-memory';
import { loadGdt } from '../ldt';
import { lendFrame } from '../lent';
import type { DomainState } from '../state';
import type { Domain, GuestVcpu } from '../types';
import { FLAT_KERNEL_CS, FLAT_KERNEL_SS, loadBase, newVcpuState, setRunState, writeTimeInfo } from '../vcpu';
import { resetProcessor } from '../vcpu-context';
import { hypercallPage } from './hypercallpage';
import { connectRings } from './rings';
import { BuildError, type DomainBuild, type KernelInput } from './input';
import { planDomain, type Layout } from './layout';
import { buildTables } from './tables';

/** Xen's default (gnttab_max_frames). */
const MAX_GRANT_FRAMES = 64;
const MAX_VCPUS = XEN_LEGACY_MAX_VCPUS;
/** 2020-01-01: the moment the machine was made, when nobody says otherwise. */
const DEFAULT_WALLCLOCK = 1_577_836_800n;

/** Frames that xl lets a domain have beyond its memory, 1 MiB (LIBXL_MAXMEM_CONSTANT). */
const TOOLSTACK_SLACK = 256;

export function buildDomain(core: Core, build: DomainBuild, kernel: KernelInput): Domain {
  const { vcpus, cmdline } = build;
  if (!Number.isInteger(vcpus) || vcpus < 1 || vcpus > MAX_VCPUS) {
    throw new BuildError(`${vcpus} vCPUs: a domain has 1 to ${MAX_VCPUS}`);
  }
  if (cmdline.length >= MAX_GUEST_CMDLINE) {
    throw new BuildError(
      `the command line has ${cmdline.length} characters: at most ${MAX_GUEST_CMDLINE - 1} reach the kernel`,
    );
  }
  const layout = planDomain(build, kernel);
  if (core.frames.available() < layout.pages) {
    throw new BuildError(
      `the domain wants ${layout.pages} frames, the machine has ${core.frames.available()} left`,
    );
  }
  const domain = createDomain(core, build, layout);
  const frame = (pfn: number): number => {
    const mfn = domain.state.p2m[pfn];
    if (mfn === undefined || mfn < 0)
      throw new BuildError(`pseudo-physical frame ${hex(pfn)} is beyond the domain's memory`);
    return mfn;
  };
  if (build.ramdisk !== undefined && layout.ramdisk !== undefined) {
    copyPages(core, build.ramdisk, layout.ramdisk.pfn, frame);
  }
  // Entries of 64 bits, as their halves.
  const p2m = new Uint32Array(2 * layout.pages);
  for (let pfn = 0; pfn < layout.pages; pfn++) p2m[2 * pfn] = frame(pfn);
  copyPages(core, new Uint8Array(p2m.buffer), layout.p2m.pfn, frame);

  connectRings(core, domain, frame(layout.console) as Mfn, frame(layout.store) as Mfn);
  writeStartInfo(core, domain, build, layout, frame);
  const l4 = buildTables(core, layout, frame);
  startVcpu(core, domain, layout, kernel, l4 as Mfn);
  // Last, since the image may still be on its way.
  loadImage(core, kernel, layout, frame);
  return domain;
}

function createDomain(core: Core, build: DomainBuild, layout: Layout): Domain {
  const id = (Math.max(0, ...core.domains.keys()) + 1) as DomainId;
  core.slots.addDomain(id, build.vcpus);
  const sharedInfo = lendFrame(core, id);
  if (sharedInfo === undefined) throw new BuildError('the machine has no frame left for shared_info');
  const processors = core.cpu.vcpus.filter((cpu) => !taken(core, cpu));
  if (processors.length < build.vcpus) {
    throw new BuildError(
      `the domain wants ${build.vcpus} vCPUs, the machine has ${processors.length} processors left`,
    );
  }
  const state: DomainState = {
    maxPages: layout.pages + TOOLSTACK_SLACK,
    totalPages: layout.pages,
    mapPages: layout.pages,
    vmAssist: 0n,
    shutdown: undefined,
    crashText: undefined,
    sharedInfo,
    consoleFrame: 0 as Mfn,
    storeFrame: 0 as Mfn,
    consolePort: 0 as EventPort,
    storePort: 0 as EventPort,
    ports: newPorts(),
    fifoArray: undefined,
    eoiFrame: undefined,
    pirqs: [],
    pciAddress: 0,
    shutdownCode: undefined,
    globalVirqs: {},
    grantVersion: 1,
    watchdogs: [],
    grantFrames: [],
    statusFrames: [],
    grantMaxVersion: 2,
    grantMaxFrames: MAX_GRANT_FRAMES,
    maptrack: [],
    // Room for what ballooning may add later is the guest's affair; numbers beyond it are only not looked up.
    p2m: new Int32Array(layout.pages + 4096).fill(-1),
  };
  const vcpus: GuestVcpu[] = [];
  const domain: Domain = { id, name: build.name, vcpus, state };
  for (const cpu of processors.slice(0, build.vcpus)) {
    const n = vcpus.length;
    const v = {
      domain,
      id: n as VcpuId,
      cpu,
      guest: createGuestMemory(cpu, core.memory),
      state: newVcpuState(sharedInfo, shared_info.offset.vcpu_info + n * vcpu_info.size),
    };
    v.state.runSince = core.now();
    vcpus.push(v);
  }
  core.domains.set(id, domain);
  for (let pfn = 0; pfn < layout.pages; pfn++) {
    const mfn = core.frames.allocate(id);
    if (mfn === undefined) throw new BuildError(`the machine ran out of frames at ${pfn} of ${layout.pages}`);
    // As setMachineToPhysical, of frames that nobody had as anything yet.
    core.slots.setM2pNumber(mfn, pfn);
    state.p2m[pfn] = mfn;
  }
  writeSharedInfo(core, domain);
  return domain;
}

const taken = (core: Core, cpu: GuestVcpu['cpu']): boolean =>
  [...core.domains.values()].some((d) => d.vcpus.some((v) => v.cpu === cpu));

function writeSharedInfo(core: Core, domain: Domain): void {
  const { sharedInfo } = domain.state;
  core.memory.zero(sharedInfo);
  const view = core.memory.view(sharedInfo);
  // Events are masked until the guest is ready for them.
  for (let n = 0; n < XEN_LEGACY_MAX_VCPUS; n++) {
    view.setUint8(shared_info.offset.vcpu_info + n * vcpu_info.size + vcpu_info.offset.evtchn_upcall_mask, 1);
  }
  const seconds = core.options.wallclock ?? DEFAULT_WALLCLOCK;
  view.setUint32(shared_info.offset.wc_version, 2, true);
  view.setUint32(shared_info.offset.wc_sec, Number(seconds & 0xffff_ffffn), true);
  view.setUint32(shared_info.offset.wc_sec_hi, Number(seconds >> 32n), true);
  for (const v of domain.vcpus) writeTimeInfo(core, v);
}

/** Writes bytes to consecutive pseudo-physical frames. */
function copyPages(core: Core, bytes: Uint8Array, pfn: number, frame: (pfn: number) => number): void {
  for (let at = 0; at < bytes.length; at += PAGE_SIZE) {
    core.memory.write(frame(pfn + at / PAGE_SIZE), 0, bytes.subarray(at, at + PAGE_SIZE));
  }
}

/** Bytes that are waited for at once. */
const PIECE = 64 * PAGE_SIZE;

function loadImage(core: Core, kernel: KernelInput, layout: Layout, frame: (pfn: number) => number): void {
  // In the order of the file, which is that in which they come.
  const segments = [...kernel.segments].sort((a, b) => a.data.byteOffset - b.data.byteOffset);
  for (const { data, pseudoPhysical, wait } of segments) {
    const first = Number(pseudoPhysical >> 12n);
    const lead = Number(pseudoPhysical & 0xfffn);
    let there = wait === undefined ? data.length : 0;
    // What lies behind the data is zero already: the frames are fresh.
    for (let done = 0; done < data.length;) {
      const page = Math.floor((lead + done) / PAGE_SIZE);
      const offset = (lead + done) % PAGE_SIZE;
      const length = Math.min(PAGE_SIZE - offset, data.length - done);
      if (done + length > there) wait?.((there = Math.min(data.length, done + PIECE)));
      core.memory.write(frame(first + page), offset, data.subarray(done, done + length));
      done += length;
    }
  }
  const { hypercallPage: page } = kernel.layout;
  if (page === undefined) return;
  if ((page & 0xfffn) !== 0n || page < layout.virtBase || page >= layout.virtEnd) {
    throw new BuildError(
      `kernel '${kernel.name}': its hypercall page ${hex(page)} is unaligned or outside ${hex(layout.virtBase)}–${hex(layout.virtEnd)}`,
    );
  }
  core.memory.write(frame(Number((page - layout.virtBase) >> 12n)), 0, hypercallPage());
}

function writeStartInfo(
  core: Core,
  domain: Domain,
  build: DomainBuild,
  layout: Layout,
  frame: (pfn: number) => number,
): void {
  const address = (pfn: number): bigint => layout.virtBase + BigInt(pfn) * 4096n;
  const { ramdisk, ramdiskMapped, p2m } = layout;
  const apart = layout.p2mAddress < layout.virtBase;
  const { state } = domain;
  const mfn = frame(layout.startInfo);
  core.cpu.beforeStore(mfn);
  start_info.write(core.memory.view(mfn), 0, {
    magic: 'xen-3.0-x86_64',
    nr_pages: BigInt(layout.pages),
    shared_info: BigInt(state.sharedInfo) << 12n,
    flags: SIF.SIF_VIRT_P2M_4TOOLS | (ramdisk !== undefined && !ramdiskMapped ? SIF.SIF_MOD_START_PFN : 0),
    store_mfn: BigInt(state.storeFrame),
    store_evtchn: state.storePort,
    // The union's members overlap; the one written last is the one that counts.
    console: {
      dom0: { info_off: 0, info_size: 0 },
      domU: { mfn: BigInt(state.consoleFrame), evtchn: state.consolePort },
    },
    pt_base: address(layout.tables.pfn),
    nr_pt_frames: BigInt(layout.tables.pages),
    mfn_list: layout.p2mAddress,
    mod_start: ramdisk === undefined ? 0n : ramdiskMapped ? address(ramdisk.pfn) : BigInt(ramdisk.pfn),
    mod_len: BigInt(build.ramdisk?.length ?? 0),
    cmd_line: build.cmdline,
    first_p2m_pfn: apart ? BigInt(p2m.pfn - layout.p2mTables) : 0n,
    nr_p2m_frames: apart ? BigInt(p2m.pages + layout.p2mTables) : 0n,
  });
}

function startVcpu(core: Core, domain: Domain, layout: Layout, kernel: KernelInput, l4: Mfn): void {
  const [v] = domain.vcpus;
  if (v === undefined) return;
  // Once as pinned, as the toolstack leaves it, and once as the base table of vCPU 0.
  for (const what of ['pinning', 'loading'] as const) {
    const problem = core.types.getPageAndType(l4, domain.id, FRAME_TYPE.l4);
    if (problem !== undefined) throw new BuildError(`${what} the initial page tables: ${problem.reason}`);
  }
  core.frames.flags[l4] = (core.frames.flags[l4] ?? 0) | FRAME_FLAG.PINNED;

  const address = (pfn: number): bigint => layout.virtBase + BigInt(pfn) * 4096n;
  const { cpu, state } = v;
  resetProcessor(v);
  state.kernelTable = l4;
  state.kernelSp = address(layout.stack + 1);
  state.kernelSs = FLAT_KERNEL_SS;
  cpu.set('rip', kernel.layout.virtEntry);
  cpu.set('rsp', state.kernelSp);
  cpu.set('rsi', address(layout.startInfo));
  cpu.set('cs', FLAT_KERNEL_CS);
  cpu.set('ss', FLAT_KERNEL_SS);
  for (const name of ['ds', 'es', 'fs', 'gs'] as const) cpu.set(name, 0n);
  cpu.rflags = 0x202n;
  loadGdt(v);
  loadBase(v);
  cpu.flushTlb();
  state.initialised = true;
  state.online = true;
  setRunState(core, v, 'runnable');
}
