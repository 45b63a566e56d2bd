import type { SavedInspection } from '../machine/saved/load';
import type { Target } from '../machine/target';

export type { SavedInspection } from '../machine/saved/load';

const MIB = 2 ** 20;
const size = (bytes: number): string =>
  bytes < MIB ? `${Math.ceil(bytes / 1024).toString()} KiB` : `${(bytes / MIB).toFixed(1)} MiB`;

/** Saves the machine at the end of a run, and says so. */
export function saverOf(target: Target, path: string): () => Promise<void> {
  return async () => {
    const { bytes, raw, frames } = await target.save(path);
    process.stderr.write(
      `\nhyperstep: saved to ${path}: ${size(bytes)}, of ${size(raw)} with ${frames.toString()} frames\n`,
    );
  };
}

/** A guest that suspended itself before it was saved goes on as after `xl restore`. */
export async function resumeSuspended(target: Target): Promise<void> {
  for (const { id, shutdown } of await target.domains())
    if (shutdown === 'suspend') await target.resumeDomain(id, 'anew');
}

/** What `hyperstep inspect` prints. */
export function inspectionText({ about, sections, bytes }: SavedInspection): string {
  const lines = [
    `saved by ${about.program}, ${about.retired.toString()} instructions and ${(Number(about.time) / 1e9).toFixed(3)} s after its beginning`,
    `${about.frames.toString()} frames, ${about.processors.toString()} processors, ${size(bytes)}`,
  ];
  for (const { name, kernel, memory, vcpus, cmdline, ramdisk, disks } of about.domains) {
    lines.push('', `domain ${name}: ${size(memory)}, ${vcpus.toString()} vCPUs`);
    lines.push(`  kernel   ${kernel.path ?? kernel.name}`);
    if (ramdisk !== undefined) lines.push(`  ramdisk  ${ramdisk.path ?? ramdisk.name}`);
    if (cmdline !== '') lines.push(`  cmdline  ${cmdline}`);
    for (const { vdev, access, image } of disks)
      lines.push(`  disk     ${vdev}: ${image.name === '' ? 'no medium' : image.name}, ${access}`);
  }
  lines.push('', 'section      version        bytes');
  for (const { name, version, raw } of sections)
    lines.push(`${name.padEnd(12)} ${version.toString().padStart(7)} ${raw.toString().padStart(12)}`);
  return lines.join('\n');
}
