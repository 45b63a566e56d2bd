import type { ReadMemory } from '../memory-cache';
import { bytesToNumber } from '../../base/bytes';
import type { SymbolAt, SymbolIndex } from '../symbols';

// The caller without unwind tables: what the code at the instruction pointer shows, then frame pointers, then a
// search of the stack for return addresses. Each says which of these found it.

/** A frame as far as this needs to know it. */
export interface Place {
  readonly address: bigint;
  readonly symbol: SymbolAt | undefined;
  readonly stack: bigint;
  readonly base: bigint;
}

export interface Caller {
  readonly address: bigint;
  readonly stack: bigint;
  readonly base: bigint;
  readonly found: 'code' | 'frame pointer' | 'search';
}

/** Bytes of stack that are searched for one return address. */
const SEARCH = 4096;
/** A frame larger than this is not believed. */
const MAX_FRAME = 1n << 16n;
const WORD = 8n;

/** `call r/m64` (FF /2) by its length: where its ModRM byte is relative to the return address. */
const indirectCalls: readonly { readonly length: number; readonly modrm: (byte: number) => boolean }[] = [
  { length: 2, modrm: (m) => m >= 0xd0 && m <= 0xd7 },
  { length: 2, modrm: (m) => m >= 0x10 && m <= 0x17 && m !== 0x14 && m !== 0x15 },
  { length: 3, modrm: (m) => m === 0x14 || (m >= 0x50 && m <= 0x57 && m !== 0x54) },
  { length: 4, modrm: (m) => m === 0x54 },
  { length: 6, modrm: (m) => m === 0x15 || (m >= 0x90 && m <= 0x97 && m !== 0x94) },
  { length: 7, modrm: (m) => m === 0x94 },
];

const LONGEST_CALL = 7;
const SHORTEST_CALL = 2;

/** Whether the code before `address` is a call, and whereto if it is a direct one (SDM vol. 2A CALL). */
async function callBefore(
  read: ReadMemory,
  address: bigint,
): Promise<{ readonly target?: bigint } | undefined> {
  const before = new Uint8Array(LONGEST_CALL);
  for (let length = LONGEST_CALL; ; length--) {
    // The function may be the first in its page, and nothing mapped before it.
    if (length < SHORTEST_CALL) return undefined;
    const bytes = await read(address - BigInt(length), length);
    if (bytes.length < length) continue;
    before.set(bytes, LONGEST_CALL - length);
    break;
  }
  if (before[2] === 0xe8) {
    const displacement = BigInt.asIntN(32, bytesToNumber(before.subarray(3)));
    return { target: BigInt.asUintN(64, address + displacement) };
  }
  const indirect = indirectCalls.some(
    ({ length, modrm }) => before[7 - length] === 0xff && modrm(before[8 - length] ?? 0),
  );
  return indirect ? {} : undefined;
}

export const matches = (bytes: Uint8Array, pattern: readonly number[], at = 0): boolean =>
  pattern.every((value, index) => bytes[at + index] === value);
const ENDBR64 = [0xf3, 0x0f, 0x1e, 0xfa];
const PUSH_RBP = [0x55];
export const SYSCALL = [0x0f, 0x05];
/** Both encodings of `mov rbp, rsp`. */
const MOV_RBP_RSP: readonly (readonly number[])[] = [
  [0x48, 0x89, 0xe5],
  [0x48, 0x8b, 0xec],
];
const RETURNS = new Set([0xc3, 0xc2]);

/** How many bytes below the return address the stack pointer is, where the code tells; and whether rbp is a frame pointer. */
async function readPrologue(
  read: ReadMemory,
  address: bigint,
  symbol: SymbolAt | undefined,
  innermost: boolean,
): Promise<{ readonly depth?: bigint; readonly framePointer: boolean | undefined }> {
  if (innermost && RETURNS.has((await read(address, 1))[0] ?? 0))
    return { depth: 0n, framePointer: undefined };
  if (symbol === undefined) return { framePointer: undefined };
  const code = await read(symbol.address, 8);
  const start = matches(code, ENDBR64) ? ENDBR64.length : 0;
  const pushes = matches(code, PUSH_RBP, start);
  const framePointer = pushes && MOV_RBP_RSP.some((pattern) => matches(code, pattern, start + 1));
  if (!innermost) return { framePointer };
  if (symbol.offset <= BigInt(start)) return { depth: 0n, framePointer };
  if (pushes && symbol.offset <= BigInt(start + 1)) return { depth: WORD, framePointer };
  return { framePointer };
}

export async function word(read: ReadMemory, address: bigint): Promise<bigint | undefined> {
  const bytes = await read(address, 8);
  return bytes.length < 8 ? undefined : bytesToNumber(bytes);
}

async function viaFramePointer(read: ReadMemory, frame: Place): Promise<Caller | undefined> {
  const { base, stack } = frame;
  if (base < stack || base - stack > MAX_FRAME || base % WORD !== 0n) return undefined;
  const saved = await word(read, base);
  const address = await word(read, base + WORD);
  if (saved === undefined || address === undefined) return undefined;
  if ((await callBefore(read, address)) === undefined) return undefined;
  return { address, stack: base + 2n * WORD, base: saved, found: 'frame pointer' };
}

/** Bytes at the start of a function in which a tail jump is looked for. */
const THUNK = 16;

/** Whether the function at `from` soon jumps to `to`: a call of it then comes back from there. */
async function jumpsTo(read: ReadMemory, from: bigint, to: bigint): Promise<boolean> {
  const code = await read(from, THUNK);
  return code.some((opcode, at) => {
    const width = opcode === 0xe9 ? 4 : opcode === 0xeb ? 1 : 0;
    const end = at + 1 + width;
    if (width === 0 || end > code.length) return false;
    const displacement = BigInt.asIntN(width * 8, bytesToNumber(code.subarray(at + 1, end)));
    return BigInt.asUintN(64, from + BigInt(end) + displacement) === to;
  });
}

/**
 * The nearest word that looks like a return address; one behind a call of this very function, or of one that jumps
 * to it, before one behind a call through a pointer. A direct call of something else is mostly what an earlier call
 * has left behind: only for the innermost frame is even that better than nothing.
 */
async function viaSearch(
  read: ReadMemory,
  frame: Place,
  symbols: SymbolIndex,
  innermost: boolean,
): Promise<Caller | undefined> {
  const first = (frame.stack + WORD - 1n) & ~(WORD - 1n);
  const bytes = await read(first, SEARCH);
  const own = frame.symbol?.address;
  let indirect: Caller | undefined;
  let other: Caller | undefined;
  for (let offset = 0; offset + 8 <= bytes.length; offset += 8) {
    const address = bytesToNumber(bytes.subarray(offset, offset + 8));
    const inCode = symbols.count === 0 ? address > 0xffffn : symbols.at(address - 1n) !== undefined;
    const call = inCode ? await callBefore(read, address) : undefined;
    if (call === undefined) continue;
    const caller: Caller = {
      address,
      stack: first + BigInt(offset) + WORD,
      base: frame.base,
      found: 'search',
    };
    if (own === undefined) return caller;
    if (call.target === own || (call.target !== undefined && (await jumpsTo(read, call.target, own))))
      return caller;
    if (call.target === undefined) indirect ??= caller;
    else other ??= caller;
  }
  return indirect ?? (innermost ? other : undefined);
}

/** The caller, where no table tells: by the code at the instruction pointer, by frame pointer, by search. */
export async function searchCaller(
  read: ReadMemory,
  frame: Place,
  symbols: SymbolIndex,
  innermost: boolean,
): Promise<Caller | undefined> {
  const { depth, framePointer } = await readPrologue(read, frame.address, frame.symbol, innermost);
  if (depth !== undefined) {
    const address = await word(read, frame.stack + depth);
    const base = depth === 0n ? frame.base : ((await word(read, frame.stack)) ?? frame.base);
    if (address !== undefined && (await callBefore(read, address)) !== undefined) {
      return { address, stack: frame.stack + depth + WORD, base, found: 'code' };
    }
  }
  const byPointer = framePointer === false ? undefined : await viaFramePointer(read, frame);
  return byPointer ?? (await viaSearch(read, frame, symbols, innermost));
}
