import type { Entry } from '../../guest/dwarf';
import { AT, TAG, Unavailable, bare, typeName } from '../../guest/dwarf';
import { ImageError } from '../../guest/error';
import { parseExpression } from '../../machine/expressions';
import { evaluateAt } from '../c/evaluate';
import type { Operand } from '../c/operand';
import { scalarFrom } from '../c/operand';
import type { EvaluationContext } from '../expressions';
import { localsOf, memoryOf, unitOf, variableAt } from '../expressions';
import { hex, virtual } from '../locations';
import type { Children, Variable } from '../variables';
import type { NamedValue, ShowContext } from './show';
import { NULL, elements, membersOf, pointee, showTyped } from './show';
import type { TypedValue } from './typed';
import { addressOf, numberOf, scalarOf, store } from './typed';

// Typed values as rows of a tree, which opens as far as a person looks.

export const showContext = (context: EvaluationContext): ShowContext => ({
  read: memoryOf(context),
  target: context.target,
  vcpu: context.vcpu,
  symbols: context.symbols,
});

/** Elements of a flexible array that are offered: how many there are, only the guest knows. */
const FLEXIBLE = 16;
/** Rows that are made at once for a client that does not ask for parts. */
const MAX_ROWS = 10_000;

/** Where a memory view is to be opened: at what a pointer points to, or at the object itself. */
async function memoryBehind(value: TypedValue, context: ShowContext): Promise<bigint | undefined> {
  if (bare(value.type).kind !== 'pointer') return addressOf(value);
  try {
    return BigInt(await numberOf(value, context));
  } catch (error) {
    if (error instanceof Unavailable) return addressOf(value);
    throw error;
  }
}

const member = (path: string, name: string): string =>
  name.startsWith('[') ? `${path}${name}` : `${path}.${name}`;
/** As an operand of `.`, `[ ]` and `->`. */
const grouped = (path: string): string =>
  /^[\w$.[\]>-]+$/.test(path) && !path.startsWith('-') ? path : `(${path})`;

function childrenOf(value: TypedValue, context: EvaluationContext, path: string): Children | undefined {
  const type = bare(context.symbols.debug?.complete(bare(value.type)) ?? value.type);
  const { debug } = context.symbols;
  const rows = (list: readonly NamedValue[], of: string): Promise<Variable[]> =>
    Promise.all(list.map((one) => typedRow(one.name, one.value, context, member(of, one.name))));
  if (type.kind === 'struct' || type.kind === 'union' || type.kind === 'class') {
    const members = membersOf(value, debug);
    return members.length === 0
      ? undefined
      : { named: members.length, indexed: 0, list: () => rows(members, grouped(path)) };
  }
  if (type.kind === 'array') {
    const count = type.count ?? FLEXIBLE;
    return count === 0
      ? undefined
      : {
          named: 0,
          indexed: count,
          list: (start = 0, wanted = MAX_ROWS) =>
            rows(elements(value, start, Math.max(0, Math.min(wanted, count - start))), grouped(path)),
        };
  }
  if (type.kind !== 'pointer' || value.location.kind === 'implicit pointer') return undefined;
  const target = bare(debug?.complete(bare(type.target())) ?? type.target());
  if (target.kind === 'void' || target.kind === 'function') return undefined;
  return {
    named: 1,
    indexed: 0,
    list: async () => {
      try {
        const pointed = await pointee(value, showContext(context));
        if (addressOf(pointed) === 0n) return [];
        const members = membersOf(pointed, debug);
        // A structure's members at once: nobody wants to open two rows for one arrow.
        if (members.length > 0)
          return await Promise.all(
            members.map((one) => typedRow(one.name, one.value, context, `${grouped(path)}->${one.name}`)),
          );
        return [await typedRow(`*${path}`, pointed, context, `*${grouped(path)}`)];
      } catch (error) {
        if (error instanceof Unavailable) return [];
        throw error;
      }
    },
  };
}

/** @param path an expression that yields the value again */
export async function typedRow(
  name: string,
  value: TypedValue,
  context: EvaluationContext,
  path: string,
): Promise<Variable> {
  const space = showContext(context);
  const memory = await memoryBehind(value, space);
  const shown = await showTyped(value, space);
  const children = shown === NULL ? undefined : childrenOf(value, context, path);
  return {
    name,
    value: shown,
    type: typeName(value.type),
    expression: path,
    ...(memory === undefined ? {} : { memory: virtual(context.vcpu, memory) }),
    ...(children === undefined ? {} : { children }),
    ...(scalarOf(value.type) === undefined
      ? {}
      : {
          set: async (text: string): Promise<void> => {
            const { operand, evaluator } = await evaluateAt(parseExpression(text), context);
            const { value: number } = await scalarFrom(operand, evaluator, 0);
            await store(value, number, space);
          },
        }),
  };
}

async function entryRow(
  name: string,
  entry: Entry,
  context: EvaluationContext,
  local: boolean,
): Promise<Variable> {
  try {
    const operand = await variableAt(entry, context, local);
    if (operand.kind === 'typed') return await typedRow(name, operand.value, context, name);
    return { name, value: '' };
  } catch (error) {
    if (!(error instanceof Unavailable) && !(error instanceof ImageError)) throw error;
    const { debug } = context.symbols;
    return {
      name,
      value: `<${error.message}>`,
      ...(debug === undefined ? {} : { type: typeName(debug.types.typeOf(entry)) }),
    };
  }
}

/** Parameters, then variables, of the frame's function; the inner block's before those it hides. */
export async function localRows(context: EvaluationContext): Promise<Variable[]> {
  const all = localsOf(context);
  const rank = (entry: Entry): number => (entry.tag === TAG.formal_parameter ? 0 : 1);
  const sorted = [...all].sort((a, b) => rank(a.entry) - rank(b.entry));
  return Promise.all(
    sorted.map(async ({ name, entry, hidden }) => {
      const row = await entryRow(name, entry, context, true);
      if (!hidden) return row;
      const { expression: _expression, ...rest } = row;
      return { ...rest, name: `${name} (outer)` };
    }),
  );
}

const VARIABLES = new Set<number>([TAG.variable]);

/** Variables of the frame's file that have a place. */
export async function globalRows(context: EvaluationContext): Promise<Variable[]> {
  const { debug } = context.symbols;
  const unit = unitOf(context);
  if (debug === undefined || unit === undefined) return [];
  const seen = new Set<string>();
  const rows: Variable[] = [];
  for (const entry of unit.below(unit.root, VARIABLES)) {
    const name = debug.dwarf.text(entry, AT.name);
    if (name === undefined || seen.has(name) || !entry.attributes.has(AT.location)) continue;
    seen.add(name);
    rows.push(await entryRow(name, entry, context, false));
  }
  return rows.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** How a value reads in a sentence: of a log message. */
export async function showOperand(operand: Operand, context: EvaluationContext): Promise<string> {
  switch (operand.kind) {
    case 'text':
      return operand.value;
    case 'typed': {
      const text = await showTyped(operand.value, showContext(context));
      // In a sentence one notation is enough.
      return text.replace(/^(\d+) \(0x[0-9a-f]+\)$/, '$1');
    }
    case 'decoded':
      return operand.value.text;
    case 'float':
      return `${operand.value}`;
    case 'number':
    case 'register':
    case 'memory':
      return hex(operand.value);
    case 'unresolved':
      return operand.name;
  }
}
