import type { DebugInfo, Entry, ExpressionHost, Location, Scope } from '../../guest/dwarf';
import { AT, TAG, Unavailable, bare, evaluateLocation, evaluateNumber } from '../../guest/dwarf';
import { ImageError } from '../../guest/error';
import { registerName } from '../../machine/register-names';
import type { ReadMemory } from '../memory-cache';

// One call that is on the stack, with the registers as they are in it, and what DWARF's expressions want to know.

/** A register of a frame, and where it is to be changed: in the processor, or where a function that was called saved it. */
export interface SavedRegister {
  readonly value: bigint;
  readonly at: 'processor' | bigint | undefined;
  /** Nobody says that it survived the call; only where the compiler counts on that is it what it was. */
  readonly assumed?: true;
}

export interface Activation {
  /** Within the instruction that is running or made the call: what decides about function, line and places. */
  readonly pc: bigint;
  /** The instruction to go on with. */
  readonly address: bigint;
  /** By DWARF's numbers; those that are not known are not there. Setting a variable that lives in one changes it here, too. */
  readonly registers: Map<number, SavedRegister>;
  /** Canonical frame address: the stack pointer before the call was made. */
  cfa: bigint | undefined;
  /** From the function inwards. */
  readonly scopes: readonly Scope[];
  readonly debug: DebugInfo | undefined;
  readonly read: ReadMemory;
  caller: Activation | undefined;
}

export const REGISTER = { rdx: 1, rbx: 3, rdi: 5, rbp: 6, rsp: 7, r10: 10, r13: 13, rip: 16 } as const;

const CALL_SITES = new Set<number>([TAG.call_site, TAG.GNU_call_site]);
const CALL_PARAMETERS = new Set<number>([TAG.call_site_parameter, TAG.GNU_call_site_parameter]);
/** Entry values that lead to the caller's entry values, and so on. */
const MAX_ENTRY_DEPTH = 8;

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, index) => byte === b[index]);

/** Where in the caller the call was made that is running here. */
function callSite(activation: Activation): Entry | undefined {
  const { caller, scopes, debug } = activation;
  if (caller === undefined || debug === undefined) return undefined;
  const { dwarf } = debug;
  for (const scope of [...caller.scopes].reverse()) {
    for (const site of scope.entry.unit.below(scope.entry, CALL_SITES)) {
      const back = dwarf.address(site, AT.call_return_pc) ?? dwarf.address(site, AT.low_pc);
      if (back !== caller.address) continue;
      const target = dwarf.reference(site, AT.call_origin) ?? dwarf.reference(site, AT.abstract_origin);
      const own = scopes[0]?.entry;
      const origin = own === undefined ? undefined : dwarf.reference(own, AT.abstract_origin);
      // A call that went elsewhere first (a tail call) says nothing about this function's parameters.
      const isOwn =
        target === undefined ||
        own === undefined ||
        target.offset === own.offset ||
        target.offset === origin?.offset;
      return isOwn || dwarf.text(target, AT.name) === dwarf.text(own, AT.name) ? site : undefined;
    }
  }
  return undefined;
}

async function entryValue(activation: Activation, expression: Uint8Array, depth: number): Promise<bigint> {
  const { debug, caller } = activation;
  const site = callSite(activation);
  if (site === undefined || debug === undefined || caller === undefined || depth > MAX_ENTRY_DEPTH)
    throw new Unavailable(
      'optimized out: only its value at the function’s entry was known, and the caller does not tell',
    );
  for (const parameter of site.unit.below(site, CALL_PARAMETERS)) {
    const location = debug.dwarf.block(parameter, AT.location);
    const value =
      debug.dwarf.block(parameter, AT.call_value) ?? debug.dwarf.block(parameter, AT.GNU_call_site_value);
    if (location === undefined || value === undefined || !sameBytes(location.bytes, expression)) continue;
    return evaluateNumber(value, site.unit.header, expressionHost(caller, depth + 1));
  }
  throw new Unavailable('optimized out: the caller does not tell what it passed');
}

/** What an expression in this frame can ask for. */
export function expressionHost(activation: Activation, depth = 0): ExpressionHost {
  const { debug, scopes, registers, pc, read } = activation;
  const unit = scopes[0]?.entry.unit;
  return {
    register: (number) => {
      const found = registers.get(number);
      if (found === undefined)
        throw new Unavailable(
          `it was in ${registerName(number) ?? `register ${number}`}, which a function that was called did not keep`,
        );
      return found.value;
    },
    memory: read,
    frameBase: async () => {
      const entry = scopes[0]?.entry;
      const expression = entry === undefined ? undefined : debug?.dwarf.expression(entry, AT.frame_base, pc);
      if (expression === undefined || unit === undefined)
        throw new Unavailable('its function does not say where its frame is');
      return evaluateNumber(expression, unit.header, {
        ...expressionHost(activation, depth),
        frameBase: () => Promise.reject(new Unavailable('its frame is described by itself')),
      });
    },
    cfa: () => {
      if (activation.cfa === undefined)
        throw new Unavailable('there is no frame information for its function');
      return activation.cfa;
    },
    entryValue: ({ bytes }) => entryValue(activation, bytes, depth),
    indexedAddress: (index) => {
      if (debug === undefined || unit === undefined) throw new Unavailable('it has no unit');
      return debug.dwarf.indexedAddress(unit, index);
    },
    baseType: (offset) => {
      if (debug === undefined || unit === undefined) throw new Unavailable('it has no unit');
      const type = bare(debug.types.of(unit.entry(unit.header.offset + offset)));
      if (type.kind === 'base')
        return { size: type.size, signed: type.signed, float: type.encoding === 'float' };
      return {
        size: type.kind === 'pointer' || type.kind === 'enum' ? type.size : 8,
        signed: false,
        float: false,
      };
    },
  };
}

const OPTIMIZED_OUT = 'optimized out';

/**
 * Where a variable is in a frame. Rejects with Unavailable, which says why it is nowhere.
 * @param activation undefined for a global variable
 */
export async function locate(
  debug: DebugInfo,
  entry: Entry,
  activation: Activation | undefined,
  symbol: (name: string) => bigint | undefined,
): Promise<Location> {
  const { dwarf } = debug;
  try {
    const constant = dwarf.attribute(entry, AT.const_value)?.value;
    if (constant !== undefined) {
      const { value } = constant;
      if (typeof value === 'object') return { kind: 'value', bytes: value.bytes };
      if (typeof value === 'string')
        return { kind: 'value', bytes: Uint8Array.from(`${value}\0`, (c) => c.charCodeAt(0)) };
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, BigInt(value)), true);
      return { kind: 'value', bytes };
    }
    const pc = activation?.pc ?? 0n;
    const owner = entry.attributes.has(AT.location)
      ? entry
      : (dwarf.attribute(entry, AT.location)?.entry ?? entry);
    const expression = dwarf.expression(owner, AT.location, pc);
    if (expression === undefined) {
      const name = dwarf.text(entry, AT.linkage_name) ?? dwarf.text(entry, AT.name);
      const isGlobal = entry.attributes.has(AT.declaration) || entry.attributes.has(AT.external);
      const address = isGlobal && name !== undefined ? symbol(name) : undefined;
      if (address !== undefined) return { kind: 'memory', address };
      throw new Unavailable(
        owner.attributes.has(AT.location) ? `${OPTIMIZED_OUT} at this instruction` : OPTIMIZED_OUT,
      );
    }
    const host = activation === undefined ? globalHost(debug, owner) : expressionHost(activation);
    return await evaluateLocation(expression, owner.unit.header, host);
  } catch (error) {
    if (error instanceof ImageError) throw new Unavailable(error.message);
    throw error;
  }
}

function globalHost(debug: DebugInfo, { unit }: Entry): ExpressionHost {
  const no = (): never => {
    throw new Unavailable('its place depends on a frame, and there is none');
  };
  return {
    register: no,
    memory: no,
    frameBase: no,
    cfa: no,
    entryValue: no,
    baseType: no,
    indexedAddress: (index) => debug.dwarf.indexedAddress(unit, index),
  };
}
