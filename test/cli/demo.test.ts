/** `npm start` without its building: the demonstration on the bundled sample, through the adapter and its worker. */
import assert from 'node:assert/strict';
import { hyperstep, type Finished } from './support';

describe('hyperstep demo', function () {
  this.timeout(60_000);
  let run: Finished;
  before(async () => {
    run = await hyperstep('demo');
  });

  it('ends well', () => {
    assert.equal(run.status, 0, run.stderr);
    assert.doesNotMatch(run.stdout + run.stderr, /\n\s+at |undefined|\[object/);
  });

  for (const [what, shown] of [
    ['stops at the hypercall', /stopped: Hypercall mmu_update\.normal_pt_update/],
    [
      'shows the stack, the boundary on top',
      /#0 0x[0-9a-f]+ +hypercall mmu_update.*\n(.*\n)* +#\d 0x[0-9a-f]+ +guest_main\+0x[0-9a-f]+ +main\.c:\d+/,
    ],
    [
      'shows decoded arguments',
      /── arguments ─+\n +ureqs = 0x[0-9a-f]+\n +ptr = MMU_NORMAL_PT_UPDATE 0x[0-9a-f]+\n +val = 0x[0-9a-f]+ \(mfn 0x[0-9a-f]+ P RW A\)\n +count = 1\n/,
    ],
    [
      'walks page tables',
      /walk of 0x[0-9a-f]+\n( +L4.*\n +L3.*\n +L2.*\n +L1.*\n) +machine address 0x[0-9a-f]+/,
    ],
    [
      'steps into the hypervisor',
      /statement by statement ─+\n {2}mmu\.ts:\d+ {2}mmu_update\.run \(hypervisor\)\n {2}mmu\.ts:\d+ {2}mmu_update\.run/,
    ],
    [
      'steps',
      /instruction by instruction ─+\n +0x[0-9a-f]+ +pop r11.*\n +0x[0-9a-f]+ +pop rcx.*\n +0x[0-9a-f]+ +ret/,
    ],
    [
      'shows what the guest prints',
      / {2}guest │ console: PV console ring open(.*\n)* {2}guest │ first-hypercall: done\r?\n/,
    ],
    [
      'sums up the trace',
      /\d+ hypercalls of \d+ kinds\n.*mean and median\n +calls +refused +mean +median +hypercall\n/,
    ],
    [
      'gives the reasons of refusals',
      /update_va_mapping\(va=0xffffffff8[0-9a-f]+, val=0x[0-9a-f]+ .*\) = -16 EBUSY \(.*writable, but it is in use as L1\)/,
    ],
    ['says how to do it in VS Code', /npm run package && code --install-extension .*\n.*press F5/],
  ] as const) {
    it(what, () => {
      assert.match(run.stdout, shown);
    });
  }
});
