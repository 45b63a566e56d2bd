import { latin1 } from '../../base/bytes';
import type { VcpuRef } from '../../machine/target';
import { bytesToNumber } from '../../base/bytes';
import type { SymbolIndex } from '../symbols';
import type { LinuxLayout, Place } from './layout';
import type { KernelMemory } from './memory';

export interface Task {
  /** Of its struct task_struct. */
  readonly address: bigint;
  /** Of the thread, and of the process that it belongs to. */
  readonly pid: number;
  readonly tgid: number;
  readonly comm: string;
  readonly state: string;
  /** It has no memory of its own: a thread of the kernel. */
  readonly kernel: boolean;
}

/** include/linux/sched.h, TASK_…; the letters are those of ps(1). TASK_IDLE is two bits. */
const STATES: readonly (readonly [bit: number, letter: string])[] = [
  [0x0001, 'S'],
  [0x0402, 'I'],
  [0x0002, 'D'],
  [0x0004, 'T'],
  [0x0008, 't'],
  [0x0010, 'X'],
  [0x0020, 'Z'],
  [0x0040, 'P'],
];
const stateOf = (value: number): string =>
  value === 0 ? 'R' : (STATES.find(([bits]) => (value & bits) === bits)?.[1] ?? '?');

/** PID_MAX_LIMIT, and the idle tasks' 0. */
const MAX_PID = 4 * 2 ** 20;
const MAX_TASKS = 32_768;

const number = (bytes: Uint8Array, from: number, { offset, size }: Place): bigint =>
  bytesToNumber(bytes.subarray(offset - from, offset - from + size));

/** What lies there, if it looks like a task. */
export async function taskAt(
  address: bigint,
  layout: LinuxLayout,
  memory: KernelMemory,
): Promise<Task | undefined> {
  const fields = [layout.state, layout.pid, layout.tgid, layout.comm, layout.mm];
  const from = Math.min(...fields.map(({ offset }) => offset));
  const to = Math.max(...fields.map(({ offset, size }) => offset + size));
  const bytes = await memory.bytes(address + BigInt(from), to - from);
  if (bytes.length < to - from) return undefined;
  const [pid, tgid] = [Number(number(bytes, from, layout.pid)), Number(number(bytes, from, layout.tgid))];
  const { offset, size } = layout.comm;
  const name = bytes.subarray(offset - from, offset - from + size);
  const end = name.indexOf(0);
  const comm = latin1(name.subarray(0, Math.max(0, end)));
  if (end <= 0 || /[^\x20-\x7e]/.test(comm) || pid > MAX_PID || tgid > MAX_PID) return undefined;
  return {
    address,
    pid,
    tgid,
    comm,
    state: stateOf(Number(number(bytes, from, layout.state) & 0xffffn)),
    kernel: number(bytes, from, layout.mm) === 0n,
  };
}

/** Linux's number of a CPU is that of the vCPU. Undefined before the kernel has come so far, or after it is gone. */
export async function currentTask(
  { vcpu }: VcpuRef,
  layout: LinuxLayout,
  memory: KernelMemory,
  symbols: SymbolIndex,
): Promise<Task | undefined> {
  const offsets = symbols.find('__per_cpu_offset');
  // Since 6.2 it is the first word of pcpu_hot; before that, and again since 6.15, a variable of its own.
  const variable = symbols.find('current_task') ?? symbols.find('pcpu_hot');
  if (offsets === undefined || variable === undefined) return undefined;
  const base = await memory.word(offsets + BigInt(8 * vcpu));
  const address = base === undefined ? undefined : await memory.word(BigInt.asUintN(64, base + variable));
  return address === undefined || address >> 63n === 0n ? undefined : taskAt(address, layout, memory);
}

/** The processes, each with its threads after it. */
export async function allTasks(
  layout: LinuxLayout,
  memory: KernelMemory,
  symbols: SymbolIndex,
): Promise<readonly Task[]> {
  const first = symbols.find('init_task');
  if (first === undefined) return [];
  const found: Task[] = [];
  for await (const address of members(first, layout.tasks, memory, true)) {
    const leader = await taskAt(address, layout, memory);
    if (leader === undefined) break;
    found.push(leader);
    const signal = await memory.word(address + BigInt(layout.signal.offset));
    if (signal === undefined || signal >> 63n === 0n) continue;
    const head = signal + BigInt(layout.threads.offset);
    for await (const node of links(head, memory)) {
      const thread = await taskAt(node - BigInt(layout.thread.offset), layout, memory);
      if (thread !== undefined && thread.address !== address) found.push(thread);
      if (found.length > MAX_TASKS) return found;
    }
    if (found.length > MAX_TASKS) break;
  }
  return found;
}

/** The structures on a circular list (struct list_head) that goes through a member of them. */
async function* members(
  first: bigint,
  { offset }: Place,
  memory: KernelMemory,
  withFirst: boolean,
): AsyncGenerator<bigint> {
  if (withFirst) yield first;
  for await (const node of links(first + BigInt(offset), memory)) yield node - BigInt(offset);
}

/** The nodes after the head, until it comes again; a list that is damaged ends. */
export async function* links(head: bigint, memory: KernelMemory): AsyncGenerator<bigint> {
  const seen = new Set<bigint>([head]);
  for (let node = await memory.word(head); node !== undefined && node >> 63n === 1n && !seen.has(node);) {
    seen.add(node);
    yield node;
    if (seen.size > MAX_TASKS) return;
    node = await memory.word(node);
  }
}
