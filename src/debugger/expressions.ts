import type { Expression, Scope, Value } from '../machine/conditions';
import { ExpressionError, evaluateExpression, findValue, hypercallScope } from '../machine/conditions';
import type { AddressSpace, HypercallView, Target, VcpuRef } from '../machine/target';
import { hex } from './locations';
import type { RegisterFile } from './registers';
import { bytesToNumber } from './registers';
import type { SymbolIndex } from './symbols';

/** What names mean at one stop: a hypercall's arguments first, then registers, then symbols of the guest. */
export interface EvaluationContext {
  readonly target: Target;
  readonly vcpu: VcpuRef;
  readonly registers: RegisterFile;
  readonly symbols: SymbolIndex;
  readonly call?: HypercallView | undefined;
}

function nameIn({ registers, symbols, call }: EvaluationContext, name: string): Value | undefined {
  // `$rax` is always the register, even where an argument has its name.
  if (/^[$%]/.test(name)) return registers.get(name);
  const argument =
    call === undefined ? undefined : (findValue(call.args, name) ?? hypercallScope(call).name(name));
  return argument ?? registers.get(name) ?? symbols.find(name);
}

/** Thrown to leave the synchronous evaluator when it meets memory that has not been fetched. */
class NeedMemory extends Error {
  constructor(
    readonly address: bigint,
    readonly bytes: number,
  ) {
    super('memory needed');
  }
}

/** Memory reads that one expression may make; each costs a trip to the target. */
const MAX_READS = 64;

/**
 * Evaluates with `*address` and `u32[address]` reading the vCPU's virtual memory. Throws an ExpressionError for
 * unknown names and unmapped memory.
 */
export async function evaluateAt(expression: Expression, context: EvaluationContext): Promise<Value> {
  const space: AddressSpace = { kind: 'virtual', vcpu: context.vcpu };
  const fetched = new Map<string, bigint>();
  const scope: Scope = {
    name: (name) => nameIn(context, name),
    memory: (address, bytes) => {
      const known = fetched.get(`${address}/${bytes}`);
      if (known === undefined) throw new NeedMemory(address, bytes);
      return known;
    },
  };
  for (let reads = 0; reads <= MAX_READS; reads++) {
    try {
      return evaluateExpression(expression, scope);
    } catch (error) {
      if (!(error instanceof NeedMemory)) throw error;
      const { address, bytes } = error;
      const data = await context.target.readMemory(space, address, bytes);
      if (data.length < bytes) throw new ExpressionError(`${hex(address)} is not mapped`, expression.at);
      fetched.set(`${address}/${bytes}`, bytesToNumber(data));
    }
  }
  throw new ExpressionError(`more than ${MAX_READS} memory reads in one expression`, expression.at);
}

/** How a value reads on one line: numbers in hexadecimal, decoded ones as their type shows them. */
export function showValue(value: Value, decimal = false): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'bigint') return decimal ? `${value}` : hex(value);
  return value.text;
}
