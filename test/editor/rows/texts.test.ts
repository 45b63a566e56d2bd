import assert from 'node:assert/strict';
import type { HyperstepRequests, MachineStatus } from '../../../src/dap/protocol';
import { matches } from '../../../src/editor/rows/filter';
import { frameSummary, frameUses } from '../../../src/editor/rows/frame-uses';
import { mappingText } from '../../../src/editor/rows/mappings';
import { rounded, speed, statusText } from '../../../src/editor/rows/status';

const sample = (retired: number, wallMs: number, state: MachineStatus['state'] = 'running') => ({
  status: { retired: `0x${retired.toString(16)}`, time: `0x${(retired * 2).toString(16)}`, state },
  wallMs,
});

describe('the status bar', () => {
  it('says whether the machine runs, its virtual time, and how fast it goes', () => {
    const before = sample(1_000_000, 1000);
    const now = sample(46_000_000, 2000);
    assert.equal(speed(before, now), 45_000_000);
    assert.equal(statusText(before, now).text, '$(vm-running) Xen PV 92.000 ms 45 M/s');
    assert.match(statusText(before, now).accessible, /runs, at 92.000 ms of virtual time, 45 M instructions/);
    assert.equal(statusText(undefined, now).text, '$(vm-running) Xen PV 92.000 ms');
    assert.equal(statusText(now, sample(46_000_000, 3000)).text, '$(vm-running) Xen PV 92.000 ms idle');
    assert.equal(statusText(now, sample(750_000_000, 9000, 'stopped')).text, '$(debug-pause) Xen PV 1.500 s');
    assert.match(statusText(now, sample(1, 1, 'ended')).accessible, /has ended/);
    // Gone back, or looked at twice at once: it tells nothing.
    assert.equal(speed(now, before), undefined);
    assert.equal(speed(now, sample(47_000_000, 2000)), undefined);
  });

  it('rounds to what is read at a glance', () => {
    assert.deepEqual([0, 999, 1000, 1234, 12_345, 9_990_000, 3e9].map(rounded), ['0', '999', '1.0 k', '1.2 k', '12 k', '10.0 M', '3.0 G']); // prettier-ignore
  });
});

describe('an address space as text', () => {
  it('has a line a range, so that two of them differ in the ranges that do', () => {
    const lines = mappingText([
      {
        virtual: '0xffff800000000000',
        pages: 1,
        flags: ['P', 'US'],
        mfn: 0x99,
        pfn: undefined,
        owner: 'Xen',
      },
      { virtual: '0xffffffff81000000', pages: 512, flags: ['P', 'RW'], mfn: 0x42, pfn: 0x100, owner: 'd1' },
    ]).split('\n');
    assert.equal(lines.length, 4);
    assert.match(lines[1] ?? '', /^0xffff800000000000 0xffff800000000fff +4 KiB +P US +Xen +from mfn 0x99$/);
    assert.match(
      lines[2] ?? '',
      /^0xffffffff81000000 0xffffffff811fffff +2 MiB +P RW +d1 +pfn 0x100 to 0x2ff, from mfn 0x42$/,
    );
  });
});

describe('who maps a frame', () => {
  const uses: HyperstepRequests['hyperstep/frameUses']['body'] = {
    frame: { mfn: 0x42, owner: 'd1', type: 'L1', typeCount: 2, count: 3, pinned: true, pfn: 7 },
    entries: [
      { level: 2, table: 0x50, owner: 'd1', index: 3, entry: '0x42067', flags: ['P', 'RW'], virtual: ['0x600000', '0x800000600000'] },
      { level: 1, table: 0x51, owner: 'd2', index: 4, entry: '0x42025', flags: ['P'], virtual: [] },
    ],
    more: 5,
    roots: [{ domain: 1, vcpu: 0, as: 'kernel table' }],
    grants: [{ domain: 1, ref: 8, to: 2, writable: false, mappedBy: [{ domain: 2, writable: false }] }],
  }; // prettier-ignore

  it('is told in a line and a list; where there is an address, one can go there', () => {
    assert.equal(frameSummary(uses), 'mfn 0x42 · pfn 0x7 · of d1 · L1 ×2, pinned · 3 references');
    assert.deepEqual(
      frameUses(uses).map(({ label, description, address }) => [label, description, address]),
      [
        ['kernel table of d1v0', 'in CR3 while it runs so', undefined],
        [
          '0x600000 by an L2 entry',
          'P RW · entry 3 of mfn 0x50 (d1) · 0x42067 · and at 0x800000600000',
          '0x600000',
        ],
        ['L1 entry 4, in no address space', 'P · entry 4 of mfn 0x51 (d2) · 0x42025', undefined],
        ['and 5 entries more', '', undefined],
        ['grant 8 of d1 to d2', 'read only · mapped by d2', undefined],
      ],
    );
  });
});

describe('a filter', () => {
  it('wants every word, in any order and case', () => {
    const row = { id: '', kind: '', label: 'port 3', description: 'VIRQ_TIMER · vCPU 0', expandable: false };
    assert.ok(matches(row, 'timer port'));
    assert.ok(!matches(row, 'timer 7'));
  });
});
