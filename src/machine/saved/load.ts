/** Reading a saved machine's file. */
import { plainReader, type PlainReader } from '../../base/plain';
import { DOMID } from '../../abi/domains';
import { PAGE_SIZE } from '../../cpu/types';
import { SAVED_FIELDS, SAVED_SIZE, STATE_VERSION } from '../../cpu/vcpu';
import { ImageError } from '../../guest/error';
import type { Machine } from '../machine';
import { FRAMES, SECTIONS, type About, type SavedImage, type SavedProcessor, type Section } from './contents';
import {
  END,
  FORMAT_VERSION,
  refused,
  SavedFileError,
  savedReader,
  type Compression,
  type SavedReader,
  type SavedSource,
} from './container';

/** Words for people, with the name of the file. */
function named<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const why = refused(error);
    if (why instanceof SavedFileError) throw new SavedFileError(`${file}: ${why.message}`);
    throw why;
  }
}

function readSection<T>(reader: SavedReader, section: Section<T>): T {
  const plain = plainReader(reader.enter(section));
  const value = plain.value(section.name);
  plain.end(section.name);
  section.schema.check(value, section.name);
  return value as T;
}

export interface SavedFile {
  readonly about: About;
  /** Images that were no files. */
  images(): readonly SavedImage[];
  /**
   * Fills a machine that has the frames and processors which `about` says, and no domain. Once.
   * @param next is told which domain's back ends begin next
   */
  load(machine: Machine, next: (domain: number) => void): void;
}

/** Throws a SavedFileError that names file and place. */
export function openSaved(source: SavedSource, name: string, compression: Compression): SavedFile {
  return named(name, () => {
    const reader = savedReader(source, compression);
    const about = readSection(reader, SECTIONS.about);
    let early: Early | undefined;
    const readEarly = (): Early => (early ??= readStates(reader));
    return {
      about,
      images: () => named(name, () => readEarly().images),
      load: (machine, next) =>
        named(name, () => {
          fill(machine, reader, readEarly(), next);
        }),
    };
  });
}

interface Early {
  readonly machine: SectionValue<'machine'>;
  readonly input: SectionValue<'input'>;
  readonly processors: SectionValue<'processors'>;
  readonly tlbs: SectionValue<'tlbs'>;
  readonly hypervisor: SectionValue<'hypervisor'>;
  readonly images: readonly SavedImage[];
}
type SectionValue<K extends keyof typeof SECTIONS> =
  (typeof SECTIONS)[K] extends Section<infer T> ? T : never;

const readStates = (reader: SavedReader): Early => ({
  machine: readSection(reader, SECTIONS.machine),
  input: readSection(reader, SECTIONS.input),
  processors: readSection(reader, SECTIONS.processors),
  tlbs: readSection(reader, SECTIONS.tlbs),
  hypervisor: readSection(reader, SECTIONS.hypervisor),
  images: readSection(reader, SECTIONS.images),
});

function fill(machine: Machine, reader: SavedReader, early: Early, next: (domain: number) => void): void {
  const devices = readSection(reader, SECTIONS.devices);
  if (reader.next().name === SECTIONS.trace.name) {
    const content = readSection(reader, SECTIONS.trace);
    fits(SECTIONS.trace, () => machine.trace.load(content));
  }
  readFrames(machine, plainReader(reader.enter(FRAMES)));
  reader.end();
  fits(SECTIONS.processors, () => {
    restoreProcessors(machine, early.processors);
  });
  fits(SECTIONS.hypervisor, () => {
    machine.hypervisor.adopt(early.hypervisor);
  });
  fits(SECTIONS.devices, () => {
    machine.devices.adopt(next);
    machine.devices.restore(devices);
  });
  // Back ends that looked at what they found may not leave a trace of it.
  machine.hypervisor.restore(early.hypervisor);
  machine.clock.restore(early.machine.clock);
  machine.takeTurn(early.machine.schedule, early.input);
  fits(SECTIONS.tlbs, () => {
    machine.tlbs.load(early.tlbs);
  });
}

/** Parts that are each what they shall be, and do not go together. */
function fits(section: { readonly name: string }, work: () => void): void {
  try {
    work();
  } catch (error) {
    // What is wrong with a disk's image is not wrong with the file.
    if (error instanceof SavedFileError || error instanceof ImageError) throw error;
    throw new SavedFileError(
      `section '${section.name}': ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

function restoreProcessors(machine: Machine, saved: readonly SavedProcessor[]): void {
  const { vcpus } = machine.cpu;
  if (saved.length !== vcpus.length)
    throw new SavedFileError(`${saved.length} processors; the machine has ${vcpus.length}`);
  vcpus.forEach((v, i) => {
    const state = new Uint8Array(SAVED_SIZE);
    new DataView(state.buffer).setUint32(0, STATE_VERSION, true);
    for (const { name, offset } of SAVED_FIELDS) {
      const bytes = saved[i]?.[name];
      if (bytes !== undefined) state.set(bytes, offset);
    }
    v.restoreState(state);
  });
}

function readFrames({ cpu: { mem }, hypervisor }: Machine, plain: PlainReader): void {
  const number = new Uint8Array(4);
  const view = new DataView(number.buffer);
  let before = -1;
  const frame = (mfn: number): Uint8Array =>
    mem.bytes.subarray(mem.framesBase + mfn * PAGE_SIZE, mem.framesBase + (mfn + 1) * PAGE_SIZE);
  // What the hypervisor made for itself in the fresh machine; all else is zeroes, and not touched.
  hypervisor.frames.owner.forEach((owner, mfn) => {
    if (owner === DOMID.XEN) frame(mfn).fill(0);
  });
  for (;;) {
    const got = plain.bytes(number);
    if (got === 0) break;
    const mfn = view.getUint32(0, true);
    if (got < 4 || mfn <= before || mfn >= mem.frameCount)
      throw new SavedFileError(`section 'frames': frame ${mfn} after ${before}, of ${mem.frameCount}`);
    if (plain.bytes(frame(mfn)) < PAGE_SIZE)
      throw new SavedFileError(`section 'frames': the data end in the middle of frame ${mfn}`);
    before = mfn;
  }
}

export interface SectionSize {
  readonly name: string;
  readonly version: number;
  readonly raw: number;
}

export interface SavedInspection {
  readonly about: About;
  readonly sections: readonly SectionSize[];
  /** Of the file. */
  readonly bytes: number;
}

/** Reads all of a file and holds it to its checksums and declarations, without making a machine. */
export function inspectSaved(source: SavedSource, name: string, compression: Compression): SavedInspection {
  return named(name, () => {
    const reader = savedReader(source, compression);
    const sections: SectionSize[] = [];
    let about: About | undefined;
    const declared: Readonly<Record<string, Section<never>>> = SECTIONS;
    for (;;) {
      const next = reader.next();
      if (next.name === END && next.version === FORMAT_VERSION) break;
      const section = declared[next.name];
      if (section === undefined && next.name !== FRAMES.name)
        throw new SavedFileError(`nobody knows section '${next.name}'`);
      let raw = 0;
      const pull = reader.enter(section ?? FRAMES);
      const counted = (): Uint8Array | undefined => {
        const piece = pull();
        raw += piece?.length ?? 0;
        return piece;
      };
      if (section === undefined) while (counted() !== undefined);
      else {
        const plain = plainReader(counted);
        const value = plain.value(section.name);
        plain.end(section.name);
        section.schema.check(value, section.name);
        if (section.name === SECTIONS.about.name) about = value as About;
      }
      sections.push({ ...next, raw });
    }
    reader.end();
    if (about === undefined) throw new SavedFileError(`it has no section '${SECTIONS.about.name}'`);
    return { about, sections, bytes: source.size };
  });
}
