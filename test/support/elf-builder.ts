/** Builds small ELF files, right or wrong ones, for tests of the readers. Defaults describe a bootable PV kernel's headers. */

export interface SegmentSpec {
  readonly type?: number;
  readonly flags?: number;
  readonly vaddr?: bigint;
  readonly paddr?: bigint;
  readonly memsz?: bigint;
  readonly data?: Uint8Array;
  /** What the header says instead of the truth. */
  readonly claim?: { readonly offset?: bigint; readonly filesz?: bigint };
}

export interface SectionSpec {
  readonly name: string;
  readonly type?: number;
  readonly addr?: bigint;
  readonly data?: Uint8Array;
  readonly link?: number;
  readonly info?: number;
  readonly entsize?: bigint;
  readonly flags?: bigint;
  readonly claim?: { readonly offset?: bigint; readonly size?: bigint };
}

export interface ElfSpec {
  readonly elfClass?: number;
  readonly order?: number;
  readonly machine?: number;
  readonly entry?: bigint;
  readonly segments?: readonly SegmentSpec[];
  readonly sections?: readonly SectionSpec[];
  /** Header fields to overwrite, as [offset, width in bytes, value]. */
  readonly patches?: readonly (readonly [offset: number, width: 1 | 2 | 4 | 8, value: bigint])[];
}

const EHDR = 64;
const PHDR = 56;
const SHDR = 64;
const align = (value: number, to: number): number => Math.ceil(value / to) * to;

/** Concatenates, padding each part to `to` bytes. */
export function concat(parts: readonly Uint8Array[], to = 1): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + align(part.length, to), 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += align(part.length, to);
  }
  return out;
}

export const ascii = (text: string): Uint8Array =>
  Uint8Array.from(text, (character) => character.charCodeAt(0));
export const cString = (text: string): Uint8Array => ascii(`${text}\0`);

/** Little-endian integers, each `width` bytes. */
export function words(width: 1 | 2 | 4 | 8, values: readonly (number | bigint)[]): Uint8Array {
  const out = new Uint8Array(width * values.length);
  values.forEach((value, index) => {
    for (let byte = 0; byte < width; byte++)
      out[index * width + byte] = Number((BigInt(value) >> BigInt(byte * 8)) & 0xffn);
  });
  return out;
}

export const note = (owner: string, type: number, desc: Uint8Array): Uint8Array =>
  concat([words(4, [owner.length + 1, desc.length, type]), cString(owner), desc], 4);

export const xenNote = (type: number, value: bigint | string | Uint8Array): Uint8Array =>
  note(
    'Xen',
    type,
    typeof value === 'bigint' ? words(8, [value]) : typeof value === 'string' ? cString(value) : value,
  );

/** The least that Xen takes for a PV kernel: a loader and a version. */
export const pvNotes = (...more: Uint8Array[]): Uint8Array =>
  concat([xenNote(5, 'xen-3.0'), xenNote(8, 'generic'), ...more]);

export const noteSegment = (data: Uint8Array): SegmentSpec => ({ type: 4, flags: 4, data });

export interface SymbolSpec {
  readonly name: string;
  readonly value: bigint;
  readonly size?: bigint;
  /** st_info: binding in the high, type in the low four bits. */
  readonly info?: number;
  readonly section?: number;
}

/** A .symtab and its .strtab; `link` is the section index that the string table will have. */
export function symbolSections(symbols: readonly SymbolSpec[], link: number): SectionSpec[] {
  const names: Uint8Array[] = [new Uint8Array(1)];
  let at = 1;
  const entries = symbols.map(({ name, value, size = 0n, info = 0x12, section = 1 }) => {
    const nameAt = at;
    names.push(cString(name));
    at += name.length + 1;
    return concat([words(4, [nameAt]), words(1, [info, 0]), words(2, [section]), words(8, [value, size])]);
  });
  return [
    { name: '.symtab', type: 2, data: concat([new Uint8Array(24), ...entries]), link, entsize: 24n },
    { name: '.strtab', type: 3, data: concat(names) },
  ];
}

export function buildElf(spec: ElfSpec): Uint8Array {
  const segments = spec.segments ?? [];
  const sections = spec.sections ?? [];
  const parts: Uint8Array[] = [];
  let end = EHDR + segments.length * PHDR;
  const place = (data: Uint8Array): number => {
    const at = align(end, 16);
    parts.push(new Uint8Array(at - end), data);
    end = at + data.length;
    return at;
  };

  const none = new Uint8Array(0);
  const segmentAt = segments.map(({ data = none }) => place(data));
  const sectionAt = sections.map(({ data = none }) => place(data));
  const names = sections.map(({ name }) => cString(name));
  const strings = concat([new Uint8Array(1), ...names, cString('.shstrtab')]);
  const stringsAt = place(strings);
  const headersAt = sections.length === 0 ? 0 : place(new Uint8Array((sections.length + 2) * SHDR));

  const out = new Uint8Array(end);
  let at = EHDR + segments.length * PHDR;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  const view = new DataView(out.buffer);
  out.set([0x7f, 0x45, 0x4c, 0x46, spec.elfClass ?? 2, spec.order ?? 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, spec.machine ?? 62, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, spec.entry ?? 0n, true);
  view.setBigUint64(32, BigInt(segments.length === 0 ? 0 : EHDR), true);
  view.setBigUint64(40, BigInt(headersAt), true);
  view.setUint16(52, EHDR, true);
  view.setUint16(54, PHDR, true);
  view.setUint16(56, segments.length, true);
  view.setUint16(58, SHDR, true);
  view.setUint16(60, headersAt === 0 ? 0 : sections.length + 2, true);
  view.setUint16(62, headersAt === 0 ? 0 : sections.length + 1, true);

  segments.forEach(({ type = 1, flags = 7, vaddr = 0n, paddr, memsz, data = none, claim }, index) => {
    const base = EHDR + index * PHDR;
    const filesz = claim?.filesz ?? BigInt(data.length);
    view.setUint32(base, type, true);
    view.setUint32(base + 4, flags, true);
    view.setBigUint64(base + 8, claim?.offset ?? BigInt(segmentAt[index] ?? 0), true);
    view.setBigUint64(base + 16, vaddr, true);
    view.setBigUint64(base + 24, paddr ?? vaddr, true);
    view.setBigUint64(base + 32, filesz, true);
    view.setBigUint64(base + 40, memsz ?? filesz, true);
    view.setBigUint64(base + 48, 0x1000n, true);
  });

  if (headersAt !== 0) {
    let nameAt = 1;
    const rows = [
      ...sections.map((section, index) => ({ ...section, at: sectionAt[index] ?? 0 })),
      { name: '.shstrtab', type: 3, data: strings, at: stringsAt },
    ];
    rows.forEach((row: SectionSpec & { at: number }, index) => {
      const base = headersAt + (index + 1) * SHDR;
      view.setUint32(base, nameAt, true);
      view.setUint32(base + 4, row.type ?? 1, true);
      view.setBigUint64(base + 8, row.flags ?? 0n, true);
      view.setBigUint64(base + 16, row.addr ?? 0n, true);
      view.setBigUint64(base + 24, row.claim?.offset ?? BigInt(row.at), true);
      view.setBigUint64(base + 32, row.claim?.size ?? BigInt(row.data?.length ?? 0), true);
      view.setUint32(base + 40, row.link ?? 0, true);
      view.setUint32(base + 44, row.info ?? 0, true);
      view.setBigUint64(base + 56, row.entsize ?? 0n, true);
      nameAt += row.name.length + 1;
    });
  }
  for (const [offset, width, value] of spec.patches ?? []) out.set(words(width, [value]), offset);
  return out;
}

export const VIRT_BASE = 0xffffffff80000000n;

/** A small image that everything accepts: 64 bytes of text at VIRT_BASE + 1 MiB and a page of .bss. */
export function pvKernel(overrides: ElfSpec = {}, ...moreNotes: Uint8Array[]): Uint8Array {
  const text = new Uint8Array(64).fill(0x90);
  return buildElf({
    entry: VIRT_BASE + 0x100000n,
    segments: [
      { vaddr: VIRT_BASE + 0x100000n, paddr: 0x100000n, data: text, memsz: 0x1000n },
      noteSegment(pvNotes(xenNote(3, VIRT_BASE), ...moreNotes)),
    ],
    ...overrides,
  });
}

/** A bzImage around `payload` (Documentation/arch/x86/boot.rst), of boot protocol 2.15 unless told. */
export function bzImage(
  payload: Uint8Array,
  options: { protocol?: number; length?: number; setupSects?: number; version?: string } = {},
): Uint8Array {
  const setupSects = options.setupSects ?? 1;
  const start = ((setupSects === 0 ? 4 : setupSects) + 1) * 512;
  const gap = 16;
  const out = new Uint8Array(start + gap + payload.length);
  const view = new DataView(out.buffer);
  out[0x1f1] = setupSects;
  out.set([0x55, 0xaa], 0x1fe);
  out.set(ascii('HdrS'), 0x202);
  view.setUint16(0x206, options.protocol ?? 0x020f, true);
  if (options.version !== undefined) {
    view.setUint16(0x20e, 0x100, true);
    out.set(cString(options.version), 0x300);
  }
  view.setUint32(0x248, gap, true);
  view.setUint32(0x24c, options.length ?? payload.length, true);
  out.set(payload, start + gap);
  return out;
}
