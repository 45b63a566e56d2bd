import { latin1 } from '../../base/bytes';
import type { AddressSpace } from '../../machine/target';
import { disassemble } from '../disassembly';
import { float32, float64 } from '../floats';
import type { Location } from '../locations';
import { hex, hex64, parseLocation } from '../locations';
import { bytesToNumber } from '../../base/bytes';
import { noSymbols, symbolic } from '../symbols';
import type { Command, CommandContext } from './command';
import { addressOf, fail } from './command';

// `x/16gx ADDRESS`: memory as gdb's users ask for it, of all three address spaces.

const SIZES: Readonly<Record<string, number>> = { b: 1, h: 2, w: 4, g: 8 };
/** More units than anyone reads. */
const MAX_COUNT = 4096;
const MAX_STRING = 1024;
const ROW = 16;

const signed = (value: bigint, bytes: number): bigint => BigInt.asIntN(bytes * 8, value);
const printable = (code: number): string =>
  code >= 0x20 && code < 0x7f
    ? `'${String.fromCharCode(code)}'`
    : `'\\x${code.toString(16).padStart(2, '0')}'`;

/** How one unit reads. */
const formats: Readonly<Record<string, (value: bigint, bytes: number, symbol: string) => string>> = {
  x: (value, bytes) => `0x${value.toString(16).padStart(bytes * 2, '0')}`,
  d: (value, bytes) => signed(value, bytes).toString(),
  u: (value) => value.toString(),
  o: (value) => `0${value.toString(8)}`,
  t: (value, bytes) => value.toString(2).padStart(bytes * 8, '0'),
  a: (value, _bytes, symbol) => (symbol === '' ? hex(value) : `${hex(value)} <${symbol}>`),
  c: (value) => `${signed(value, 1)} ${printable(Number(value & 0xffn))}`,
  f: (value, bytes) => `${bytes === 4 ? float32(Number(value)) : float64(value)}`,
};
const NOT_UNITS = ['i', 's'];

interface Format {
  readonly count: number;
  readonly letter: string;
  readonly bytes: number;
}

function parseFormat(text: string): Format {
  const [, count = '', letters] = /^(\d*)([a-z]*)$/.exec(text) ?? [];
  if (letters === undefined) return fail(`x/${text}: a format is a count, a letter and a size, as in x/16gx`);
  let letter: string | undefined;
  let size: number | undefined;
  for (const one of letters) {
    if (SIZES[one] !== undefined) size = SIZES[one];
    else if (formats[one] !== undefined || NOT_UNITS.includes(one)) letter = one;
    else fail(`x/${text}: '${one}' is neither a format (${[...Object.keys(formats), ...NOT_UNITS].join(' ')}) nor a size (b h w g)`); // prettier-ignore
  }
  const wanted = count === '' ? 1 : Number(count);
  if (wanted < 1 || wanted > MAX_COUNT) fail(`x/${text}: a count goes from 1 to ${MAX_COUNT}`);
  const own = letter === 'c' ? 1 : 8;
  const bytes = letter === 'a' ? 8 : letter === 'f' && size !== 4 ? 8 : (size ?? own);
  return { count: wanted, letter: letter ?? 'x', bytes };
}

const SPACE = /^(virtual:d\d{1,5}v\d{1,5}|pseudophysical:d\d{1,5}|machine):(.*)$/s;

/** An expression, in the memory of the vCPU unless another is named before it. */
async function placeOf(text: string, context: CommandContext): Promise<Location> {
  const [, space, rest] = SPACE.exec(text) ?? [];
  const address = await addressOf((rest ?? text).trim(), context);
  return space === undefined
    ? { space: { kind: 'virtual', vcpu: context.vcpu }, address }
    : parseLocation(`${space}:${hex(address)}`, context.vcpu);
}

const labelIn = (space: AddressSpace, context: CommandContext) => {
  const symbols = space.kind === 'virtual' ? context.symbols : noSymbols;
  return (address: bigint): string => {
    const symbol = symbolic(symbols, address);
    return symbol === undefined ? hex64(address) : `${hex64(address)} <${symbol}>`;
  };
};

async function units({ space, address }: Location, format: Format, context: CommandContext): Promise<string> {
  const { letter, bytes, count } = format;
  const show = formats[letter];
  if (show === undefined) throw new Error(`no format ${letter}`);
  const data = await context.target.readMemory(space, address, count * bytes);
  const label = labelIn(space, context);
  const whole = Math.floor(data.length / bytes);
  const perRow = letter === 'a' ? 2 : Math.max(1, ROW / bytes / (letter === 't' || letter === 'c' ? 2 : 1));
  const lines: string[] = [];
  for (let at = 0; at < whole; at += perRow) {
    const cells: string[] = [];
    for (let i = at; i < Math.min(whole, at + perRow); i++) {
      const value = bytesToNumber(data.subarray(i * bytes, (i + 1) * bytes));
      cells.push(show(value, bytes, symbolic(context.symbols, value) ?? ''));
    }
    lines.push(`${label(address + BigInt(at * bytes))}: ${cells.join('  ')}`);
  }
  if (whole < count) lines.push(`${label(address + BigInt(whole * bytes))}: not mapped`);
  return lines.join('\n');
}

async function strings(
  { space, address }: Location,
  count: number,
  context: CommandContext,
): Promise<string> {
  const label = labelIn(space, context);
  const lines: string[] = [];
  let at = address;
  for (let i = 0; i < count; i++) {
    const data = await context.target.readMemory(space, at, MAX_STRING);
    if (data.length === 0) {
      lines.push(`${label(at)}: not mapped`);
      break;
    }
    const end = data.indexOf(0);
    const text = latin1(end === -1 ? data : data.subarray(0, end));
    lines.push(`${label(at)}: ${JSON.stringify(text)}${end === -1 ? '…' : ''}`);
    at += BigInt((end === -1 ? data.length : end) + 1);
  }
  return lines.join('\n');
}

async function instructions(
  { space, address }: Location,
  count: number,
  context: CommandContext,
): Promise<string> {
  const symbols = space.kind === 'virtual' ? context.symbols : noSymbols;
  const { target, decoder } = context;
  const name = (at: bigint): string | undefined => symbolic(symbols, at);
  const list = await disassemble({ target, space, decoder, symbols, address, offset: 0, count, name });
  const label = labelIn(space, context);
  const here = space.kind === 'virtual' ? context.registers.get('rip') : undefined;
  const lines = list.flatMap((one) =>
    one === undefined ? [] : [`${one.address === here ? '=>' : '  '} ${label(one.address)}: ${one.text}`],
  );
  return lines.length < count ? [...lines, '   the rest is not mapped'].join('\n') : lines.join('\n');
}

export const examine: Command = {
  name: 'x',
  usage: ['/FORMAT ADDRESS', '/FORMAT SPACE:ADDRESS'],
  format: true,
  help:
    'Shows memory. FORMAT is a count, a letter (x d u o t a c f: numbers; s: texts; i: instructions) and a size ' +
    '(b h w g: 1, 2, 4, 8 bytes), in gdb’s manner; without one, 8 bytes as x. SPACE is machine, pseudophysical:d1 or ' +
    'virtual:d1v0; without one, the virtual memory of the vCPU that is looked at.',
  examples: ['x/16gx rsp', 'x/10i rip', 'x/s shape->name', 'x/4wx machine:0x41000'],
  run: async (given, context, format) => {
    const { letter, count, bytes } = parseFormat(format);
    const place = await placeOf(given, context);
    const text =
      letter === 's'
        ? await strings(place, count, context)
        : letter === 'i'
          ? await instructions(place, count, context)
          : await units(place, { letter, count, bytes }, context);
    return { text, memory: place };
  },
};
