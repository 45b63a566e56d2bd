/**
 * Compares the decoder with the published disassembler over all code of a real kernel:
 * `npx tsx scripts/decode-check.ts [image…]`; without one, over the kernels in the cache of fetch-guests.ts.
 * Half a minute for a distribution kernel. Exit status 1 when anything differs.
 */
import { readFileSync } from 'node:fs';
import { isElf, readElf, sectionData } from '../src/guest/elf';
import { loadImage } from '../src/guest/image';
import { sweep } from '../test/support/disassembler';
import { findGuest } from './fetch-guests';

const SHF_EXECINSTR = 4n;

async function check(path: string): Promise<number> {
  const bytes = readFileSync(path);
  const elf = isElf(bytes) ? readElf(bytes, path) : (await loadImage(bytes, path)).elf;
  let different = 0;
  for (const section of elf.sections) {
    if ((section.flags & SHF_EXECINSTR) === 0n) continue;
    const started = Date.now();
    const { instructions, differences } = sweep(sectionData(elf, section).bytes);
    console.log(`${path} ${section.name}: ${instructions} instructions, ${differences.length} differences, ${Date.now() - started} ms`); // prettier-ignore
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
