import assert from 'node:assert/strict';
import type { Answer } from '../../../src/machine/records/questions';
import { noteSegment, pvKernel, pvNotes, VIRT_BASE, xenNote } from '../../support/elf-builder';
import { domain, runTo, SAMPLE, watch } from '../../support/machines';

const ENTRY = VIRT_BASE + 0x100000n;
const STUB = 0x40;
const XEN_VERSION = 17;
/** After the call in the code below. */
const RETURN = 12;

/** `xor edi, edi; again: mov eax, 17; call stub; jmp again` */
function kernel(stub: readonly number[]): Uint8Array {
  const data = new Uint8Array(4096);
  data.set([0x31, 0xff, 0xb8, XEN_VERSION, 0, 0, 0, 0xe8, STUB - RETURN, 0, 0, 0, 0xeb, 0xf4]);
  data.set(stub, STUB);
  return pvKernel({
    entry: ENTRY,
    segments: [{ vaddr: ENTRY, paddr: 0x100000n, data }, noteSegment(pvNotes(xenNote(3, VIRT_BASE)))],
  });
}

async function callers(stub: readonly number[]): Promise<(string | undefined)[]> {
  const { target } = await watch(domain(SAMPLE, { kernel: { name: 'calls.elf', bytes: kernel(stub) } }));
  await target.traceQuestion({ kind: 'info' });
  await runTo(target, 50n);
  const { rows } = (await target.traceQuestion({
    kind: 'rows',
    filter: '',
    start: 0,
    count: 3,
  })) as Answer<'rows'>;
  await target.dispose();
  assert.equal(rows.length, 3);
  assert.ok(rows.every(({ name }) => name === 'xen_version.version'));
  return rows.map(({ caller }) => caller);
}

describe('call sites of records', () => {
  const around = `0x${(ENTRY + BigInt(RETURN)).toString(16)}`;
  const SYSCALL = [0x0f, 0x05];
  const RET = [0xc3];

  it('are who called a stub of the kernel’s own that calls as the hypercall page does', async () => {
    const stub = [0x51, 0x41, 0x53, ...SYSCALL, 0x41, 0x5b, 0x59];
    assert.deepEqual(await callers([...stub, ...RET]), [around, around, around]);
    // Linux jumps to its return thunk.
    assert.deepEqual(await callers([...stub, 0xe9, 0, 0, 0, 0, ...RET]), [around, around, around]);
  });

  it('are not made up for other code', async () => {
    const none = [undefined, undefined, undefined];
    assert.deepEqual(await callers([...SYSCALL, ...RET]), none);
    assert.deepEqual(
      await callers([0x51, 0x41, 0x53, ...SYSCALL, 0x59, 0x59, ...RET]),
      none,
      'what follows is something else',
    );
  });
});
