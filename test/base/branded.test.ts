import assert from 'node:assert/strict';
import {
  domainId,
  frameToMachine,
  guestVa,
  isCanonical,
  machineToFrame,
  mfn,
  vcpuId,
} from '../../src/base/branded';

describe('base/branded', () => {
  it('refuses what is not a frame number, naming it', () => {
    assert.equal(mfn(0), 0);
    assert.equal(mfn(2 ** 40 - 1), 2 ** 40 - 1);
    for (const wrong of [-1, 1.5, NaN, 2 ** 40, Infinity]) {
      assert.throws(() => mfn(wrong), new RegExp(`^RangeError: mfn ${wrong} is not an integer`));
    }
  });

  it('admits the reserved domain numbers', () => {
    assert.equal(domainId(0x7ff0), 0x7ff0);
    assert.throws(() => domainId(0x1_0000), /domid 65536/);
    assert.throws(() => vcpuId(-1), /vcpu -1/);
  });

  it('wraps guest addresses at 2^64 and tells canonical ones', () => {
    assert.equal(guestVa(-1n), 0xffff_ffff_ffff_ffffn);
    assert.equal(guestVa(0xffff_ffff_ffff_fff8n + 0x10n), 8n);
    const canonical: [bigint, boolean][] = [
      [0n, true],
      [0x7fff_ffff_ffffn, true],
      [0x8000_0000_0000n, false],
      [0xffff_7fff_ffff_ffffn, false],
      [0xffff_8000_0000_0000n, true],
      [0xffff_ffff_ffff_ffffn, true],
    ];
    for (const [va, expected] of canonical) assert.equal(isCanonical(guestVa(va)), expected, va.toString(16));
  });

  it('converts frames above 2^31 to addresses and back without loss', () => {
    const frame = mfn(0xff_ffff_ffff);
    assert.equal(frameToMachine(frame), 0xf_ffff_ffff_f000);
    assert.equal(machineToFrame(frameToMachine(frame)), frame);
  });
});
