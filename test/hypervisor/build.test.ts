import assert from 'node:assert/strict';
import { start_info, shared_info } from '../../src/abi/info';
import { PTE, pteFrame, MACH2PHYS_VIRT_START } from '../../src/abi/mmu';
import { ulong } from '../../src/abi/layout';
import { BuildError } from '../../src/hypervisor/builder/input';
import { checkFrames } from '../../src/hypervisor/check';
import { FRAME_FLAG } from '../../src/hypervisor/frames';
import { walkTables } from '../../src/hypervisor/guest-memory';
import { VIRT_BASE, testMachine, tinyKernel } from './machine';

describe('domain builder', () => {
  it('tells the kernel what it was given', () => {
    const m = testMachine();
    const info = m.fetch(start_info, m.v.cpu.get('rsi'));
    assert.equal(info.magic, 'xen-3.0-x86_64');
    assert.equal(info.nr_pages, 1024n);
    assert.equal(info.shared_info, BigInt(m.domain.state.sharedInfo) << 12n);
    assert.equal(info.store_mfn, BigInt(m.domain.state.storeFrame));
    assert.equal(info.console.domU.mfn, BigInt(m.domain.state.consoleFrame));
    assert.deepEqual([info.store_evtchn, info.console.domU.evtchn], [1, 2]);
    assert.equal(info.pt_base & 0xfffn, 0n);
    assert.equal(m.frameOf(info.pt_base), m.v.state.kernelTable);
    assert.equal(info.nr_p2m_frames, 0n);
  });

  it('maps the region 1:1, tables read-only, with 512 KB to spare on a 4 MB boundary', () => {
    const m = testMachine({ memory: 16 * 2 ** 20 });
    const info = m.fetch(start_info, m.v.cpu.get('rsi'));
    const tables = Number(info.nr_pt_frames);
    for (let i = 0; i < tables; i++) {
      const at = info.pt_base + BigInt(i) * 4096n;
      const leaf = walkTables(m.core.memory, m.v.state.kernelTable, at)[3];
      assert.equal((leaf?.entry ?? PTE.RW) & PTE.RW, 0n, `table ${i} is mapped writable`);
    }
    const stack = m.v.cpu.get('rsp') - 1n;
    assert.ok(m.v.cpu.translate(stack, 'write', 3).ok);
    const last = stack + 512n * 1024n;
    assert.ok(m.v.cpu.translate(last, 'write', 3).ok, 'the padding is mapped');
    const end = VIRT_BASE + 4n * 2n ** 20n;
    assert.ok(m.v.cpu.translate(end - 1n, 'read', 3).ok);
    assert.ok(!m.v.cpu.translate(end, 'read', 3).ok, 'nothing beyond the region');
  });

  it('gives every frame a machine frame of another number, and both tables agree', () => {
    const m = testMachine();
    const info = m.fetch(start_info, m.v.cpu.get('rsi'));
    let same = 0;
    for (let pfn = 0; pfn < 1024; pfn += 37) {
      const mfn = m.fetch(ulong, info.mfn_list + BigInt(pfn * 8));
      assert.equal(m.fetch(ulong, MACH2PHYS_VIRT_START + mfn * 8n), BigInt(pfn));
      assert.equal(m.domain.state.p2m[pfn], Number(mfn));
      if (mfn === BigInt(pfn)) same++;
    }
    assert.ok(same <= 1);
  });

  it('leaves consistent frames, the base table pinned and vCPU 0 at the entry point', () => {
    const m = testMachine({ domains: 2 });
    assert.deepEqual(checkFrames(m.core), []);
    assert.ok(((m.core.frames.flags[m.v.state.kernelTable] ?? 0) & FRAME_FLAG.PINNED) !== 0);
    assert.equal(m.v.cpu.get('rip'), VIRT_BASE);
    assert.equal(m.v.cpu.get('cs'), 0xe033n);
    assert.equal(m.v.cpu.get('ss'), 0xe02bn);
    assert.equal(m.v.cpu.rflags, 0x202n);
    assert.equal(pteFrame(m.v.cpu.get('cr3')), m.v.state.kernelTable);
    const info = m.core.memory.view(m.domain.state.sharedInfo);
    assert.equal(info.getUint8(shared_info.offset.vcpu_info + 1), 1, 'events start masked');
  });

  it('shows the guest its M2P read-only and nothing else of Xen', () => {
    const m = testMachine();
    const as = (va: bigint, access: 'read' | 'write'): boolean => m.v.cpu.translate(va, access, 3).ok;
    assert.ok(as(MACH2PHYS_VIRT_START, 'read'));
    assert.ok(!as(MACH2PHYS_VIRT_START, 'write'));
    for (const va of [0xffff_8100_0000_0000n, 0xffff_8200_0000_0000n, 0xffff_8300_0000_0000n])
      assert.ok(!as(va, 'read'));
    assert.ok(m.v.cpu.translate(0xffff_8200_0000_e000n, 'read', 0).ok, 'the processor sees the GDT');
  });

  it('maps a ramdisk behind the kernel', () => {
    const m = testMachine({ memory: 16 * 2 ** 20, ramdisk: new Uint8Array(10_000).fill(0x55) });
    const info = m.fetch(start_info, m.v.cpu.get('rsi'));
    assert.equal(info.mod_start, VIRT_BASE + 16n * 4096n);
    assert.equal(info.mod_len, 10_000n);
    const byte = new Uint8Array(1);
    m.v.cpu.readLinear(info.mod_start + 9_999n, byte, 3);
    assert.equal(byte[0], 0x55);
  });

  it('gives ramdisk and P2M places of their own when the notes ask for it', () => {
    const kernel = { ...tinyKernel({ p2mBase: 0x80_0000_0000n }), notes: { mod_start_pfn: true } };
    const m = testMachine({ memory: 16 * 2 ** 20, kernel, ramdisk: new Uint8Array(5000).fill(0x66) });
    const info = m.fetch(start_info, m.v.cpu.get('rsi'));
    assert.equal(info.mfn_list, 0x80_0000_0000n);
    assert.equal(m.fetch(ulong, info.mfn_list), BigInt(m.domain.state.p2m[0] ?? -1));
    assert.equal(info.flags & 8, 8, 'mod_start is a frame number');
    const first = m.domain.state.p2m[Number(info.mod_start)] ?? 0;
    assert.equal(m.core.memory.bytes(first)[0], 0x66);
    // 32 KB of list, and an L3, an L2 and an L1 to map it.
    assert.equal(info.nr_p2m_frames, 8n + 3n);
    assert.deepEqual(checkFrames(m.core), []);
  });

  it('says what does not fit', () => {
    const m = testMachine({ domains: 0, memory: 2 ** 22 });
    const fails = (build: Parameters<typeof m.build>[0], pattern: RegExp): void =>
      assert.throws(
        () => m.build(build),
        (e) => e instanceof BuildError && pattern.test(e.message),
      );
    fails({ memory: 4096 }, /kernel 'tiny' does not fit: 16 frames/);
    fails({ memory: 0 }, /memory of 0 bytes/);
    fails({ memory: Number.NaN }, /memory of NaN bytes/);
    fails({ vcpus: 0 }, /0 vCPUs/);
    fails({ cmdline: 'x'.repeat(1024) }, /command line has 1024/);
    fails({ memory: 2 ** 30 }, /the domain wants 262144 frames/);
  });
});
