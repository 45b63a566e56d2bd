import { latin1 } from '../../base/bytes';
import type { SymbolEntry, SymbolKind } from './table';

// Linux's own symbol table, kept in .rodata of a stripped kernel too (CONFIG_KALLSYMS). Its parts, as
// scripts/kallsyms writes them and kernel/kallsyms.c reads them, have no header and no fixed place:
//
//   kallsyms_token_table   256 NUL-terminated strings; a name is a list of indices into it
//   kallsyms_token_index   u16[256], where each string starts
//   kallsyms_num_syms      u32
//   kallsyms_names         per name: length in tokens (7 bits, or 7 + 8 bits from Linux 6.1 on), then the tokens
//   kallsyms_markers       u32 (before 4.20: u64) per 256 names: where in kallsyms_names it starts
//   kallsyms_offsets       i32 per name, with kallsyms_relative_base; or kallsyms_addresses, u64 per name
//
// Up to 6.3: offsets, relative_base, num_syms, names, markers, (seqs_of_names,) token_table, token_index.
// From 6.4 on: num_syms, names, markers, token_table, token_index, offsets, relative_base, seqs_of_names.
//
// Each step below proves what it found before the next one builds on it: the index repeats the table, the
// markers repeat the names, and the addresses ascend.

const TOKENS = 256;
const NAMES_PER_MARKER = 256;
/** Fewer symbols than any kernel has, and more. */
const FEWEST = 64;
const MOST = 1 << 22;
/** What a search may cost, in candidates and in names walked; a hostile image could make it quadratic. */
const MAX_CANDIDATES = 256;
const MAX_STEPS = 1 << 26;
const ALIGNMENTS = [8, 4, 2, 1] as const;

const align = (value: number, to: number): number => Math.ceil(value / to) * to;

interface Data {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

interface Tokens {
  readonly start: number;
  /** Just after kallsyms_token_index. */
  readonly end: number;
  readonly strings: readonly string[];
}

/** Every character that occurs in a name is a token of its own at its ASCII code, and names have all digits. */
const DIGITS = Array.from('0123456789', (digit) => [digit.charCodeAt(0), 0]).flat();

function tokensAround(digits: number, { bytes, view }: Data): Tokens | undefined {
  let end = digits;
  for (let token = 0x30; token < TOKENS; token++) {
    const nul = bytes.indexOf(0, end);
    if (nul < 0 || nul - end > 0x200) return undefined;
    end = nul + 1;
  }
  for (const alignment of ALIGNMENTS) {
    const index = align(end, alignment);
    if (index + TOKENS * 2 > bytes.length) continue;
    const start = digits - view.getUint16(index + 0x30 * 2, true);
    if (start < 0) continue;
    const strings: string[] = [];
    let at = start;
    for (let token = 0; token < TOKENS; token++) {
      if (view.getUint16(index + token * 2, true) !== at - start) break;
      const nul = bytes.indexOf(0, at);
      strings.push(latin1(bytes.subarray(at, nul)));
      at = nul + 1;
    }
    if (strings.length === TOKENS && at === end) return { start, end: index + TOKENS * 2, strings };
  }
  return undefined;
}

function* findTokens(data: Data): Generator<Tokens> {
  const { bytes } = data;
  const last = bytes.length - DIGITS.length;
  let candidates = 0;
  for (let at = bytes.indexOf(0x30); at >= 0 && at <= last; at = bytes.indexOf(0x30, at + 1)) {
    if (!DIGITS.every((value, index) => bytes[at + index] === value)) continue;
    if (++candidates > MAX_CANDIDATES) return;
    const tokens = tokensAround(at, data);
    if (tokens !== undefined) yield tokens;
  }
}

interface Names {
  /** Where kallsyms_num_syms lies. */
  readonly countAt: number;
  readonly count: number;
  readonly start: number;
}

/** Walks the names' lengths, and compares where every 256th starts with the markers behind them. */
function namesFit(
  { bytes, view }: Data,
  start: number,
  count: number,
  limit: number,
  budget: { steps: number },
): boolean {
  const marks: number[] = [];
  let at = start;
  for (let name = 0; name < count; name++) {
    if (name % NAMES_PER_MARKER === 0) marks.push(at - start);
    let length = bytes[at] ?? 0;
    if (length === 0) return false;
    at++;
    if (length >= 0x80) {
      length = (length & 0x7f) | ((bytes[at] ?? 0) << 7);
      at++;
    }
    at += length;
    if (at > limit || --budget.steps < 0) return false;
  }
  const markersAt = align(at, 8);
  return [4, 8].some(
    (width) =>
      markersAt + marks.length * width <= limit &&
      marks.every((mark, index) => {
        const where = markersAt + index * width;
        return view.getUint32(where, true) === mark && (width === 4 || view.getUint32(where + 4, true) === 0);
      }),
  );
}

/** The names come before the tokens in every layout; the count, padded to 8 bytes, comes before the names. */
function findNames(data: Data, tokens: Tokens): Names | undefined {
  const { view } = data;
  const budget = { steps: MAX_STEPS };
  for (let countAt = Math.floor(tokens.start / 8) * 8 - 16; countAt >= 0; countAt -= 8) {
    const count = view.getUint32(countAt, true);
    if (count < FEWEST || count > MOST || view.getUint32(countAt + 4, true) !== 0) continue;
    if (namesFit(data, countAt + 8, count, tokens.start, budget))
      return { countAt, count, start: countAt + 8 };
  }
  return undefined;
}

interface Addresses {
  readonly values: BigUint64Array;
  /** Values that are numbers, not places: with CONFIG_KALLSYMS_ABSOLUTE_PERCPU, per-CPU offsets. */
  readonly isAbsolute: (index: number) => boolean;
}

/** The upper half of the address space, where kernels live. */
const isKernelHalf = (address: bigint): boolean => address >> 47n === 0x1ffffn;

function ascend(values: BigUint64Array): boolean {
  return values.every((value, index) => index === 0 || value >= (values[index - 1] ?? 0n));
}

function relativeAddresses({ view }: Data, at: number, base: bigint, count: number): Addresses | undefined {
  if (!isKernelHalf(base)) return undefined;
  const offset = (index: number): number => view.getInt32(at + index * 4, true);
  // With absolute per-CPU symbols: an offset that is not negative is the value itself, a negative one counts
  // down from just below the base (kernel/kallsyms.c, kallsyms_sym_address). A kernel has places, so some are.
  if (offset(count - 1) < 0) {
    const values = BigUint64Array.from({ length: count }, (_, index) => {
      const value = offset(index);
      return value >= 0 ? BigInt(value) : base - 1n - BigInt(value);
    });
    return ascend(values) ? { values, isAbsolute: (index) => offset(index) >= 0 } : undefined;
  }
  const plain = BigUint64Array.from({ length: count }, (_, index) => base + BigInt(offset(index) >>> 0));
  return ascend(plain) ? { values: plain, isAbsolute: () => false } : undefined;
}

function findAddresses(data: Data, tokens: Tokens, { countAt, count }: Names): Addresses | undefined {
  const { bytes, view } = data;
  const offsetsSize = align(count * 4, 8);
  const before = countAt - 8 - offsetsSize;
  if (before >= 0) {
    const found = relativeAddresses(data, before, view.getBigUint64(countAt - 8, true), count);
    if (found !== undefined) return found;
  }
  const after = align(tokens.end, 8);
  if (after + offsetsSize + 8 <= bytes.length) {
    const found = relativeAddresses(data, after, view.getBigUint64(after + offsetsSize, true), count);
    if (found !== undefined) return found;
  }
  // Without CONFIG_KALLSYMS_BASE_RELATIVE.
  for (const at of [countAt - count * 8, after]) {
    if (at < 0 || at + count * 8 > bytes.length) continue;
    const values = BigUint64Array.from({ length: count }, (_, index) =>
      view.getBigUint64(at + index * 8, true),
    );
    if (ascend(values) && isKernelHalf(values[count - 1] ?? 0n)) {
      return { values, isAbsolute: (index) => !isKernelHalf(values[index] ?? 0n) };
    }
  }
  return undefined;
}

/** The first character of an expanded name is its type, as nm(1) shows it; capitals are global. */
const kindOfType: Readonly<Record<string, SymbolKind>> = {
  t: 'function',
  w: 'function',
  v: 'object',
  b: 'object',
  d: 'object',
  r: 'object',
  a: 'absolute',
};

function decode(
  { bytes }: Data,
  { strings }: Tokens,
  { start, count }: Names,
  addresses: Addresses,
): SymbolEntry[] {
  const { values, isAbsolute } = addresses;
  const entries: SymbolEntry[] = [];
  let at = start;
  for (let index = 0; index < count; index++) {
    let length = bytes[at++] ?? 0;
    if (length >= 0x80) length = (length & 0x7f) | ((bytes[at++] ?? 0) << 7);
    let text = '';
    for (const end = at + length; at < end; at++) text += strings[bytes[at] ?? 0] ?? '';
    const type = text.charAt(0);
    const lower = type.toLowerCase();
    entries.push({
      name: text.slice(1),
      address: values[index] ?? 0n,
      size: 0,
      kind: isAbsolute(index) ? 'absolute' : (kindOfType[lower] ?? 'label'),
      global: type !== lower,
    });
  }
  return entries;
}

/**
 * Finds and decodes kallsyms in a kernel's read-only data. Any bytes may be given: what is not a table that
 * proves itself is passed over.
 * @returns undefined when there is none
 */
export function kallsymsIn(bytes: Uint8Array): SymbolEntry[] | undefined {
  const data: Data = { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) };
  for (const tokens of findTokens(data)) {
    const names = findNames(data, tokens);
    const addresses = names && findAddresses(data, tokens, names);
    if (names !== undefined && addresses !== undefined) return decode(data, tokens, names, addresses);
  }
  return undefined;
}
