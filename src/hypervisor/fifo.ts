/**
 * The FIFO event ABI (event_channel.h; Xen: common/event_fifo.c): a word per port in pages of the guest's, which
 * link pending ports to queues, one for each priority and vCPU; the heads stand in a control block per vCPU.
 */
import { evtchn_fifo_control_block } from '../abi/events';
import type { Mfn } from '../base/branded';
import type { Core } from './core';
import { FRAME_TYPE } from './frames';
import { fail, Refusal } from './hypercall';
import type { PortAbi } from './port-abi';
import type { FifoQueues, Port } from './state';
import { TWO_LEVEL } from './twolevel';
import type { Domain, GuestVcpu } from './types';
import { raiseUpcall } from './vcpu';

export const FIFO_LINK_BITS = 17;
export const FIFO_PRIORITY_MIN = 15;
const CHANNELS = 1 << FIFO_LINK_BITS;
const LINK_MASK = CHANNELS - 1;
const PENDING = 0x8000_0000;
const MASKED = 0x4000_0000;
const LINKED = 0x2000_0000;
const WORDS_PER_PAGE = 1024;
const QUEUES = 16;

interface Word {
  readonly frame: Mfn;
  readonly offset: number;
}

/** Undefined while the guest has not given the page for this port. */
function wordOf(domain: Domain, number: number): Word | undefined {
  const frame = domain.state.fifoArray?.[Math.floor(number / WORDS_PER_PAGE)];
  return frame === undefined ? undefined : { frame, offset: (number % WORDS_PER_PAGE) * 4 };
}
const load = (core: Core, { frame, offset }: Word): number => core.memory.half(frame, offset >> 2);
function store(core: Core, { frame, offset }: Word, value: number): void {
  core.memory.setHalf(frame, offset >> 2, value);
}

const has = (core: Core, domain: Domain, number: number, bits: number): boolean => {
  const word = wordOf(domain, number);
  return word !== undefined && (load(core, word) & bits) !== 0;
};

function change(core: Core, domain: Domain, number: number, set: number, clear: number): void {
  const word = wordOf(domain, number);
  if (word !== undefined) store(core, word, (load(core, word) & ~clear) | set);
}

/** Puts a pending, unmasked, unlinked port at the end of its queue. */
function link(core: Core, domain: Domain, number: number, port: Port): void {
  const v = domain.vcpus[port.vcpu];
  const word = wordOf(domain, number);
  const queues = v?.state.fifo;
  if (v === undefined || word === undefined || queues === undefined) return;
  if ((load(core, word) & (MASKED | LINKED)) !== 0) return;
  store(core, word, load(core, word) | LINKED);
  // If it was the last of the queue it was in before, that queue is empty now.
  const before = domain.vcpus[port.lastVcpu]?.state.fifo;
  if (before?.tails[port.lastPriority] === number) before.tails[port.lastPriority] = 0;
  port.lastVcpu = port.vcpu;
  port.lastPriority = port.priority;

  const tail = queues.tails[port.priority] ?? 0;
  const tailWord = tail === 0 ? undefined : wordOf(domain, tail);
  const linked = tailWord !== undefined && (load(core, tailWord) & LINKED) !== 0;
  if (linked) store(core, tailWord, (load(core, tailWord) & ~LINK_MASK) | number);
  else storeControl(core, queues, evtchn_fifo_control_block.offset.head + port.priority * 4, number);
  queues.tails[port.priority] = number;
  if (linked) return;
  const ready = core.memory.half(queues.frame, queues.offset >> 2);
  if ((ready & (1 << port.priority)) !== 0) return;
  storeControl(core, queues, 0, ready | (1 << port.priority));
  raiseUpcall(core, v);
}

function storeControl(core: Core, queues: FifoQueues, at: number, value: number): void {
  core.memory.setHalf(queues.frame, (queues.offset + at) >> 2, value);
}

export const FIFO: PortAbi = {
  channels: CHANNELS,
  isPending: (core, domain, number) => has(core, domain, number, PENDING),
  isMasked: (core, domain, number) =>
    wordOf(domain, number) === undefined || has(core, domain, number, MASKED),
  isBusy: (core, domain, number) => has(core, domain, number, LINKED),
  setPending: (core, domain, number) => {
    const port = domain.state.ports[number];
    if (port === undefined) return false;
    if (wordOf(domain, number) === undefined) {
      // Remembered until the page comes.
      port.early = true;
      return false;
    }
    const fresh = !has(core, domain, number, PENDING);
    change(core, domain, number, PENDING, 0);
    link(core, domain, number, port);
    return fresh;
  },
  clearPending: (core, domain, number) => change(core, domain, number, 0, PENDING),
  unmask: (core, domain, number) => {
    change(core, domain, number, 0, MASKED);
    const port = domain.state.ports[number];
    if (port !== undefined && has(core, domain, number, PENDING)) link(core, domain, number, port);
  },
};

/** The ABI a domain uses: two-level until its first init_control. */
export const abiOf = (domain: Domain): PortAbi => (domain.state.fifoArray === undefined ? TWO_LEVEL : FIFO);

/** EVTCHNOP_init_control: a vCPU's control block; the first one switches the domain over. */
export function initControl(core: Core, domain: Domain, v: GuestVcpu, mfn: number, offset: number): void {
  const limit = 4096 - evtchn_fifo_control_block.size;
  if (offset > limit)
    fail('EINVAL', `offset ${offset}: the control block would leave its page, at most ${limit}`);
  if ((offset & 7) !== 0) fail('EINVAL', `offset ${offset} is not aligned to 8`);
  if (v.state.fifo !== undefined) fail('EINVAL', `vCPU ${v.id} has its control block already`);
  const problem = core.types.getPageAndType(mfn, domain.id, FRAME_TYPE.writable);
  if (problem !== undefined) throw new Refusal('EINVAL', `control block: ${problem.reason}`);
  const first = domain.state.fifoArray === undefined;
  // What is pending in the old bits is made pending in the new words as soon as those exist.
  if (first) {
    domain.state.ports.forEach((port, number) => {
      if (TWO_LEVEL.isPending(core, domain, number)) port.early = true;
    });
    domain.state.fifoArray = [];
  }
  const queues: FifoQueues = { frame: mfn as Mfn, offset, tails: Array.from({ length: QUEUES }, () => 0) };
  v.state.fifo = queues;
  core.memory.write(mfn, offset, new Uint8Array(evtchn_fifo_control_block.size));
}

/** EVTCHNOP_expand_array: another page of words. */
export function expandArray(core: Core, domain: Domain, mfn: number): void {
  const { fifoArray, ports } = domain.state;
  if (fifoArray === undefined) return fail('EOPNOTSUPP', 'the domain uses the two-level event ABI');
  if (fifoArray.length * WORDS_PER_PAGE >= CHANNELS)
    return fail('ENOSPC', `there are words for all ${CHANNELS} ports`);
  const problem = core.types.getPageAndType(mfn, domain.id, FRAME_TYPE.writable);
  if (problem !== undefined)
    throw new Refusal('EINVAL', `event array page ${fifoArray.length}: ${problem.reason}`);
  fifoArray.push(mfn as Mfn);
  ports.forEach((port, number) => {
    if (port.early !== true || wordOf(domain, number) === undefined) return;
    port.early = false;
    FIFO.setPending(core, domain, number);
  });
}

/** Back to the two-level ABI (EVTCHNOP_reset). */
export function dropFifo(core: Core, domain: Domain): void {
  for (const v of domain.vcpus) {
    if (v.state.fifo !== undefined) core.types.putPageAndType(v.state.fifo.frame);
    v.state.fifo = undefined;
  }
  for (const mfn of domain.state.fifoArray ?? []) core.types.putPageAndType(mfn);
  domain.state.fifoArray = undefined;
  // The bits of shared_info end here; those beyond are closed.
  domain.state.ports.length = Math.min(domain.state.ports.length, TWO_LEVEL.channels);
}
