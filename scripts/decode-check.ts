/**
 * Compares the decoder with the published disassembler over all code of a real kernel:
 * `npx tsx scripts/decode-check.ts [image…]`; without one, over the kernels in the cache of fetch-guests.ts.
 * Half a minute for a distribution kernel. Exit status 1 when anything differs.
 */
import { readFileSync } from 'node:fs';
import { isElf, PT_LOAD, readElf, sectionData, segmentData } from '../src/guest/elf';
import { loadImage } from '../src/guest/image';
import { sweep } from '../test/support/disassembler';
import { findGuest } from './fetch-guests';

const SHF_EXECINSTR = 4n;
const PF_X = 1;

async function check(path: string): Promise<number> {
  const bytes = readFileSync(path);
  const elf = isElf(bytes) ? readElf(bytes, path) : (await loadImage(bytes, path)).elf;
  const sections = elf.sections
    .filter((s) => (s.flags & SHF_EXECINSTR) !== 0n)
    .map((s) => ({ name: s.name, code: sectionData(elf, s).bytes }));
  // Without section headers: whole segments, data and all; what is data still has to decode alike.
  const segments = elf.segments
    .filter((s) => s.type === PT_LOAD && (s.flags & PF_X) !== 0)
    .map((s) => ({ name: `segment at 0x${s.vaddr.toString(16)}`, code: segmentData(elf, s).bytes }));
  let different = 0;
  for (const { name, code } of sections.length > 0 ? sections : segments) {
    const started = Date.now();
    const { instructions, differences } = sweep(code);
    console.log(`${path} ${name}: ${instructions} instructions, ${differences.length} differences, ${Date.now() - started} ms`); // prettier-ignore
    for (const d of differences.slice(0, 20))
      console.log(`  +0x${d.at.toString(16)}: ${d.bytes}\n    ours   ${d.ours}\n    theirs ${d.theirs}`);
    different += differences.length;
  }
  return different;
}

async function main(): Promise<void> {
  const given = process.argv.slice(2);
  const paths =
    given.length > 0 ? given : ['linux-cloud', 'linux'].flatMap((name) => findGuest(name as 'linux') ?? []);
  if (paths.length === 0)
    throw new Error('no kernel given and none fetched: npx tsx scripts/fetch-guests.ts');
  let different = 0;
  for (const path of paths) different += await check(path);
  process.exitCode = different > 0 ? 1 : 0;
}

void main();
