import type { DecodedInstruction } from '../../debugger/decoder';
import { MAX_INSTRUCTION } from '../../debugger/decoder';
import { hex } from '../../debugger/locations';
import { numberToBytes } from '../../base/bytes';
import { readRegisters } from '../../debugger/registers';
import type { LineAt, SymbolIndex } from '../../debugger/symbols';
import { symbolic } from '../../debugger/symbols';
import type { RunUntil, VcpuRef } from '../../machine/target';
import type { Context } from '../context';
import {
  event,
  fromClientLine,
  needStopped,
  needThread,
  resetHandles,
  sourceOf,
  toClientLine,
} from '../context';
import { RequestError } from '../errors';
import { whereIs } from '../halting';
import { handler } from '../handler';
import type { Machine } from '../machine';
import { integer, object, optional, text } from '../shape';
import { localPath } from '../sources';
import { needFrame } from './stack';

// Places that a person may choose to go to: the entry of a multicall or the call on a line to step into, the line to
// go on from, the source behind a value.

/** Instructions of one line that are looked through for calls. */
const MAX_LINE = 4096;

/** The code around an address that is one function, as far as symbols say. */
function functionAt(symbols: SymbolIndex, address: bigint): { low: bigint; high: bigint } | undefined {
  const scope = symbols.debug?.scopes.at(address)[0];
  const range = scope?.ranges.find(({ low, high }) => low <= address && address < high);
  if (range !== undefined) return range;
  const symbol = symbols.at(address);
  if (symbol === undefined) return undefined;
  // To the next symbol: the first address that belongs to another.
  let high = address + 1n;
  for (let width = 1n << 16n; width > 0n; width >>= 1n)
    while (symbols.at(high + width - 1n)?.address === symbol.address) high += width;
  return { low: symbol.address, high };
}

const inLine = (row: LineAt, line: LineAt): boolean => row.file === line.file && row.line === line.line;

/** Calls from the instruction on, as long as the code is the line's. */
async function callsOn(
  machine: Machine,
  vcpu: VcpuRef,
  symbols: SymbolIndex,
  rip: bigint,
): Promise<{ readonly calls: readonly DecodedInstruction[]; readonly elsewhere: readonly bigint[] }> {
  const line = symbols.line(rip);
  const around = functionAt(symbols, rip);
  const rows =
    line === undefined || around === undefined ? [] : (symbols.rows?.(around.low, around.high) ?? []);
  const own = rows.filter((row) => inLine(row, line ?? row) && row.high > rip);
  // Without lines, the instruction itself.
  const spans = line === undefined ? [{ low: rip, high: rip + 1n }] : own.length > 0 ? own : [line];
  const calls: DecodedInstruction[] = [];
  for (const span of spans) {
    const low = span.low < rip && rip < span.high ? rip : span.low;
    const length = Math.min(MAX_LINE, Number(span.high - low) + MAX_INSTRUCTION);
    const code = await machine.target.readMemory({ kind: 'virtual', vcpu }, low, length);
    for (const one of machine.decoder.decode(code, low, MAX_LINE)) {
      if (one.address >= span.high) break;
      if (one.flow === 'call' && one.target !== undefined) calls.push(one);
    }
  }
  return {
    calls,
    elsewhere: rows.filter((row) => line !== undefined && !inLine(row, line)).map(({ low }) => low),
  };
}

const stepInTargets = handler('stepInTargets', object({ frameId: integer }), async (context, { frameId }) => {
  const machine = needStopped(context);
  const { vcpu, innermost } = needFrame(context, frameId);
  if (!innermost) throw new RequestError('only the innermost frame can be stepped from', { show: false });
  const offer = (label: string, until: RunUntil, at?: object): object => ({
    id: context.stepTargets.create({ vcpu, until }),
    label,
    ...at,
  });
  const targets = await machine.control.still(async () => {
    const call = await machine.callAt(vcpu);
    const rip = (await readRegisters(machine.target, vcpu)).need('rip');
    if (call?.name === 'multicall' && call.result === undefined) {
      // SYSCALL is two bytes; a multicall that is over before the entry ends the step.
      const address = { at: rip + 2n, vcpu };
      const list = call.args.find(({ name }) => name === 'call_list')?.children ?? [];
      return list.map((entry, index) => {
        const op = entry.children?.find(({ name }) => name === 'op')?.text ?? '';
        return offer(`entry ${index}: ${op}`, { entry: { index, vcpu }, address });
      });
    }
    const symbols = machine.symbols.of(vcpu.domain);
    const { calls, elsewhere } = await callsOn(machine, vcpu, symbols, rip);
    const [, caller] = await machine.stack(vcpu);
    const beyond = [...elsewhere, ...(caller === undefined ? [] : [caller.address])];
    return calls.flatMap(({ address, target }) => {
      if (target === undefined) return [];
      const line = symbols.line(address);
      return [
        offer(
          symbolic(symbols, target) ?? hex(target),
          { exits: { at: [target, ...beyond.filter((at) => at !== rip)], vcpu, intoFaults: false } },
          line === undefined ? {} : { line: toClientLine(context, line.line) },
        ),
      ];
    });
  });
  return { targets };
});

const gotoTargets = handler(
  'gotoTargets',
  object({ source: object({ path: optional(text) }), line: integer, column: optional(integer) }),
  async (context, { source, line }) => {
    const machine = needStopped(context);
    const vcpu = machine.current();
    const symbols = machine.symbols.of(vcpu.domain);
    if (source.path === undefined || (await hindrance(machine, vcpu)) !== undefined) return { targets: [] };
    const code = symbols.code(localPath(source.path), fromClientLine(context, line));
    const rip = (await machine.control.still(() => readRegisters(machine.target, vcpu))).need('rip');
    const around = functionAt(symbols, rip);
    const found = (code?.addresses ?? []).filter(
      (at) => around !== undefined && around.low <= at && at < around.high,
    );
    return {
      targets: found.map((address) => ({
        id: context.gotos.create({ vcpu, address }),
        label: symbolic(symbols, address) ?? hex(address),
        line: toClientLine(context, code?.line ?? 0),
        instructionPointerReference: hex(address),
      })),
    };
  },
);

/** Why a vCPU cannot go on elsewhere. */
async function hindrance(machine: Machine, vcpu: VcpuRef): Promise<string | undefined> {
  if (machine.isInHypervisor(vcpu)) return 'the vCPU is inside the hypervisor; step out of it first';
  const call = await machine.control.still(() => machine.callAt(vcpu));
  return call === undefined || call.result !== undefined
    ? undefined
    : 'the vCPU is in a hypercall, which comes back to where it was made';
}

const goto = handler(
  'goto',
  object({ threadId: integer, targetId: integer }),
  async (context, { threadId, targetId }, reply) => {
    const machine = needStopped(context);
    const chosen = context.gotos.get(targetId);
    if (chosen === undefined)
      throw new RequestError(`there is no target ${targetId}; the machine has run since`, { show: false });
    const { vcpu, address } = chosen;
    const asked = needThread(machine, threadId);
    if (asked.domain !== vcpu.domain || asked.vcpu !== vcpu.vcpu)
      throw new RequestError('the target belongs to another thread', { show: false });
    const problem = await hindrance(machine, vcpu);
    if (problem !== undefined) throw new RequestError(`goto: ${problem}`);
    await machine.control.still(() => machine.target.setRegister(vcpu, 'rip', numberToBytes(address, 8)));
    machine.control.moved();
    machine.forget();
    resetHandles(context);
    reply.after(() =>
      context.send(
        event('stopped', {
          reason: 'goto',
          description: `Paused at another place${whereIs(machine, vcpu)}`,
          threadId,
          allThreadsStopped: true,
        }),
      ),
    );
  },
);

/** What the `valueLocationReference` of a variable stands for. */
const locations = handler(
  'locations',
  object({ locationReference: integer }),
  (context: Context, { locationReference }) => {
    const machine = needStopped(context);
    const found = context.locations.get(locationReference);
    if (found === undefined)
      throw new RequestError(`there is no location ${locationReference}; the machine has run since`, {
        show: false,
      });
    const symbols = machine.symbols.of(found.vcpu.domain);
    const line = symbols.line(found.address);
    if (line === undefined)
      throw new RequestError(`no line is known for ${hex(found.address)}`, { show: false });
    return {
      source: sourceOf(context, symbols, line.file),
      line: toClientLine(context, line.line),
      ...(line.column === undefined ? {} : { column: line.column }),
    };
  },
);

export const targets = [stepInTargets, gotoTargets, goto, locations];
