import { parseExpression, ExpressionError } from '../../machine/expressions';
import type { EvaluationContext } from '../expressions';
import { isNamedHere } from '../expressions';
import type { Command, CommandContext, CommandResult } from './command';
import { columns, fail } from './command';
import { examine } from './examine';
import { linuxCommands } from './linux';
import { machineCommands } from './machine';
import { processorCommands } from './processor';
import { xs } from './store';

export type { Command, CommandContext, CommandResult } from './command';

const named = (name: string): Command | undefined =>
  commands.find((one) => one.name === name || one.also?.includes(name) === true);

const usageOf = ({ name, usage, format }: Command): string[] =>
  usage.map((form) => (form === '' || format === true ? `${name}${form}` : `${name} ${form}`));

function helpOn(name: string): string {
  const found = named(name) ?? fail(`there is no command '${name}'${suggestion(name)}`);
  const also = found.also === undefined ? [] : [`also: ${found.also.join(', ')}`];
  const examples = (found.examples ?? []).map((example) => `  ${example}`);
  return [
    ...usageOf(found),
    found.help,
    ...also,
    ...(examples.length > 0 ? ['for example:', ...examples] : []),
  ].join('\n');
}

const help: Command = {
  name: 'help',
  usage: ['[COMMAND]'],
  help: 'The commands, or what one of them does.',
  words: () => commands.map(({ name }) => name),
  run: (given) => {
    if (given !== '') return Promise.resolve(helpOn(given.replace(/^:/, '')));
    const firstSentence = (text: string): string => /^.*?[.;:](?=\s|$)/s.exec(text)?.[0].slice(0, -1) ?? text;
    const rows = commands.map((one) => [usageOf(one)[0] ?? one.name, firstSentence(one.help)]);
    return Promise.resolve(
      `${columns(rows)}\n\nEverything else is an expression. Where the guest has a name that is a command, :NAME is the command.`,
    );
  },
};

/** gdb's `info` says the same in other words. */
const INFO: Readonly<Record<string, string>> = {
  registers: 'regs',
  all_registers: 'regs all',
  threads: 'domains',
  inferiors: 'domains',
  stack: 'bt',
  symbol: 'sym',
  address: 'sym',
  line: 'sym',
  mem: 'maps',
  files: 'maps',
};

const info: Command = {
  name: 'info',
  usage: ['WHAT'],
  help: `What gdb’s users look for: ${Object.entries(INFO)
    .map(([what, command]) => `${what.replace('_', '-')} (${command})`)
    .join(', ')}.`,
  words: () => Object.keys(INFO).map((what) => what.replace('_', '-')),
  run: async (given, context) => {
    const [, what = '', rest = ''] = /^(\S*)\s*(.*)$/s.exec(given) ?? [];
    const meant = INFO[what.replace('-', '_')];
    if (meant === undefined)
      fail(
        `info ${what === '' ? 'what' : `'${what}'`}? There are ${Object.keys(INFO).join(', ').replace('_', '-')}`,
      );
    return (await runCommand(`:${meant ?? ''} ${rest}`, context)) ?? '';
  },
};

/** All of them: dispatch, help, completions and the reference page derive from this. */
export const commands: readonly Command[] = [
  help,
  examine,
  ...processorCommands,
  ...machineCommands,
  ...linuxCommands,
  xs,
  info,
];

interface Line {
  readonly command: Command;
  readonly format: string;
  readonly given: string;
  /** `:` was written before it. */
  readonly forced: boolean;
}

const LINE = /^\s*(:?)([a-z][\w-]*)(?:\/(\w*))?(?:\s+(.*))?$/is;

function parseLine(text: string): Line | undefined {
  const [, colon, word = '', format, given = ''] = LINE.exec(text.trim()) ?? [];
  const command = named(word);
  if (command === undefined || (format !== undefined && command.format !== true)) return undefined;
  return { command, format: format ?? '', given: given.trim(), forced: colon === ':' };
}

function isExpression(text: string): boolean {
  try {
    parseExpression(text);
    return true;
  } catch (error) {
    if (error instanceof ExpressionError) return false;
    throw error;
  }
}

/**
 * Whether a line is a command: it begins with the name of one, and is no expression about something of the guest's
 * that has that name.
 */
function isCommand(text: string, line: Line, context: EvaluationContext): boolean {
  if (line.forced || !isExpression(text)) return true;
  return !isNamedHere(/^\s*(\w+)/.exec(text)?.[1] ?? '', context);
}

/** Undefined for a line that is no command. What was wrong with one is an ExpressionError. */
export async function runCommand(text: string, context: CommandContext): Promise<CommandResult | undefined> {
  const line = parseLine(text);
  if (line === undefined || !isCommand(text, line, context)) {
    if (text.trim().startsWith(':')) fail(`there is no command '${text.trim()}'${suggestion(text)}`);
    return undefined;
  }
  const { command, given, format } = line;
  try {
    const result = await command.run(given, context, format);
    return typeof result === 'string' ? { text: result } : result;
  } catch (error) {
    const words = error instanceof ExpressionError || error instanceof RangeError ? error.message : undefined;
    if (words === undefined) throw error;
    throw new ExpressionError(`${command.name}: ${words} (help ${command.name} says how)`, 0);
  }
}

/** Letters to add, drop, change or swap with their neighbour on the way from one word to another. */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, i) => i)];
  const at = (i: number, j: number): number => rows[i]?.[j] ?? Infinity;
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j++) {
      const swapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(i - 2, j - 2) + 1 : Infinity;
      const changed = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, changed, swapped));
    }
  }
  return at(a.length, b.length);
}

/** `; did you mean …?` for what is almost a command; empty where nothing is near. */
export function suggestion(text: string): string {
  const word = /^\s*:?([a-z]\w{2,})/i.exec(text)?.[1]?.toLowerCase();
  if (word === undefined) return '';
  const names = commands.flatMap(({ name, also = [] }) => [name, ...also]).filter((name) => name.length > 2);
  const near = names.filter((name) => name !== word && distance(word, name) <= (word.length > 4 ? 2 : 1));
  return near.length === 0 ? '' : `; did you mean the command ${near.slice(0, 3).join(', ')}?`;
}

/** Commands that begin with what is typed, or the words that may follow one. */
export async function completeCommand(
  before: string,
  context: CommandContext,
): Promise<{ readonly text: string; readonly length: number }[]> {
  const first = /^\s*:?(\w*)$/.exec(before)?.[1];
  if (first !== undefined) {
    return commands
      .filter(({ name }) => first !== '' && name.startsWith(first))
      .map(({ name }) => ({ text: name, length: first.length }));
  }
  const [, word = '', started = ''] = /^\s*:?(\w+)\s+(\S*)$/.exec(before) ?? [];
  const words = (await named(word)?.words?.(context)) ?? [];
  return words.filter((one) => one.startsWith(started)).map((text) => ({ text, length: started.length }));
}
