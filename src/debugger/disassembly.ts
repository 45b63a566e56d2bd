import type { AddressSpace, Target } from '../machine/target';
import type { DecodedInstruction, InstructionDecoder } from './decoder';
import { MAX_INSTRUCTION } from './decoder';
import type { SymbolIndex } from './symbols';

export interface DisassembledInstruction extends DecodedInstruction {
  readonly bytes: Uint8Array;
}

export interface DisassemblyRequest {
  readonly target: Target;
  readonly space: AddressSpace;
  readonly decoder: InstructionDecoder;
  /** Names are for virtual memory; `noSymbols` elsewhere. */
  readonly symbols: SymbolIndex;
  /** A known start of an instruction. */
  readonly address: bigint;
  /** In instructions from `address`; negative ones lie before it. */
  readonly offset: number;
  readonly count: number;
  readonly name?: (address: bigint) => string | undefined;
}

const PAGE = 4096n;
const TOP = 1n << 64n;

/** Exactly `count` entries; undefined where there is no memory. */
export async function disassemble(
  request: DisassemblyRequest,
): Promise<(DisassembledInstruction | undefined)[]> {
  const { offset, count } = request;
  const wantedBefore = Math.max(0, -offset);
  const before = wantedBefore > 0 ? await instructionsBefore(request, wantedBefore) : [];
  const behind = Math.max(0, offset + count);
  const after = behind > 0 ? await instructionsFrom(request, behind) : [];
  const all: (DisassembledInstruction | undefined)[] = [
    ...Array.from({ length: wantedBefore - before.length }, () => undefined),
    ...before,
    ...after,
    ...Array.from({ length: behind - after.length }, () => undefined),
  ];
  const first = Math.max(0, offset);
  return all.slice(first, first + count);
}

function withBytes(
  instructions: readonly DecodedInstruction[],
  code: Uint8Array,
  start: bigint,
): DisassembledInstruction[] {
  return instructions.map((one) => {
    const at = Number(one.address - start);
    return { ...one, bytes: code.slice(at, at + one.length) };
  });
}

async function instructionsFrom(
  request: DisassemblyRequest,
  count: number,
): Promise<DisassembledInstruction[]> {
  const { target, space, decoder, address, name } = request;
  const length = Math.min(
    count * MAX_INSTRUCTION,
    Number(TOP - address < 1n << 30n ? TOP - address : 1n << 30n),
  );
  const code = await target.readMemory(space, address, length);
  return withBytes(decoder.decode(code, address, count, name), code, address);
}

/** Memory directly before `address`, as far back as it is mapped and at most `length` bytes. */
async function readBackwards(
  { target, space, address }: DisassemblyRequest,
  length: number,
): Promise<Uint8Array> {
  const lowest = address > BigInt(length) ? address - BigInt(length) : 0n;
  const pieces: Uint8Array[] = [];
  for (let end = address; end > lowest;) {
    const page = (end - 1n) & ~(PAGE - 1n);
    const start = page > lowest ? page : lowest;
    const piece = await target.readMemory(space, start, Number(end - start));
    if (piece.length < Number(end - start)) break;
    pieces.unshift(piece);
    end = start;
  }
  const whole = new Uint8Array(pieces.reduce((sum, { length: n }) => sum + n, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/**
 * x86 code cannot be read backwards. Where a symbol starts, an instruction does, so decoding goes forward from
 * there; where no symbol helps, from everywhere, and the way that most beginnings fall into is taken: wrong ones
 * soon meet the right one.
 */
async function instructionsBefore(
  request: DisassemblyRequest,
  count: number,
): Promise<DisassembledInstruction[]> {
  const { decoder, address, symbols, name } = request;
  const code = await readBackwards(request, (count + 4) * MAX_INSTRUCTION);
  const start = address - BigInt(code.length);
  let found: DisassembledInstruction[] = [];
  let end = address;
  while (found.length < count && end > start) {
    const function_ = symbols.at(end - 1n);
    const anchor = function_ !== undefined && function_.address >= start ? function_.address : undefined;
    const part = code.subarray(Number((anchor ?? start) - start), Number(end - start));
    let instructions: DecodedInstruction[] | undefined;
    if (anchor !== undefined) {
      const straight = decoder.decode(part, anchor, part.length, name);
      // A last instruction that is cut off shows that `end` is none's start; then the vote decides.
      if (straight.at(-1)?.valid === true) instructions = straight;
    }
    instructions ??= mostTravelled(decoder, part, end - BigInt(part.length), name);
    if (instructions.length === 0) break;
    found = [...withBytes(instructions, code, start), ...found];
    end = anchor ?? instructions[0]?.address ?? start;
    if (anchor === undefined) break;
  }
  return found.slice(-count);
}

/** Instructions that end exactly at the end of `code`. */
function mostTravelled(
  decoder: InstructionDecoder,
  code: Uint8Array,
  start: bigint,
  name: DisassemblyRequest['name'],
): DecodedInstruction[] {
  const at = Array.from(
    { length: code.length },
    (_, offset) =>
      decoder.decode(code.subarray(offset, offset + MAX_INSTRUCTION), start + BigInt(offset), 1)[0],
  );
  const votes = new Array<number>(code.length + 1).fill(1);
  for (const [offset, one] of at.entries()) {
    if (one?.valid !== true) continue;
    const next = offset + one.length;
    votes[next] = (votes[next] ?? 0) + (votes[offset] ?? 0);
  }
  const path: DecodedInstruction[] = [];
  for (let end = code.length; end > 0;) {
    let best: number | undefined;
    for (let offset = Math.max(0, end - MAX_INSTRUCTION); offset < end; offset++) {
      const one = at[offset];
      if (one?.valid !== true || offset + one.length !== end) continue;
      if (best === undefined || (votes[offset] ?? 0) > (votes[best] ?? 0)) best = offset;
    }
    if (best === undefined) {
      const byte: DecodedInstruction | undefined = decoder.decode(
        code.subarray(end - 1, end),
        start + BigInt(end - 1),
        1,
      )[0];
      if (byte === undefined) break;
      path.unshift({
        ...byte,
        text: byte.valid ? `db 0x${(code[end - 1] ?? 0).toString(16).padStart(2, '0')}` : byte.text,
        valid: false,
      });
      end -= 1;
      continue;
    }
    const one = decoder.decode(code.subarray(best, end), start + BigInt(best), 1, name)[0];
    if (one === undefined) break;
    path.unshift(one);
    end = best;
  }
  return path;
}
