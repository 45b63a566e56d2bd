import { parseExpression } from '../machine/expressions';
import { formatValue } from '../machine/format';
import { registerName } from '../machine/register-names';
import type { AddressSpace, DecodedValue, HypercallView, Register, VcpuRef } from '../machine/target';
import { numberAt } from './c/evaluate';
import type { EvaluationContext } from './expressions';
import { localsOf, unitOf } from './expressions';
import { bitsOf32, bitsOf64, float32, float64, float80Text, parseFloatText } from './floats';
import type { Location } from './locations';
import { hex, hex64, virtual } from './locations';
import { bytesToNumber, numberToBytes } from '../base/bytes';
import { flags, setRegister } from './registers';
import { symbolic } from './symbols';
import type { Frame } from './unwind';
import { globalRows, localRows } from './values/rows';

/** A row of a tree of values. */
export interface Variable {
  readonly name: string;
  readonly value: string;
  readonly type?: string;
  /** An expression that yields it again. */
  readonly expression?: string;
  /** Memory that the value points at. */
  readonly memory?: Location;
  readonly children?: Children;
  /** Takes what a person typed. Throws with the reason when it cannot be. */
  set?(text: string): Promise<void>;
}

export interface Children {
  readonly named: number;
  readonly indexed: number;
  /** All, or of indexed ones a part: there may be more than anyone wants at once. */
  list(start?: number, count?: number): Promise<readonly Variable[]> | readonly Variable[];
}

export interface VariableScope {
  readonly name: string;
  readonly kind: 'registers' | 'arguments' | 'locals' | 'globals';
  /** Costs a further trip to the target, so it is opened only when asked for. */
  readonly expensive: boolean;
  readonly children: Children;
}

const named = (list: readonly Variable[]): Children => ({ named: list.length, indexed: 0, list: () => list });

/** A number where it is an expression of the stop; floating-point text is for the rows that take it. */
async function numberFrom(text: string, context: EvaluationContext): Promise<bigint> {
  return numberAt(parseExpression(text), context);
}

const groups: readonly { readonly group: Register['group']; readonly name: string }[] = [
  { group: 'general', name: 'General' },
  { group: 'control', name: 'Control' },
  { group: 'segment', name: 'Segments' },
  { group: 'sse', name: 'SSE' },
  { group: 'x87', name: 'x87' },
  { group: 'debug', name: 'Debug' },
];

/** Scopes of the frame on top; callers have what unwinding found out about them, and the hypercall that is being made. */
export function scopesOf(frame: Frame, innermost: boolean, context: EvaluationContext): VariableScope[] {
  const { call } = context;
  const scopes: VariableScope[] = [];
  // In every frame: editors select the first that has a source, which is seldom the one on top.
  if (call !== undefined) {
    scopes.push({
      name: 'Hypercall',
      kind: 'arguments',
      expensive: false,
      children: named(hypercallRows(call, context.vcpu)),
    });
  }
  scopes.push(...sourceScopes(context));
  if (!innermost) {
    scopes.push({
      name: 'Frame',
      kind: 'registers',
      expensive: false,
      children: named(callerRows(frame, context)),
    });
    return scopes;
  }
  const inGroup = (group: Register['group']): Register[] =>
    context.registers.all.filter((one) => one.group === group);
  for (const { group, name } of groups) {
    const registers = inGroup(group);
    if (registers.length === 0) continue;
    const children = named(registers.map((register) => registerRow(register, context)));
    scopes.push({ name, kind: 'registers', expensive: false, children });
    if (group === 'general' && context.registers.find('rflags') !== undefined) {
      scopes.push({ name: 'Flags', kind: 'registers', expensive: false, children: named(flagRows(context)) });
    }
  }
  const kept = inGroup('hypervisor').map((register) => registerRow(register, context));
  scopes.push({
    name: 'Hypervisor',
    kind: 'locals',
    expensive: true,
    children: {
      named: 0,
      indexed: 0,
      list: async () => [
        ...kept,
        ...(await context.target.hypervisorState(context.vcpu)).map((value) =>
          decodedRow(value, context.vcpu),
        ),
      ],
    },
  });
  return scopes;
}

/** What the source has names for, where there is debugging information. */
function sourceScopes(context: EvaluationContext): VariableScope[] {
  const scopes: VariableScope[] = [];
  const locals = localsOf(context).length;
  const unit = unitOf(context);
  if (locals > 0) {
    const children: Children = { named: locals, indexed: 0, list: () => localRows(context) };
    scopes.push({ name: 'Locals', kind: 'locals', expensive: false, children });
  }
  if (unit !== undefined) {
    const children: Children = { named: 0, indexed: 0, list: () => globalRows(context) };
    scopes.push({ name: 'Globals', kind: 'globals', expensive: true, children });
  }
  return scopes;
}

function callerRows(frame: Frame, { vcpu, symbols }: EvaluationContext): Variable[] {
  const row = (name: string, value: bigint): Variable => ({
    name,
    value: withSymbol(value, symbolic(symbols, value)),
    memory: virtual(vcpu, value),
  });
  return [
    row('rip', frame.address),
    row('rsp', frame.stack),
    ...savedRows(frame, row),
    { name: 'found by', value: frame.found },
  ];
}

/** Registers that are known in a caller's frame. */
function savedRows(frame: Frame, row: (name: string, value: bigint) => Variable): Variable[] {
  const shown = new Set(['rip', 'rsp']);
  const rows: Variable[] = [];
  for (const [number, { value, assumed }] of [...(frame.activation?.registers ?? [])].sort(
    ([a], [b]) => a - b,
  )) {
    const name = registerName(number);
    if (name?.startsWith('r') !== true || shown.has(name) || assumed === true) continue;
    rows.push(row(name, value));
  }
  return rows;
}

const withSymbol = (value: bigint, symbol: string | undefined): string =>
  symbol === undefined ? hex64(value) : `${hex64(value)} <${symbol}>`;

/** Registers of up to 64 bits are numbers, wider ones have their elements below them. */
function registerRow(register: Register, context: EvaluationContext): Variable {
  const { name, bits, writable } = register;
  const value = bytesToNumber(register.bytes);
  const { vcpu, target } = context;
  if (bits === 80 || register.group === 'x87') {
    if (bits > 64) return x87Row(register, context);
  } else if (bits > 64) return vectorRow(register, context);
  const set = async (text: string): Promise<void> => {
    await setRegister(target, vcpu, name, await numberFrom(text, context));
  };
  const shown =
    bits === 64
      ? withSymbol(value, symbolic(context.symbols, value))
      : `0x${value.toString(16).padStart(bits / 4, '0')}`;
  return {
    name,
    value: register.note === undefined || register.note === '' ? shown : `${shown} ${register.note}`,
    type: `u${bits}`,
    expression: `$${name}`,
    ...(bits === 64 && register.group === 'general' ? { memory: virtual(vcpu, value) } : {}),
    ...(writable ? { set } : {}),
  };
}

function flagRows(context: EvaluationContext): Variable[] {
  const rflags = context.registers.need('rflags');
  const writable = context.registers.find('rflags')?.register.writable === true;
  return flags.map(({ name, shift, bits, meaning }) => ({
    name,
    value: `${(rflags >> BigInt(shift)) & ((1n << BigInt(bits)) - 1n)}`,
    type: meaning,
    expression: `$${name.toLowerCase()}`,
    ...(writable
      ? {
          set: async (text: string) => {
            const value = await numberFrom(text, context);
            if (value < 0n || value >= 1n << BigInt(bits))
              throw new Error(`${name} is ${bits === 1 ? '0 or 1' : `0 to ${(1 << bits) - 1}`}`);
            await setRegister(context.target, context.vcpu, name, value);
          },
        }
      : {}),
  }));
}

/** Ways of reading a 128-bit register. */
const lanes: readonly {
  readonly name: string;
  readonly bytes: number;
  show(bits: bigint): string;
  parse?(text: string): bigint | undefined;
}[] = [
  { name: 'f64', bytes: 8, show: (b) => `${float64(b)}`, parse: (t) => bitsIf(parseFloatText(t), bitsOf64) },
  {
    name: 'f32',
    bytes: 4,
    show: (b) => `${float32(Number(b))}`,
    parse: (t) => bitsIf(parseFloatText(t), bitsOf32),
  },
  { name: 'u64', bytes: 8, show: (b) => hex(b) },
  { name: 'u32', bytes: 4, show: (b) => hex(b) },
  { name: 'u16', bytes: 2, show: (b) => hex(b) },
  { name: 'u8', bytes: 1, show: (b) => hex(b) },
];
const bitsIf = (value: number | undefined, bits: (value: number) => bigint): bigint | undefined =>
  value === undefined ? undefined : bits(value);

function vectorRow(register: Register, context: EvaluationContext): Variable {
  const { name, bytes, bits, writable } = register;
  const { target, vcpu } = context;
  const write = (fresh: Uint8Array): Promise<void> => target.setRegister(vcpu, name, fresh);
  const element = (lane: (typeof lanes)[number], index: number): Variable => {
    const at = index * lane.bytes;
    const set = async (text: string): Promise<void> => {
      const value = lane.parse?.(text) ?? (await numberFrom(text, context));
      if (value >= 1n << BigInt(lane.bytes * 8))
        throw new Error(`${hex(value)} does not fit ${lane.bytes} bytes`);
      // What the register holds now, not what it held when the row was shown: a neighbour may have been set since.
      const now = (await target.registers(vcpu)).find((one) => one.name === name)?.bytes ?? bytes;
      const fresh = now.slice();
      fresh.set(numberToBytes(value, lane.bytes), at);
      await write(fresh);
    };
    return {
      name: `[${index}]`,
      value: lane.show(bytesToNumber(bytes.subarray(at, at + lane.bytes))),
      ...(writable ? { set } : {}),
    };
  };
  const views = lanes.map((lane): Variable => {
    const elements = Array.from({ length: bytes.length / lane.bytes }, (_, index) => element(lane, index));
    return {
      name: lane.name,
      value: `{${elements.map(({ value }) => value).join(', ')}}`,
      children: { named: 0, indexed: elements.length, list: () => elements },
    };
  });
  const set = async (text: string): Promise<void> => {
    if (!/^\s*0[xX][0-9a-fA-F]+\s*$/.test(text))
      throw new Error(`${name} takes ${bits} bits as 0x…; its elements take numbers`);
    const value = BigInt(text.trim());
    if (value >= 1n << BigInt(bits))
      throw new Error(`${text.trim()} does not fit the ${bits} bits of ${name}`);
    await write(numberToBytes(value, bytes.length));
  };
  return {
    name,
    value: `0x${bytesToNumber(bytes)
      .toString(16)
      .padStart(bits / 4, '0')}`,
    type: `u${bits}`,
    children: named(views),
    ...(writable ? { set } : {}),
  };
}

function x87Row(register: Register, { target, vcpu }: EvaluationContext): Variable {
  const { name, bytes, writable, note } = register;
  const bits = BigInt.asUintN(80, bytesToNumber(bytes));
  const set = async (text: string): Promise<void> => {
    if (!/^\s*0[xX][0-9a-fA-F]{1,20}\s*$/.test(text)) throw new Error(`${name} takes its 80 bits as 0x…`);
    await target.setRegister(vcpu, name, numberToBytes(BigInt(text.trim()), bytes.length));
  };
  const shown = `${float80Text(bits)} (0x${bits.toString(16).padStart(20, '0')})`;
  return {
    name,
    value: note === undefined || note === '' ? shown : `${shown} ${note}`,
    type: 'f80',
    ...(writable ? { set } : {}),
  };
}

function hypercallRows(call: HypercallView, vcpu: VcpuRef): Variable[] {
  const rows = call.args.map((value) => decodedRow(value, vcpu));
  if (call.result !== undefined) {
    const result = BigInt.asIntN(64, call.result);
    rows.push({
      name: 'result',
      value: call.errno === undefined ? `${result}` : `${result} ${call.errno}`,
      expression: 'result',
    });
  }
  if (call.reason !== undefined) rows.push({ name: 'reason', value: call.reason, expression: 'reason' });
  return rows;
}

/** What stands beside a structure's name; the rest is below it. */
const MAX_SUMMARY = 200;
const shorten = (text: string): string =>
  text.length > MAX_SUMMARY ? `${text.slice(0, MAX_SUMMARY - 1)}…` : text;

/** A decoded value with its structure below it; arrays count as indexed, so that a client can ask for parts of them. */
export function decodedRow(value: DecodedValue, vcpu: VcpuRef, path = value.name): Variable {
  const { name, type, text, children = [], memory } = value;
  const array =
    type.endsWith('[]') || (children.length > 0 && children.every((child) => /^\[?\d+\]?$/.test(child.name)));
  const below = (child: DecodedValue): string =>
    /^\[/.test(child.name)
      ? `${path}${child.name}`
      : /^\d/.test(child.name)
        ? `${path}[${child.name}]`
        : `${path}.${child.name}`;
  const rows: Children = {
    named: array ? 0 : children.length,
    indexed: array ? children.length : 0,
    list: () => children.map((child) => decodedRow(child, vcpu, below(child))),
  };
  return {
    name,
    value: text === '' ? shorten(formatValue(value)) : text,
    type,
    expression: path,
    ...(children.length > 0 ? { children: rows } : {}),
    ...(memory === undefined
      ? {}
      : { memory: { space: spaceOf(memory.space, vcpu), address: memory.address } }),
  };
}

const spaceOf = (kind: AddressSpace['kind'], vcpu: VcpuRef): AddressSpace =>
  kind === 'virtual' ? { kind, vcpu } : kind === 'machine' ? { kind } : { kind, domain: vcpu.domain };
