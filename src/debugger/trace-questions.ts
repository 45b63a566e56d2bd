import { ExpressionError } from '../machine/expressions';
import { functionsNamed } from '../machine/records/filter';
import {
  siteKey,
  type Answer,
  type FilterSpec,
  type Question,
  type RecordRow,
} from '../machine/records/questions';
import type { Target } from '../machine/target';
import type { DomainSymbols, SymbolIndex } from './symbols';
import { symbolic } from './symbols';

// Questions about the machine's trace: passed on to where the records are, with what only the debugger knows put in:
// where the functions of a filter are, and which function a call site is in.

/** No function is longer. */
const LONGEST = 1n << 24n;

/** [low, high) of a function: as far as the symbol reaches. */
export function rangeOf(symbols: SymbolIndex, name: string): readonly [bigint, bigint] | undefined {
  const low = symbols.find(name);
  if (low === undefined) return undefined;
  const start = symbols.at(low)?.address;
  let inside = 0n;
  let outside = LONGEST;
  while (outside - inside > 1n) {
    const middle = (inside + outside) / 2n;
    if (symbols.at(low + middle)?.address === start) inside = middle;
    else outside = middle;
  }
  return [low, low + outside];
}

const hex = (n: bigint): string => `0x${n.toString(16)}`;

function withFunctions(symbols: DomainSymbols, given: Question): Question {
  if (!('filter' in given)) return given;
  let names: readonly string[];
  try {
    names = functionsNamed(given.filter);
  } catch (error) {
    // Whoever compiles it says so.
    if (error instanceof ExpressionError) return given;
    throw error;
  }
  const functions: Record<string, NonNullable<FilterSpec['functions']>[string]> = {};
  for (const name of names) {
    const ranges = symbols.codes.flatMap(({ domains, symbols: image }) => {
      const range = rangeOf(image, name);
      return range === undefined ? [] : [{ low: hex(range[0]), high: hex(range[1]), domains }];
    });
    if (ranges.length > 0) functions[name] = ranges;
  }
  return { ...given, functions } satisfies Question & FilterSpec;
}

/** Of the call sites that a stretch of the trace will name. */
async function namesFor(
  target: Target,
  symbols: DomainSymbols,
  { filter, functions, from, to }: Extract<Question, { kind: 'export' }>,
): Promise<Readonly<Record<string, string>>> {
  const { sites } = (await target.traceQuestion({
    kind: 'sites',
    filter,
    ...(functions === undefined ? {} : { functions }),
    from,
    to,
  })) as Answer<'sites'>;
  return Object.fromEntries(
    sites.flatMap(({ domain, address }) => {
      const name = symbolic(symbols.of(domain), BigInt(address));
      return name === undefined ? [] : [[siteKey(domain, address), name]];
    }),
  );
}

/** Asks the machine, and names what it answers with. */
export async function askTrace(target: Target, symbols: DomainSymbols, given: Question): Promise<Answer> {
  const asked = withFunctions(symbols, given);
  const answer = await target.traceQuestion(
    asked.kind === 'export' ? { ...asked, names: await namesFor(target, symbols, asked) } : asked,
  );
  const sited = (row: RecordRow): RecordRow => {
    const site = symbolic(symbols.of(row.domain), BigInt(row.caller ?? row.rip));
    return site === undefined ? row : { ...row, site };
  };
  if ('rows' in answer) return { rows: answer.rows.map(sited) };
  if ('row' in answer) return { ...answer, row: sited(answer.row), entries: answer.entries.map(sited) };
  return answer;
}
