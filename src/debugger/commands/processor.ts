import { assignText, evaluateText } from '../evaluate';
import { hex, hex64, vcpuName } from '../locations';
import { bytesToNumber } from '../../base/bytes';
import { symbolic } from '../symbols';
import { frameName } from '../unwind';
import type { Command } from './command';
import { columns, fail, numberOf } from './command';

// What a vCPU is at: registers, calls, names; and what is set there.

const SHOWN_GROUPS = ['general', 'control', 'segment'];

const regs: Command = {
  name: 'regs',
  also: ['registers'],
  usage: ['[GROUP or NAME]'],
  help: 'Registers of the vCPU: the general ones, or those of a group (general, control, segment, sse, x87, debug, hypervisor, all), or one.',
  examples: ['regs', 'regs sse', 'regs cr3'],
  words: ({ registers }) => [...new Set(registers.all.map(({ group }) => group)), 'all'],
  run: (given, { registers, symbols }) => {
    const wanted = given.toLowerCase().replace(/^[$%]/, '');
    const chosen = registers.all.filter(({ group, name }) =>
      wanted === '' ? SHOWN_GROUPS.includes(group) : wanted === 'all' || wanted === group || wanted === name,
    );
    const part = chosen.length === 0 ? registers.get(wanted) : undefined;
    if (part !== undefined) return Promise.resolve(`${wanted}  ${hex(part)}`);
    if (chosen.length === 0) return fail(`there is neither a register nor a group of them called '${given}'`);
    const rows = chosen.map(({ name, bits, bytes, note }) => {
      const value = bytesToNumber(bytes);
      const symbol = bits === 64 ? symbolic(symbols, value) : undefined;
      const said = [symbol === undefined ? '' : `<${symbol}>`, note ?? ''].filter((one) => one !== '');
      return [name, `0x${value.toString(16).padStart(bits / 4, '0')}`, said.join(' ')];
    });
    return Promise.resolve(columns(rows));
  },
};

const MAX_FRAMES = 50;

const bt: Command = {
  name: 'bt',
  also: ['backtrace', 'where'],
  usage: ['[COUNT]'],
  help: 'The calls on the stack of the vCPU, the innermost first, and how each was found.',
  run: async (given, context) => {
    const wanted = given === '' ? MAX_FRAMES : Number(await numberOf(given, context, 'a count'));
    const frames = await context.stack();
    const rows = frames.slice(0, wanted).map((frame, i) => {
      const { line, address, kind, found } = frame;
      const place = line === undefined ? '' : `${line.file}:${line.line}`;
      return [`#${i}`, kind === 'boundary' ? '' : hex64(address), `${frameName(frame)}  ${place}  ${kind === 'boundary' ? '' : `(${found})`}`.trimEnd()];
    }); // prettier-ignore
    const rest = frames.length - rows.length;
    return `${vcpuName(context.vcpu)}\n${columns(rows)}${rest > 0 ? `\n${rest} more` : ''}`;
  },
};

const sym: Command = {
  name: 'sym',
  also: ['symbol'],
  usage: ['NAME or ADDRESS'],
  help: 'What symbol covers an address, or where a symbol is; with its source line.',
  examples: ['sym rip', 'sym guest_main'],
  run: async (given, context) => {
    const { symbols } = context;
    const named = /^`?([^`\s]+)`?$/.exec(given)?.[1];
    const own = named === undefined ? undefined : symbols.find(named);
    const address = own ?? BigInt.asUintN(64, await numberOf(given, context, 'a name or an address'));
    const symbol = symbolic(symbols, address);
    const line = symbols.line(address);
    if (symbol === undefined && line === undefined) return fail(`no symbol covers ${hex(address)}`);
    const place = line === undefined ? '' : `  ${line.file}:${line.line}`;
    return `${hex64(address)}  ${symbol ?? ''}${place}`;
  },
};

const print: Command = {
  name: 'p',
  also: ['print'],
  usage: ['EXPRESSION'],
  help: 'The value of an expression; the same as the expression alone.',
  run: async (given, context) => {
    if (given === '') fail('an expression is missing');
    const { value } = await evaluateText(given, context, false);
    return value;
  },
};

const set: Command = {
  name: 'set',
  usage: ['var EXPRESSION = VALUE', 'EXPRESSION = VALUE'],
  help: 'Sets a variable, a register or memory; the same as the assignment alone.',
  examples: ['set var shape->colour = 2', 'set $rax = 0', 'set u32[rsp] = 1'],
  words: () => ['var'],
  run: async (given, context) => {
    const [, target = '', value = ''] = /^(?:var\s+)?([^=]+?)\s*=\s*([^=].*)$/s.exec(given) ?? [];
    if (target === '') fail('what is set is written as EXPRESSION = VALUE');
    const { name, value: now } = await assignText(target, value, context);
    return { text: `${name} = ${now}`, changed: true };
  },
};

export const processorCommands: readonly Command[] = [regs, bt, sym, print, set];
