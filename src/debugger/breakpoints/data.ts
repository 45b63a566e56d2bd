import { sizeOf } from '../../guest/dwarf';
import type { Expression } from '../../machine/expressions';
import { ExpressionError, parseExpression } from '../../machine/expressions';
import { partNamed } from '../../machine/register-names';
import type { DataHit, DataPlace, VcpuRef } from '../../machine/target';
import { evaluateAt, numberAt } from '../c/evaluate';
import type { EvaluationContext } from '../expressions';
import { localsOf } from '../expressions';
import { formatLocation, hex, parseLocation, vcpuName, virtual } from '../locations';
import { bytesToNumber } from '../../base/bytes';
import { addressOf } from '../values/typed';
import type { Breakpoint, BreakpointSpecs, DataAccess } from './types';

// Data breakpoints: what can be looked at, by which name a client keeps it, and what is said when it was hit.

type Place = BreakpointSpecs['data']['place'];

/** What a name comes to. */
export interface DataTarget {
  readonly place: Place;
  /** For people. */
  readonly label: string;
  readonly accesses: readonly DataAccess[];
  /** Means the same in the next run of the same machine. */
  readonly lasting: boolean;
}

/** Bytes that are meant where nobody says how many. */
const WORD = 8;
/** As the machine has it (watch-kinds.ts). */
const MAX_BYTES = 16 * 2 ** 20;
const MEMORY_ACCESSES: readonly DataAccess[] = ['read', 'write', 'readWrite'];
/** Of places that are no memory of the guest's only changes are seen. */
const CHANGES: readonly DataAccess[] = ['write'];

const plural = (bytes: number): string => (bytes === 1 ? '1 byte' : `${bytes} bytes`);

function memoryTarget(
  label: string,
  place: Omit<Extract<DataPlace, { kind: 'memory' }>, 'kind'>,
  lasting: boolean,
): DataTarget {
  if (place.bytes < 1 || place.bytes > MAX_BYTES)
    throw new ExpressionError(`${plural(place.bytes)}: from 1 to ${MAX_BYTES} can be watched`, 0);
  const at = formatLocation(place);
  return {
    place: { kind: 'memory', ...place },
    label: label === at ? `${at}, ${plural(place.bytes)}` : `${label} (${plural(place.bytes)} at ${at})`,
    accesses: MEMORY_ACCESSES,
    lasting,
  };
}

/** `virtual:d1v0:0x…`, `pseudophysical:d1:0x…`, `machine:0x…`, or any expression that is an address. */
export async function dataAtAddress(
  text: string,
  bytes: number | undefined,
  context: EvaluationContext,
): Promise<DataTarget> {
  const { space, address } = /^(virtual|pseudophysical|machine)\b/.test(text.trim())
    ? parseLocation(text.trim(), context.vcpu)
    : virtual(context.vcpu, await numberAt(parseExpression(text), context));
  return memoryTarget(formatLocation({ space, address }), { space, address, bytes: bytes ?? WORD }, true);
}

/** `l1e(address)`: the entry of that level that maps it. */
function entryOf(expression: Expression): { level: 1 | 2 | 3 | 4; address: Expression } | undefined {
  if (expression.kind !== 'call' || expression.of.kind !== 'name') return undefined;
  const level = /^l([1-4])e$/.exec(expression.of.name)?.[1];
  const [address] = expression.args;
  return level === undefined || address === undefined || expression.args.length !== 1
    ? undefined
    : { level: Number(level) as 1 | 2 | 3 | 4, address };
}

/** What is the hypervisor's own: `frame[0x123].type`, `d1.port[5].pending`, `d1v0.run`. */
const STATE = /^(frame[[ ]|port d\d|grant d\d|d\d+(v\d+)?\.)/;

/**
 * An expression: a variable, or a part of one, a register, memory (`u32[0x…]`), a page-table entry, state of the
 * hypervisor. Rejects with an ExpressionError for what has no place.
 */
export async function dataOf(
  text: string,
  bytes: number | undefined,
  context: EvaluationContext,
): Promise<DataTarget> {
  const { vcpu, target } = context;
  const name = text.trim();
  if (STATE.test(name)) {
    const { expression, name: label } = await target.hypervisorWatch(name);
    return { place: { expression }, label, accesses: CHANGES, lasting: true };
  }
  if (/^(virtual|pseudophysical|machine):/.test(name)) return dataAtAddress(name, bytes, context);
  const expression = parseExpression(name);
  const entry = entryOf(expression);
  if (entry !== undefined) {
    const address = BigInt.asUintN(64, await numberAt(entry.address, context));
    const { level } = entry;
    return {
      place: { kind: 'entry', vcpu, address, level },
      label: `l${level}e that maps ${hex(address)}`,
      accesses: CHANGES,
      lasting: true,
    };
  }
  const { operand } = await evaluateAt(expression, context);
  const space = { kind: 'virtual', vcpu } as const;
  if (operand.kind === 'register') return registerTarget(operand.name, vcpu);
  if (operand.kind === 'memory')
    return memoryTarget(name, { space, address: operand.address, bytes: bytes ?? operand.bytes }, true);
  // A symbol without a type stands for its address.
  if (operand.kind === 'number' && operand.literal !== true)
    return memoryTarget(name, { space, address: operand.value, bytes: bytes ?? WORD }, true);
  if (operand.kind !== 'typed') throw new ExpressionError(`'${name}' is a value, and has no place`, 0);
  const address = addressOf(operand.value);
  const { location } = operand.value;
  if (address === undefined)
    throw new ExpressionError(
      location.kind === 'register'
        ? `'${name}' is in a register here: watch the register`
        : `'${name}' has no place of its own in memory`,
      0,
    );
  const local = localsOf(context).some((one) => name.startsWith(one.name));
  const size = sizeOf(operand.value.type);
  return memoryTarget(name, { space, address, bytes: bytes ?? (size === 0 ? WORD : size) }, !local);
}

const registerTarget = (name: string, vcpu: VcpuRef): DataTarget => ({
  place: { kind: 'register', vcpu, name: name.toLowerCase() },
  label: `${name} of ${vcpuName(vcpu)}`,
  accesses: CHANGES,
  lasting: true,
});

const VCPU = 'd(\\d{1,5})v(\\d{1,5})';
const vcpuFrom = (domain: string | undefined, vcpu: string | undefined): VcpuRef => ({
  domain: Number(domain),
  vcpu: Number(vcpu),
});

/** What clients keep: one line for each kind of place, and how it is read again. */
const identifiers: readonly {
  readonly pattern: RegExp;
  readonly read: (match: RegExpExecArray, current: VcpuRef | undefined) => DataTarget;
}[] = [
  {
    pattern: /^memory (\S+) (\d{1,9})$/,
    read: ([, where = '', bytes], current) => {
      const { space, address } = parseLocation(where, current);
      return memoryTarget(where, { space, address, bytes: Number(bytes) }, true);
    },
  },
  {
    pattern: new RegExp(`^entry ${VCPU} (0x[0-9a-f]{1,16}) ([1-4])$`),
    read: ([, domain, vcpu, address = '0', level]) => ({
      place: {
        kind: 'entry',
        vcpu: vcpuFrom(domain, vcpu),
        address: BigInt(address),
        level: Number(level) as 1 | 2 | 3 | 4,
      },
      label: `l${level ?? ''}e that maps ${address}`,
      accesses: CHANGES,
      lasting: true,
    }),
  },
  {
    pattern: new RegExp(`^register ${VCPU} (\\w+)$`),
    read: ([, domain, vcpu, name = '']) => {
      if (!partNamed(name)) throw new ExpressionError(`there is no register '${name}'`, 0);
      return registerTarget(name, vcpuFrom(domain, vcpu));
    },
  },
  {
    pattern: /^state (.+)$/,
    read: ([, expression = '']) => ({
      place: { expression },
      label: expression,
      accesses: CHANGES,
      lasting: true,
    }),
  },
];

export function formatDataId(place: Place): string {
  if ('expression' in place) return `state ${place.expression}`;
  if (place.kind === 'memory') return `memory ${formatLocation(place)} ${place.bytes}`;
  const vcpu = vcpuName(place.vcpu);
  return place.kind === 'entry'
    ? `entry ${vcpu} ${hex(place.address)} ${place.level}`
    : `register ${vcpu} ${place.name}`;
}

/** Throws an ExpressionError or a LocationError for what {@link formatDataId} did not make. */
export function parseDataId(text: string, current: VcpuRef | undefined): DataTarget {
  for (const { pattern, read } of identifiers) {
    const match = pattern.exec(text);
    if (match !== null) return read(match, current);
  }
  throw new ExpressionError(`'${text}' is no data that dataBreakpointInfo has named`, 0);
}

/** As a number where it is one, else byte by byte. */
function shown(value: DataHit['old']): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string') return value;
  return value.length <= 8
    ? hex(bytesToNumber(value))
    : [...value].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

const actors: Readonly<Record<DataHit['by'], string>> = {
  guest: '',
  hypervisor: ' by the hypervisor',
  mapping: ' because another page is mapped there',
};

/** `counter: 0x1 → 0x2`, with who did it where that was not the guest's own instruction. */
export function dataText(
  { access, by, call, offset, old, now }: DataHit,
  one: Breakpoint | undefined,
): string {
  const label = one !== undefined && 'label' in one.spec ? one.spec.label : 'data';
  const at = offset === 0 ? '' : ` + ${hex(offset)}`;
  if (access === 'read') return `${label}${at}: ${shown(now)} was read`;
  const served = call === undefined ? '' : ` (${call})`;
  return `${label}${at}: ${shown(old)} → ${shown(now)}${actors[by]}${served}`;
}
