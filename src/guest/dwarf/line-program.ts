import { ByteReader } from '../../base/bytes';
import { ImageError, hex } from '../error';
import type { FormContext } from './forms';
import { offsetNumber, plainString, readForm } from './forms';
import type { DwarfSection, DwarfSections } from './sections';
import type { Extent } from './units';

// One line number program of .debug_line (DWARF 5, 6.2; version 4 where it differs).

/** One row of the matrix (6.2.2). */
export interface LineRow {
  readonly address: bigint;
  /** Path as the compiler had it, made absolute where the compilation directory is known. */
  readonly file: string;
  /** From 1; 0 for code that belongs to no line. */
  readonly line: number;
  /** From 1; 0 for the whole line. */
  readonly column: number;
  readonly isStatement: boolean;
  /** Just the end of the sequence: the address after its last instruction. */
  readonly endSequence: boolean;
}

interface Header {
  readonly minimumInstructionLength: number;
  readonly defaultIsStatement: boolean;
  readonly lineBase: number;
  readonly lineRange: number;
  readonly opcodeBase: number;
  readonly operandCounts: readonly number[];
  readonly files: FileTable;
}

/** The files of one program, by the numbers that its rows use. */
export interface FileTable {
  /** How many there are. */
  readonly count: number;
  /** Name alone, as the compiler wrote it; it may have directories in it. */
  name(index: number): string;
  /** Full path. */
  path(index: number): string;
  add(name: string, directory: number): void;
}

/** Joins, and removes `.` and `..` where that needs no knowledge of the disk. */
export function joinPath(directory: string, name: string): string {
  const whole = name.startsWith('/') || directory === '' ? name : `${directory}/${name}`;
  const parts: string[] = [];
  for (const part of whole.split('/')) {
    if (part === '' || part === '.') continue;
    const last = parts[parts.length - 1];
    if (part === '..' && last !== undefined && last !== '..') parts.pop();
    else if (part !== '..' || !whole.startsWith('/')) parts.push(part);
  }
  return (whole.startsWith('/') ? '/' : '') + parts.join('/');
}

interface Entry {
  path: string;
  directory: number;
}

const DW_LNCT_path = 1;
const DW_LNCT_directory_index = 2;

/** A directory or file table of version 5 (6.2.4.1). */
function readEntries(reader: ByteReader, context: FormContext): Entry[] {
  const at = reader.offset;
  const formats = Array.from({ length: reader.u8() }, () => ({
    content: reader.ulebNumber(),
    form: reader.ulebNumber(),
  }));
  const count = reader.ulebNumber();
  // Every entry takes a byte at least, so that no count can keep the loop below from its end.
  if (count > reader.end - reader.offset || (count > 0 && formats.length === 0)) {
    throw new ImageError(reader.view.thing, `offset ${hex(at)}`, `a table of ${count} entries does not fit`);
  }
  return Array.from({ length: count }, () => {
    const entry: Entry = { path: '', directory: 0 };
    for (const { content, form } of formats) {
      const result = readForm(form, reader, context);
      if (content === DW_LNCT_path) entry.path = plainString(context.sections, result) ?? '';
      if (content === DW_LNCT_directory_index) entry.directory = Number(result.value);
    }
    return entry;
  });
}

/** The tables up to version 4: NUL-terminated lists that count from 1; number 0 is the compilation directory. */
function readOldEntries(reader: ByteReader): { directories: string[]; files: Entry[] } {
  const directories: string[] = [];
  for (let name = reader.cString(); name !== ''; name = reader.cString()) directories.push(name);
  const files: Entry[] = [];
  for (let path = reader.cString(); path !== ''; path = reader.cString()) {
    files.push({ path, directory: reader.ulebNumber() });
    reader.uleb();
    reader.uleb();
  }
  return { directories, files };
}

/** The reader of one program, from its version on. */
export const programReader = (section: DwarfSection, { start, end }: Extent): ByteReader =>
  new ByteReader(section.view(start, end - start, 'line program'));

/**
 * The header, whose length ends at the position that the reader is left at.
 * @throws ImageError
 */
export function readHeader(
  sections: DwarfSections,
  reader: ByteReader,
  { offsetSize }: Extent,
  directory: string,
): Header {
  const { thing } = reader.view;
  const fault = (problem: string): never => {
    throw new ImageError(thing, `offset ${hex(reader.offset)}`, problem);
  };
  const version = reader.u16();
  if (version < 2 || version > 5) fault(`line table version ${version} is not known`);
  let addressSize = 8;
  if (version >= 5) {
    addressSize = reader.u8();
    if (reader.u8() !== 0) fault('segment selectors are not for x86-64');
  }
  const headerLength = offsetNumber(reader, { offsetSize });
  if (headerLength > reader.end - reader.offset) fault(`a header of ${headerLength} bytes does not fit`);
  const start = reader.offset + headerLength;
  const minimumInstructionLength = reader.u8();
  if (version >= 4 && reader.u8() > 1) fault('several operations per instruction are not for x86-64');
  const defaultIsStatement = reader.u8() !== 0;
  const lineBase = reader.i8();
  const lineRange = reader.u8();
  if (lineRange === 0) fault('line_range is 0');
  const opcodeBase = reader.u8();
  const operandCounts = [0, ...Array.from({ length: Math.max(0, opcodeBase - 1) }, () => reader.u8())];

  const context: FormContext = { sections, version, offsetSize, addressSize };
  let directories: string[];
  let files: Entry[];
  if (version >= 5) {
    directories = readEntries(reader, context).map(({ path }) => path);
    files = readEntries(reader, context);
  } else {
    const old = readOldEntries(reader);
    directories = [directory, ...old.directories];
    files = [{ path: '', directory: 0 }, ...old.files];
  }
  // In version 5 directory 0 repeats the compilation directory, which .debug_info may know better.
  // Where it is relative (-ffile-prefix-map), it is the same path and not one below it.
  const first = directories[0] ?? '';
  const base = first === directory ? joinPath('', first) : joinPath(directory, first);
  const folder = (index: number): string => (index === 0 ? base : joinPath(base, directories[index] ?? ''));
  const paths: string[] = [];
  reader.offset = start;
  return {
    minimumInstructionLength,
    defaultIsStatement,
    lineBase,
    lineRange,
    opcodeBase,
    operandCounts,
    files: {
      get count() {
        return files.length;
      },
      name: (index) => files[index]?.path ?? '',
      path: (index) => (paths[index] ??= fullPath(files[index])),
      add: (path, index) => files.push({ path, directory: index }),
    },
  };

  function fullPath(file: Entry | undefined): string {
    return file === undefined || file.path === '' ? '' : joinPath(folder(file.directory), file.path);
  }
}

const DW_LNS_copy = 1;

/** Runs a program. @throws ImageError */
export function runLineProgram(
  sections: DwarfSections,
  section: DwarfSection,
  extent: Extent,
  directory: string,
): LineRow[] {
  const reader = programReader(section, extent);
  const header = readHeader(sections, reader, extent, directory);
  const { minimumInstructionLength, lineBase, lineRange, opcodeBase, operandCounts, files } = header;
  const rows: LineRow[] = [];

  let address = 0n;
  let file = 1;
  let line = 1;
  let column = 0;
  let isStatement = header.defaultIsStatement;
  const reset = (): void => {
    address = 0n;
    file = 1;
    line = 1;
    column = 0;
    isStatement = header.defaultIsStatement;
  };
  const emit = (endSequence: boolean): void => {
    rows.push({ address, file: files.path(file), line, column, isStatement, endSequence });
  };
  const advance = (operations: number | bigint): void => {
    address = BigInt.asUintN(64, address + BigInt(operations) * BigInt(minimumInstructionLength));
  };
  const special = (adjusted: number): void => {
    advance(Math.floor(adjusted / lineRange));
    line += lineBase + (adjusted % lineRange);
  };
  const toNumber = (value: bigint): number => Number(BigInt.asUintN(32, value));

  /** Standard opcodes (6.2.5.2) by number. Those left out change nothing that is kept here. */
  const standard: Readonly<Record<number, () => void>> = {
    [DW_LNS_copy]: () => emit(false),
    2: () => advance(reader.uleb()),
    3: () => (line += Number(BigInt.asIntN(32, reader.sleb()))),
    4: () => (file = toNumber(reader.uleb())),
    5: () => (column = toNumber(reader.uleb())),
    6: () => (isStatement = !isStatement),
    8: () => advance(Math.floor((255 - opcodeBase) / lineRange)),
    // The one whose operand is not a LEB128, and is not scaled.
    9: () => (address = BigInt.asUintN(64, address + BigInt(reader.u16()))),
  };
  const extended = (): void => {
    const length = reader.ulebNumber();
    const end = reader.offset + length;
    if (length === 0 || end > reader.end)
      throw new ImageError(
        reader.view.thing,
        `offset ${hex(reader.offset)}`,
        `an extended opcode of ${length} bytes does not fit`,
      );
    const opcode = reader.u8();
    if (opcode === 1) {
      emit(true);
      reset();
    } else if (opcode === 2) address = length === 9 ? reader.u64() : BigInt(reader.u32());
    else if (opcode === 3) files.add(reader.cString(), reader.ulebNumber());
    reader.offset = end;
  };

  while (!reader.done) {
    const opcode = reader.u8();
    if (opcode >= opcodeBase) {
      special(opcode - opcodeBase);
      emit(false);
    } else if (opcode === 0) extended();
    else {
      const run = standard[opcode];
      if (run !== undefined) run();
      else for (let left = operandCounts[opcode] ?? 0; left > 0; left--) reader.uleb();
    }
  }
  return rows;
}
