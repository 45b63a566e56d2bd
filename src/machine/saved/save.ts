/** Writing a machine that stands still into a file. */
import { plainWriter } from '../../base/plain';
import { PAGE_SIZE } from '../../cpu/types';
import { SAVED_FIELDS } from '../../cpu/vcpu';
import type { Machine } from '../machine';
import type { SaveOptions, SaveReport } from '../target';
import { FRAMES, SECTIONS, type SavedProcessor, type Section } from './contents';
import { savedWriter, type Compression, type SavedWriter } from './container';

/** Pieces of frames between two looks at the world: some 20 ms of compressing each. */
const PIECES_A_TURN = 1;

function writeSection<T>(writer: SavedWriter, section: Section<T>, value: T): void {
  // A name that the declaration lacks would be lost without a word.
  section.schema.check(value, section.name);
  const plain = plainWriter(writer.section(section));
  plain.value(value, section.name);
  plain.end();
}

function processorsOf(machine: Machine): SavedProcessor[] {
  return machine.cpu.vcpus.map((v) => {
    const state = v.saveState();
    return Object.fromEntries(
      SAVED_FIELDS.map(({ name, offset, size }) => [name, state.subarray(offset, offset + size)]),
    );
  });
}

/** Numbers of the frames that have anything in them. */
function* savedFrames(machine: Machine): Generator<number> {
  const { mem } = machine.cpu;
  const words = new Float64Array(mem.memory.buffer);
  const a = mem.framesBase / 8;
  for (let mfn = 0; mfn < mem.frameCount; mfn++) {
    const end = a + ((mfn + 1) * PAGE_SIZE) / 8;
    let at = end - PAGE_SIZE / 8;
    // A double is 0 for −0, too, whose highest bit is set.
    while (at < end && words[at] === 0 && !Object.is(words[at], -0)) at++;
    if (at < end) yield mfn;
  }
}

/**
 * Writes the file in steps; between two of them nobody may change the machine. Yields how much is done, of 1.
 * Throws a PlainError when the machine's state is not what is declared.
 */
export function* saveMachine(
  machine: Machine,
  program: string,
  write: (bytes: Uint8Array) => void,
  compression: Compression,
  options: SaveOptions,
): Generator<number, SaveReport> {
  const { clock, cpu } = machine;
  const { domains, images } = machine.origin();
  const writer = savedWriter(write, compression);
  writeSection(writer, SECTIONS.about, {
    program,
    domains,
    frames: cpu.mem.frameCount,
    processors: cpu.vcpus.length,
    retired: clock.retired(),
    time: clock.now(),
  });
  writeSection(writer, SECTIONS.machine, { clock: clock.save(), schedule: machine.turn() });
  writeSection(writer, SECTIONS.input, machine.inputLog);
  writeSection(writer, SECTIONS.processors, processorsOf(machine));
  writeSection(writer, SECTIONS.tlbs, machine.tlbs.entries());
  writeSection(writer, SECTIONS.hypervisor, machine.hypervisor.save() as never);
  writeSection(writer, SECTIONS.images, images);
  writeSection(writer, SECTIONS.devices, machine.devices.save());
  if (options.trace !== false) writeSection(writer, SECTIONS.trace, machine.trace.content());
  yield 0;

  const { mem } = cpu;
  const frames = savedFrames(machine);
  let pieces = 0;
  const emit = writer.section(FRAMES);
  const plain = plainWriter((piece, last) => {
    pieces++;
    emit(piece, last);
  });
  const number = new Uint8Array(4);
  let kept = 0;
  for (const mfn of frames) {
    new DataView(number.buffer).setUint32(0, mfn, true);
    plain.bytes(number);
    const at = mem.framesBase + mfn * PAGE_SIZE;
    plain.bytes(mem.bytes.subarray(at, at + PAGE_SIZE));
    kept++;
    if (pieces >= PIECES_A_TURN) {
      pieces = 0;
      yield mfn / mem.frameCount;
    }
  }
  plain.end();
  writer.end();
  const { stored, raw } = writer.written();
  return { bytes: stored, raw, frames: kept };
}
