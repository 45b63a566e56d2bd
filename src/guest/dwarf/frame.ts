import type { ByteView } from '../../base/bytes';
import { ByteReader } from '../../base/bytes';
import { ImageError, hex } from '../error';
import { address, offsetNumber } from './forms';
import type { DwarfSection, DwarfSections } from './sections';
import { unitExtent } from './units';

// Call frame information (DWARF 5, 6.4): how to find the caller's registers at each instruction. .eh_frame is the
// same with pointers of other encodings (LSB Core, "Exception Frames").

/** Where a register of the caller is. `undefined` in a table means that nothing is said about it. */
export type RegisterRule =
  | { readonly kind: 'undefined' | 'same' }
  /** At this distance from the CFA; or the CFA plus this is the value itself. */
  | { readonly kind: 'offset' | 'value offset'; readonly offset: bigint }
  | { readonly kind: 'register'; readonly register: number }
  /** The address of the value, or the value; evaluated with the CFA on the stack. */
  | { readonly kind: 'expression' | 'value expression'; readonly expression: ByteView };

export type CfaRule =
  | { readonly kind: 'register'; readonly register: number; readonly offset: bigint }
  | { readonly kind: 'expression'; readonly expression: ByteView };

export interface FrameRow {
  readonly cfa: CfaRule;
  /** By DWARF's number of the register (AMD64 psABI, figure 3.36). */
  readonly rules: ReadonlyMap<number, RegisterRule>;
  /** The "register" whose rule tells where the return address is. */
  readonly returnAddress: number;
  /** The frame was interrupted and made no call: its address is that of its next instruction. */
  readonly signal: boolean;
  /** The function, as far as this table is concerned. */
  readonly low: bigint;
  readonly high: bigint;
}

export interface FrameTable {
  at(pc: bigint): FrameRow | undefined;
  readonly problems: readonly string[];
}

interface Cie {
  readonly codeAlign: number;
  readonly dataAlign: bigint;
  readonly returnAddress: number;
  readonly signal: boolean;
  /** DW_EH_PE_… of the addresses in descriptions; undefined where they are plain. */
  readonly encoding: number | undefined;
  readonly augmented: boolean;
  readonly addressSize: number;
  readonly instructions: ByteView;
}

interface Fde {
  readonly low: bigint;
  readonly high: bigint;
  readonly cie: Cie;
  /** In the section. */
  readonly start: number;
  readonly end: number;
}

const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);

/** DW_EH_PE_…: the low half is the format, the next three bits what it is relative to. */
const formats: Readonly<Record<number, (reader: ByteReader) => bigint>> = {
  0x00: (reader) => reader.u64(),
  0x01: (reader) => reader.uleb(),
  0x02: (reader) => BigInt(reader.u16()),
  0x03: (reader) => BigInt(reader.u32()),
  0x04: (reader) => reader.u64(),
  0x09: (reader) => reader.sleb(),
  0x0a: (reader) => BigInt.asIntN(16, BigInt(reader.u16())),
  0x0b: (reader) => BigInt.asIntN(32, BigInt(reader.u32())),
  0x0c: (reader) => BigInt.asIntN(64, reader.u64()),
};
const RELATIVE = 0x70;
const PCREL = 0x10;

/** @param place virtual address of the reader's view */
function encoded(reader: ByteReader, encoding: number, place: bigint): bigint {
  const at = place + BigInt(reader.offset);
  const read = formats[encoding & 0x0f];
  const relative = encoding & RELATIVE;
  if (read === undefined || (relative !== 0 && relative !== PCREL))
    throw new ImageError(
      reader.view.thing,
      `offset ${hex(reader.offset)}`,
      `pointer encoding ${hex(encoding)} is not known`,
    );
  const value = read(reader);
  return wrap(relative === PCREL ? at + value : value);
}

function readCie(section: DwarfSection, at: number, isEh: boolean): Cie {
  const { offsetSize, start, end } = unitExtent(section, at);
  const reader = new ByteReader(section.view(start, end - start, 'CIE'));
  reader.skip(isEh ? 4 : offsetSize);
  const version = reader.u8();
  if (![1, 3, 4].includes(version))
    throw new ImageError(
      reader.view.thing,
      'version',
      `frame information of version ${version} is not known`,
    );
  const augmentation = reader.cString();
  let addressSize = 8;
  if (version === 4) {
    addressSize = reader.u8();
    reader.skip(1);
  }
  const codeAlign = reader.ulebNumber();
  const dataAlign = reader.sleb();
  const returnAddress = version === 1 ? reader.u8() : reader.ulebNumber();
  let encoding: number | undefined = isEh ? 0 : undefined;
  let signal = false;
  const augmented = augmentation.startsWith('z');
  if (augmented) {
    const after = reader.ulebNumber() + reader.offset;
    for (const letter of augmentation.slice(1)) {
      if (letter === 'R') encoding = reader.u8();
      else if (letter === 'L') reader.u8();
      else if (letter === 'P') encoded(reader, reader.u8() & ~RELATIVE, 0n);
      else if (letter === 'S') signal = true;
    }
    reader.offset = after;
  } else if (augmentation === 'S') signal = true;
  else if (augmentation !== '')
    throw new ImageError(reader.view.thing, 'augmentation', `'${augmentation}' is not known`);
  const rest = reader.view.view(reader.offset, Math.max(0, reader.end - reader.offset), reader.view.thing);
  return {
    codeAlign,
    dataAlign,
    returnAddress,
    signal,
    encoding,
    augmented,
    addressSize,
    instructions: rest,
  };
}

/** All descriptions of a section, by where their code begins. */
function readFdes(section: DwarfSection, isEh: boolean, problem: (text: string) => void): Fde[] {
  const cies = new Map<number, Cie | undefined>();
  const cieAt = (at: number): Cie | undefined => {
    if (!cies.has(at)) {
      cies.set(at, undefined);
      try {
        cies.set(at, readCie(section, at, isEh));
      } catch (error) {
        if (!(error instanceof ImageError)) throw error;
        problem(error.message);
      }
    }
    return cies.get(at);
  };
  const fdes: Fde[] = [];
  for (let at = 0; section.size - at >= 4;) {
    const { offsetSize, start, end } = unitExtent(section, at);
    // A length of zero ends .eh_frame.
    if (end === start) break;
    at = end;
    const reader = new ByteReader(section.view(start, Math.min(64, end - start), 'FDE'));
    const id = isEh ? reader.u32() : offsetNumber(reader, { offsetSize });
    const isCie = isEh ? id === 0 : id === (offsetSize === 4 ? 0xffffffff : 2 ** 64);
    if (isCie) continue;
    const cie = cieAt(isEh ? start - id : id);
    if (cie === undefined) continue;
    let low: bigint;
    let length: bigint;
    if (cie.encoding === undefined) {
      low = address(reader, cie);
      length = address(reader, cie);
    } else {
      low = encoded(reader, cie.encoding, section.address + BigInt(start));
      length = encoded(reader, cie.encoding & 0x0f, 0n);
    }
    if (cie.augmented) reader.offset += reader.ulebNumber();
    if (length > 0n) fdes.push({ low, high: low + length, cie, start: start + reader.offset, end });
  }
  return fdes.sort((a, b) => (a.low < b.low ? -1 : a.low > b.low ? 1 : 0));
}

interface State {
  cfa: CfaRule;
  rules: Map<number, RegisterRule>;
}

/** Runs the instructions of one table until they have passed `pc`. */
function rowAt(section: DwarfSection, { low, high, cie, start, end }: Fde, pc: bigint): FrameRow {
  const { codeAlign, dataAlign, returnAddress, signal } = cie;
  let state: State = { cfa: { kind: 'register', register: 7, offset: 8n }, rules: new Map() };
  const saved: State[] = [];
  let location = low;
  let initial = new Map<number, RegisterRule>();

  const run = (view: ByteView): void => {
    const reader = new ByteReader(view);
    const set = (register: number, rule: RegisterRule): void => void state.rules.set(register, rule);
    const restore = (register: number): void => {
      const rule = initial.get(register);
      if (rule === undefined) state.rules.delete(register);
      else state.rules.set(register, rule);
    };
    const block = (): ByteView => {
      const size = reader.ulebNumber();
      const at = reader.offset;
      reader.skip(size);
      return view.view(at, size, view.thing);
    };
    const at = (kind: 'offset' | 'value offset', register: number, factored: bigint): void =>
      set(register, { kind, offset: factored * dataAlign });
    const cfa = (register: number, offset: bigint): void => {
      state.cfa = { kind: 'register', register, offset };
    };
    const cfaOffset = (offset: bigint): void => {
      if (state.cfa.kind === 'register') cfa(state.cfa.register, offset);
    };
    /** Instructions by number (table 7.29); those that advance say to where. */
    const instructions: Readonly<Record<number, () => unknown>> = {
      0x00: () => undefined, // nop
      0x01: () =>
        cie.encoding === undefined
          ? address(reader, cie)
          : encoded(reader, cie.encoding, section.address + BigInt(start)), // set_loc
      0x02: () => location + BigInt(reader.u8() * codeAlign), // advance_loc1
      0x03: () => location + BigInt(reader.u16() * codeAlign), // advance_loc2
      0x04: () => location + BigInt(reader.u32() * codeAlign), // advance_loc4
      0x05: () => at('offset', reader.ulebNumber(), reader.uleb()), // offset_extended
      0x06: () => restore(reader.ulebNumber()), // restore_extended
      0x07: () => set(reader.ulebNumber(), { kind: 'undefined' }), // undefined
      0x08: () => set(reader.ulebNumber(), { kind: 'same' }), // same_value
      0x09: () => set(reader.ulebNumber(), { kind: 'register', register: reader.ulebNumber() }), // register
      0x0a: () => void saved.push({ cfa: state.cfa, rules: new Map(state.rules) }), // remember_state
      0x0b: () => {
        state = saved.pop() ?? state;
      }, // restore_state
      0x0c: () => cfa(reader.ulebNumber(), reader.uleb()), // def_cfa
      0x0d: () => {
        const register = reader.ulebNumber();
        cfa(register, state.cfa.kind === 'register' ? state.cfa.offset : 0n);
      }, // def_cfa_register
      0x0e: () => cfaOffset(reader.uleb()), // def_cfa_offset
      0x0f: () => {
        state.cfa = { kind: 'expression', expression: block() };
      }, // def_cfa_expression
      0x10: () => set(reader.ulebNumber(), { kind: 'expression', expression: block() }), // expression
      0x11: () => at('offset', reader.ulebNumber(), reader.sleb()), // offset_extended_sf
      0x12: () => cfa(reader.ulebNumber(), reader.sleb() * dataAlign), // def_cfa_sf
      0x13: () => cfaOffset(reader.sleb() * dataAlign), // def_cfa_offset_sf
      0x14: () => at('value offset', reader.ulebNumber(), reader.uleb()), // val_offset
      0x15: () => at('value offset', reader.ulebNumber(), reader.sleb()), // val_offset_sf
      0x16: () => set(reader.ulebNumber(), { kind: 'value expression', expression: block() }), // val_expression
      0x2e: () => void reader.uleb(), // GNU_args_size
    };
    while (!reader.done) {
      const opcode = reader.u8();
      const low6 = opcode & 0x3f;
      let next: unknown;
      if (opcode >> 6 === 1) next = location + BigInt(low6 * codeAlign);
      else if (opcode >> 6 === 2) at('offset', low6, reader.uleb());
      else if (opcode >> 6 === 3) restore(low6);
      else {
        const instruction = instructions[opcode];
        if (instruction === undefined)
          throw new ImageError(
            view.thing,
            `offset ${hex(reader.offset - 1)}`,
            `frame instruction ${hex(opcode)} is not known`,
          );
        next = instruction();
      }
      if (typeof next === 'bigint') {
        if (next > pc) return;
        location = next;
      }
    }
  };

  run(cie.instructions);
  initial = new Map(state.rules);
  run(section.view(start, Math.max(0, end - start), 'FDE'));
  return { ...state, returnAddress, signal, low, high };
}

/** The tables of a file; the section with more to say about an address wins: .debug_frame is there for the debugger. */
export function frameTable(sections: DwarfSections): FrameTable {
  const problems: string[] = [];
  const problem = (text: string): void => void problems.push(text);
  let tables: readonly { readonly section: DwarfSection; readonly fdes: readonly Fde[] }[] | undefined;
  const read = (): NonNullable<typeof tables> =>
    (tables ??= (['.debug_frame', '.eh_frame'] as const).flatMap((name) => {
      try {
        const section = sections.get(name);
        return section === undefined
          ? []
          : [{ section, fdes: readFdes(section, name === '.eh_frame', problem) }];
      } catch (error) {
        if (!(error instanceof ImageError)) throw error;
        problem(error.message);
        return [];
      }
    }));
  return {
    problems,
    at: (pc) => {
      for (const { section, fdes } of read()) {
        let low = 0;
        let high = fdes.length;
        while (low < high) {
          const middle = (low + high) >>> 1;
          if ((fdes[middle]?.low ?? 0n) <= pc) low = middle + 1;
          else high = middle;
        }
        const found = fdes[low - 1];
        if (found === undefined || pc >= found.high) continue;
        try {
          return rowAt(section, found, pc);
        } catch (error) {
          if (!(error instanceof ImageError)) throw error;
          problem(error.message);
        }
      }
      return undefined;
    },
  };
}
