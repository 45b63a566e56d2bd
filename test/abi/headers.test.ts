/**
 * src/abi against Xen's public headers: sizes, offsets and numbers. Where a C compiler and the headers are, they
 * are asked; everywhere the answer they gave (headers.json) is compared. HYPERSTEP_ACCEPT=1 records it anew.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { skipBecause } from '../support/skip';
import { cProgram, ours, parse, type Facts } from './facts';

const recordFile = join(__dirname, 'headers.json');
const recorded = (): Facts => JSON.parse(readFileSync(recordFile, 'utf8')) as Facts;

const OLD = 'only for programs that ask for an older interface version';
/** Names that the headers hide from such a program, each with the reason. */
const hidden: Readonly<Record<string, string>> = {
  XENFEAT_grant_map_identity: 'documented in features.h, but its definition stands in a comment',
  XEN_DOMCTL_soft_reset_cont: 'for the hypervisor itself (__XEN__)',
  HVMOP_set_pci_intx_level: OLD,
  HVMOP_set_isa_irq_level: OLD,
  HVMOP_set_pci_link_route: OLD,
};

function ask(): { facts: Facts } | { reason: string } {
  if (!existsSync('/usr/include/xen/xen.h'))
    return { reason: "Xen's headers are not installed (libxen-dev)" };
  const folder = mkdtempSync(join(tmpdir(), 'hyperstep-abi-'));
  try {
    const source = join(folder, 'abi.c');
    const program = join(folder, 'abi');
    writeFileSync(source, cProgram());
    const made = spawnSync(
      'cc',
      ['-std=gnu11', '-w', '-D__XEN_INTERFACE_VERSION__=0x00040f00', '-o', program, source],
      { encoding: 'utf8' },
    );
    if (made.error !== undefined) return { reason: `no C compiler: ${made.error.message}` };
    assert.equal(made.status, 0, made.stderr);
    return { facts: parse(spawnSync(program, { encoding: 'utf8' }).stdout) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function compare(headers: Facts): void {
  const mine = ours();
  const wrong = Object.entries(mine)
    .filter(([name, value]) => headers[name] !== value && hidden[name] === undefined)
    .map(([name, value]) => `${name}: ${value} here, ${headers[name] ?? 'absent'} in the headers`);
  assert.deepEqual(wrong, []);
}

describe("Xen's ABI", () => {
  it('agrees with the headers that are installed', function () {
    this.timeout(60_000);
    const answer = ask();
    if ('reason' in answer) return skipBecause(this, answer.reason);
    if (process.env['HYPERSTEP_ACCEPT'] === '1') {
      const sorted = Object.fromEntries(Object.entries(answer.facts).sort(([a], [b]) => (a < b ? -1 : 1)));
      writeFileSync(recordFile, `${JSON.stringify(sorted, null, 1)}\n`);
    }
    compare(answer.facts);
    assert.deepEqual(answer.facts, recorded());
  });

  it('agrees with what the headers of 4.17 gave', () => {
    compare(recorded());
  });
});
