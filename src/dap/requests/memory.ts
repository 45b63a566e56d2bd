import type { Location } from '../../debugger/locations';
import { hex, hex64, parseLocation } from '../../debugger/locations';
import { disassemble as disassembleAt } from '../../debugger/disassembly';
import { noSymbols, symbolic, type SymbolIndex } from '../../debugger/symbols';
import type { Context } from '../context';
import { event, needMachine, sourceOf, toClientLine } from '../context';
import { RequestError } from '../errors';
import { handler } from '../handler';
import type { Machine } from '../machine';
import { boolean, count, integer, object, optional, text } from '../shape';

/** Bytes of one read or write, and instructions of one disassembly. */
const MAX_BYTES = 16 * 2 ** 20;
const MAX_INSTRUCTIONS = 20_000;

/** Resolves a reference and the offset to it. Throws for what leaves the address space. */
export function locate(machine: Machine, reference: string, offset: number): Location {
  const { space, address } = parseLocation(reference, machine.current());
  const at = address + BigInt(offset);
  if (at < 0n || at >= 1n << 64n)
    throw new RequestError(
      `${reference} ${offset < 0 ? '-' : '+'} ${Math.abs(offset)} is outside of 64 bits`,
      { show: false },
    );
  return { space, address: at };
}

const readMemory = handler(
  'readMemory',
  object({ memoryReference: text, offset: optional(integer), count }),
  async (context, { memoryReference, offset = 0, count: length }) => {
    if (length > MAX_BYTES)
      throw new RequestError(`readMemory: ${length} bytes; at most ${MAX_BYTES} at once`, { show: false });
    const machine = needMachine(context);
    const { space, address } = locate(machine, memoryReference, offset);
    const data =
      length === 0
        ? new Uint8Array()
        : await machine.control.still(() => machine.target.readMemory(space, address, length));
    return {
      address: hex(address),
      ...(data.length > 0 ? { data: Buffer.from(data).toString('base64') } : {}),
      ...(data.length < length ? { unreadableBytes: length - data.length } : {}),
    };
  },
);

const writeMemory = handler(
  'writeMemory',
  object({ memoryReference: text, offset: optional(integer), allowPartial: optional(boolean), data: text }),
  async (context, { memoryReference, offset = 0, allowPartial = false, data: encoded }, reply) => {
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(encoded) || encoded.length % 4 === 1) {
      throw new RequestError('writeMemory: data is not base64', { show: false });
    }
    const data = new Uint8Array(Buffer.from(encoded, 'base64'));
    if (data.length > MAX_BYTES)
      throw new RequestError(`writeMemory: ${data.length} bytes; at most ${MAX_BYTES} at once`, {
        show: false,
      });
    const machine = needMachine(context);
    const { space, address } = locate(machine, memoryReference, offset);
    const { target } = machine;
    const bytesWritten = await machine.control.still(async () => {
      if (!allowPartial) {
        const there = await target.readMemory(space, address, data.length);
        if (there.length < data.length) {
          throw new RequestError(
            `only ${there.length} of the ${data.length} bytes at ${hex(address)} are mapped; nothing was written`,
          );
        }
      }
      machine.forget();
      return target.writeMemory(space, address, data);
    });
    reply.after(() => {
      if (context.client.memory)
        context.send(event('memory', { memoryReference, offset, count: bytesWritten }));
      if (context.client.invalidated) context.send(event('invalidated', { areas: ['variables'] }));
    });
    return { bytesWritten };
  },
);

/** How the protocol shows what is no instruction; VS Code leaves out entries at -1. */
const invalid = { address: '-1', instruction: '(not mapped)', presentationHint: 'invalid' as const };

function lineOf(context: Context, symbols: SymbolIndex, address: bigint, last: { key: string }): object {
  const line = symbols.line(address);
  const key = line === undefined ? '' : `${line.file}:${line.line}`;
  if (line === undefined || key === last.key) return {};
  last.key = key;
  return { location: sourceOf(context, symbols, line.file), line: toClientLine(context, line.line) };
}

const disassemble = handler(
  'disassemble',
  object({
    memoryReference: text,
    offset: optional(integer),
    instructionOffset: optional(integer),
    instructionCount: count,
    resolveSymbols: optional(boolean),
  }),
  async (
    context,
    { memoryReference, offset = 0, instructionOffset = 0, instructionCount, resolveSymbols = true },
  ) => {
    if (instructionCount > MAX_INSTRUCTIONS || Math.abs(instructionOffset) > MAX_INSTRUCTIONS) {
      throw new RequestError(`disassemble: at most ${MAX_INSTRUCTIONS} instructions at once`, {
        show: false,
      });
    }
    const machine = needMachine(context);
    const { space, address } = locate(machine, memoryReference, offset);
    const symbols = space.kind === 'virtual' ? machine.symbols.of(space.vcpu.domain) : noSymbols;
    const name = (at: bigint): string | undefined => symbolic(symbols, at);
    const { target, decoder } = machine;
    const list = await machine.control.still(() =>
      disassembleAt({
        target,
        space,
        decoder,
        symbols,
        address,
        offset: instructionOffset,
        count: instructionCount,
        ...(resolveSymbols ? { name } : {}),
      }),
    );
    const last = { key: '' };
    return {
      instructions: list.map((one) => {
        if (one === undefined) return invalid;
        const symbol = resolveSymbols ? name(one.address) : undefined;
        return {
          address: hex64(one.address),
          instructionBytes: [...one.bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' '),
          instruction: one.text,
          ...(symbol === undefined ? {} : { symbol }),
          ...(space.kind === 'virtual' ? lineOf(context, symbols, one.address, last) : {}),
          ...(one.valid ? {} : { presentationHint: 'invalid' as const }),
        };
      }),
    };
  },
);

export const memory = [readMemory, writeMemory, disassemble];
