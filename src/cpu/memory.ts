import { STATE_SIZE } from './state';
import { PAGE_SIZE, type PhysicalMemory } from './types';
import {
  ANNEX_SIZE, GLOBALS, RETURN_COUNT, RETURN_SHIFT, SLOT_COUNT, SLOT_SHIFT, TLB_SET_BYTES, WASM_PAGES,
} from './wasm/abi'; // prettier-ignore

/** Size of a WebAssembly page. */
const WASM_PAGE = 65536;

export interface MemoryRequest {
  /** 4 KiB machine frames. */
  readonly frames: number;
  readonly vcpus: number;
  /** Bytes set aside for the caller (trace ring …), 4 KiB aligned. */
  readonly reserve?: number;
  /** Bytes for decoded records; when they are used up, all decoded code is dropped. */
  readonly records?: number;
}

/** Where things lie in the shared memory: byte addresses. Sizes that are not obvious are given in bytes. */
export interface MemoryLayout {
  readonly vcpus: readonly number[];
  /** Two sets a vCPU, consecutive. */
  readonly tlbs: readonly number[];
  readonly slots: number;
  readonly returns: number;
  readonly records: number;
  readonly recordsSize: number;
  readonly attention: number;
  readonly codeLines: number;
  readonly reserve: number;
  readonly reserveSize: number;
  readonly frames: number;
  readonly frameCount: number;
}

export interface MachineMemory extends PhysicalMemory {
  readonly layout: MemoryLayout;
}

const DEFAULT_RECORDS = 16 * 1024 * 1024;
const up = (n: number, to: number): number => Math.ceil(n / to) * to;
const MiB = (bytes: number): string => `${Math.ceil(bytes / 1048576)} MiB`;

function checked(what: string, n: number, low: number, high: number): number {
  if (Number.isInteger(n) && n >= low && n <= high) return n;
  throw new RangeError(`${what} ${n} is not an integer from ${low} to ${high}`);
}

/** Lays everything out; throws a RangeError that says what does not fit. */
export function layoutMemory(request: MemoryRequest): { layout: MemoryLayout; bytes: number } {
  const frames = checked('frame count', request.frames, 1, 2 ** 40);
  const vcpus = checked('vCPU count', request.vcpus, 1, 256);
  const reserveSize = up(checked('reserved size', request.reserve ?? 0, 0, 2 ** 32), PAGE_SIZE);
  const recordsSize = checked('decoded record space', request.records ?? DEFAULT_RECORDS, 64 * 1024, 2 ** 30);
  // Globals, the page of ones, the truncated block.
  let at = 3 * PAGE_SIZE;
  const take = (size: number, align: number): number => {
    at = up(at, align);
    const here = at;
    at += size;
    return here;
  };
  const states = Array.from({ length: vcpus }, () => take(STATE_SIZE + ANNEX_SIZE, 64));
  const tlbs = Array.from({ length: vcpus }, () => take(2 * TLB_SET_BYTES, 64));
  const slots = take(SLOT_COUNT << SLOT_SHIFT, 64);
  const returns = take(RETURN_COUNT << RETURN_SHIFT, 64);
  const records = take(recordsSize, 64);
  const reserve = take(reserveSize, PAGE_SIZE);
  const attention = take(frames, 64);
  const codeLines = take(frames * 8, 64);
  const base = take(0, WASM_PAGE);
  const bytes = base + frames * PAGE_SIZE;
  const limit = WASM_PAGE * WASM_PAGES;
  if (bytes > limit) {
    throw new RangeError(
      `a machine of ${frames} frames (${MiB(frames * PAGE_SIZE)}) needs ${MiB(bytes)} in all, of ${MiB(limit)} that a 32-bit WebAssembly memory can have`,
    );
  }
  const layout = {
    vcpus: states, tlbs, slots, returns, records, recordsSize, attention, codeLines, reserve, reserveSize,
    frames: base, frameCount: frames,
  }; // prettier-ignore
  return { layout, bytes };
}

/** The views of an existing memory (another thread's, say) laid out by the same request. */
export function viewMemory(memory: WebAssembly.Memory, layout: MemoryLayout): MachineMemory {
  const { buffer } = memory;
  return {
    memory,
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
    u64: new BigUint64Array(buffer),
    u32: new Uint32Array(buffer),
    framesBase: layout.frames,
    frameCount: layout.frameCount,
    attention: new Uint8Array(buffer, layout.attention, layout.frameCount),
    layout,
  };
}

/** Creates the machine's one shared memory. Throws a RangeError for absurd sizes, or when the host has no room. */
export function createMemory(request: MemoryRequest): MachineMemory {
  const { layout, bytes } = layoutMemory(request);
  const pages = Math.ceil(bytes / WASM_PAGE);
  let memory: WebAssembly.Memory;
  try {
    memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  } catch (error) {
    throw new RangeError(`the host has no room for a machine of ${MiB(bytes)}: ${String(error)}`, {
      cause: error,
    });
  }
  const mem = viewMemory(memory, layout);
  const word = (offset: number, value: number): void => mem.view.setUint32(offset, value, true);
  word(GLOBALS.framesBase, layout.frames);
  word(GLOBALS.frameCount, layout.frameCount);
  word(GLOBALS.attention, layout.attention);
  word(GLOBALS.codeLines, layout.codeLines);
  word(GLOBALS.slots, layout.slots);
  word(GLOBALS.returns, layout.returns);
  word(GLOBALS.ones, PAGE_SIZE);
  word(GLOBALS.partial, 2 * PAGE_SIZE);
  mem.bytes.fill(0xff, PAGE_SIZE, 2 * PAGE_SIZE);
  return mem;
}
