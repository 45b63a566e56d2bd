import assert from 'node:assert/strict';
import { compile } from '../../src/debugger/c/compile';
import { evaluateAt } from '../../src/debugger/c/evaluate';
import { truthOf } from '../../src/debugger/c/operand';
import type { EvaluationContext } from '../../src/debugger/expressions';
import { localsOf } from '../../src/debugger/expressions';
import { membersOf } from '../../src/debugger/values/show';
import { AT, bare } from '../../src/guest/dwarf';
import type { Type } from '../../src/guest/dwarf';
import type { CompiledState } from '../../src/machine/compiled';
import { runCompiled } from '../../src/machine/compiled';
import { ExpressionError, parseExpression } from '../../src/machine/expressions';
import { registerName } from '../../src/machine/register-names';
import { isTrue } from '../../src/machine/scalars';
import type { Random } from './random';

// Random C expressions over what a frame has, asked of the debugger's evaluator and of what the machine is given.

const BINARY = ['+', '-', '*', '/', '%', '&', '|', '^', '<<', '>>', '<', '<=', '>', '>=', '==', '!=', '&&', '||']; // prettier-ignore
const UNARY = ['-', '~', '!', '+'];
const CASTS = ['char', 'unsigned char', 'short', 'int', 'unsigned', 'long', 'unsigned long', 'u16', 's32', '_Bool', 'float', 'double', 'void *', 'char *']; // prettier-ignore

/** Everything that a name leads to in some steps: members, elements, what is pointed to. */
function reachable(name: string, type: Type, context: EvaluationContext, depth = 0): string[] {
  const it = bare(type);
  if (depth > 2) return [name];
  const { debug } = context.symbols;
  if (it.kind === 'struct' || it.kind === 'union')
    return membersOf({ type, location: { kind: 'nowhere' }, offset: 0 }, debug).flatMap((one) =>
      reachable(`${name}.${one.name}`, one.value.type, context, depth + 1),
    );
  if (it.kind === 'array') {
    const last = (it.count ?? 1) - 1;
    return [`*${name}`, ...reachable(`${name}[${last}]`, it.element(), context, depth + 1), `${name}[1 - 1]`];
  }
  if (it.kind !== 'pointer') return [name];
  const target = bare(it.target());
  if (target.kind === 'struct' || target.kind === 'union')
    return [
      name,
      ...membersOf({ type: target, location: { kind: 'nowhere' }, offset: 0 }, debug).flatMap((one) =>
        reachable(`${name}->${one.name}`, one.value.type, context, depth + 1),
      ),
    ];
  return [name, `*${name}`, `${name}[2]`];
}

/** Names and what they lead to in a frame. */
export function atomsOf(context: EvaluationContext, globals: readonly string[]): string[] {
  const { debug } = context.symbols;
  const locals = localsOf(context).flatMap(({ name, entry, hidden }) =>
    hidden || debug === undefined ? [] : reachable(name, debug.types.typeOf(entry), context),
  );
  const named = globals.flatMap((name) => {
    const entry = debug?.find(name, undefined);
    if (entry === undefined || debug === undefined) return [name];
    return entry.attributes.has(AT.type) ? reachable(name, debug.types.typeOf(entry), context) : [name];
  });
  return [...locals, ...named, '$rsp', 'rip', 'u32[$rsp]', '*$rsp', 'dom', '&$rsp'];
}

export function randomExpression(random: Random, atoms: readonly string[], depth = 0): string {
  if (depth > 3 || random.chance(4)) {
    if (!random.chance(3)) return random.pick(atoms);
    return random.pick(['0', '1', '7', '-3', '0x80000000', '0xffffffffffffffff', "'a'", '2.5', `${random.wild()}`]); // prettier-ignore
  }
  const inner = (): string => randomExpression(random, atoms, depth + 1);
  switch (random.below(7)) {
    case 0:
      return `${random.pick(UNARY)}(${inner()})`;
    case 1:
      return `(${random.pick(CASTS)})(${inner()})`;
    case 2:
      return `(${inner()} ? ${inner()} : ${inner()})`;
    case 3:
      return `sizeof(${random.pick(atoms)}) ${random.pick(BINARY)} ${inner()}`;
    default:
      return `(${inner()}) ${random.pick(BINARY)} (${inner()})`;
  }
}

/** What the machine has of a frame: its registers, and memory as far as somebody has fetched it. */
function machineState(context: EvaluationContext): {
  readonly state: CompiledState;
  readonly fetch: (page: bigint) => Promise<void>;
} {
  const pages = new Map<bigint, Uint8Array>();
  const saved = new Map(
    [...(context.frame?.activation?.registers ?? [])].map(([n, { value }]) => [registerName(n), value]),
  );
  return {
    state: {
      own: { dom: BigInt(context.vcpu.domain), vcpu: BigInt(context.vcpu.vcpu) },
      register: (name) => saved.get(name) ?? context.registers.get(name),
      bytes: (address, length) => {
        const bytes: number[] = [];
        for (let at = address; bytes.length < length; at++) {
          const page = pages.get(at & ~4095n);
          if (page === undefined) throw new Missing(at & ~4095n);
          const byte = page[Number(at & 4095n)];
          if (byte === undefined) break;
          bytes.push(byte);
        }
        return Uint8Array.from(bytes);
      },
    },
    fetch: async (page) => {
      pages.set(page, await context.target.readMemory({ kind: 'virtual', vcpu: context.vcpu }, page, 4096));
    },
  };
}
class Missing extends Error {
  constructor(readonly page: bigint) {
    super('not fetched yet');
  }
}

/** What an expression is: a number as the debugger has it, a truth, or that there is no value. */
export interface Answers {
  readonly debugger: boolean | 'none';
  /** `not compiled`: it is the debugger's. */
  readonly machine: boolean | 'none' | 'not compiled';
}

export async function askBoth(text: string, context: EvaluationContext): Promise<Answers> {
  const expression = parseExpression(text);
  let own: boolean | 'none' = 'none';
  try {
    const { operand, evaluator } = await evaluateAt(expression, context);
    own = await truthOf(operand, evaluator);
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
  }
  const pc = context.frame?.activation?.pc ?? assert.fail('there is no frame');
  const code = compile(expression, { symbols: context.symbols, pc });
  if (typeof code === 'string') return { debugger: own, machine: 'not compiled' };
  // As it crosses to the worker.
  const sent = structuredClone(code);
  const { state, fetch } = machineState(context);
  for (;;) {
    try {
      return { debugger: own, machine: isTrue(runCompiled(sent, state)) };
    } catch (error) {
      if (error instanceof ExpressionError) return { debugger: own, machine: 'none' };
      if (!(error instanceof Missing)) throw error;
      await fetch(error.page);
    }
  }
}

/** Asks for as many as `count` expressions; what the two differ in, and how many the machine could answer. */
export async function compareExpressions(
  context: EvaluationContext,
  globals: readonly string[],
  random: Random,
  count: number,
): Promise<{ readonly differences: readonly string[]; readonly compiled: number; readonly valued: number }> {
  const atoms = atomsOf(context, globals);
  const differences: string[] = [];
  let compiled = 0;
  let valued = 0;
  // Truths agree too easily: an expression is asked for as a comparison with each of some numbers, too.
  for (let i = 0; i < count; i++) {
    const plain = randomExpression(random, atoms);
    const text = random.chance(2) ? plain : `(${plain}) ${random.pick(['<', '>', '=='])} ${random.wild()}`;
    const answers = await askBoth(text, context);
    if (answers.machine === 'not compiled') continue;
    compiled++;
    if (answers.machine !== 'none') valued++;
    if (answers.machine !== answers.debugger)
      differences.push(`${text}: ${answers.machine}, the debugger: ${answers.debugger}`);
  }
  return { differences, compiled, valued };
}
