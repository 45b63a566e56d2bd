/** Descriptor tables (xen/arch/x86/pv/descriptor-tables.c). */
import { hex } from '../../abi/decoded';
import { arrayOf, hex64, maddr, mfnType, u32 } from '../../abi/layout';
import { checkDescriptor, FIRST_RESERVED_GDT_ENTRY } from '../descriptors';
import { FRAME_TYPE } from '../frames';
import { Refusal, fail, hypercall } from '../hypercall';
import { setGdt } from '../ldt';

const ENTRIES_PER_PAGE = 512;

export const set_gdt = hypercall({
  name: 'set_gdt',
  nr: 2,
  doc: 'xen.h HYPERVISOR_set_gdt',
  args: { frame_list: arrayOf(mfnType, 'frames'), entries: u32 },
  captures: ({ frame_list, entries }) => [
    { address: frame_list, length: 8 * Math.min(14, Math.ceil(entries / ENTRIES_PER_PAGE)) },
  ],
  run({ core, vcpu, guest }, { frame_list, entries }) {
    if (entries > FIRST_RESERVED_GDT_ENTRY) {
      return fail('EINVAL', `${entries} descriptors: those from ${FIRST_RESERVED_GDT_ENTRY} on are Xen's`);
    }
    const pages = Math.ceil(entries / ENTRIES_PER_PAGE);
    const list = guest.copyIn(frame_list, pages * 8, 'frame list');
    const view = new DataView(list.buffer);
    const frames = Array.from({ length: pages }, (_, i) => Number(view.getBigUint64(i * 8, true)));
    setGdt(core, vcpu, frames, entries);
    return 0;
  },
});

export const update_descriptor = hypercall({
  name: 'update_descriptor',
  nr: 10,
  doc: 'xen.h HYPERVISOR_update_descriptor',
  args: { maddr, desc: hex64 },
  run({ core, domain }, { maddr: at, desc }) {
    if ((at & 7n) !== 0n) return fail('EINVAL', `${hex(at)} is not aligned to a descriptor`);
    const checked = checkDescriptor(desc);
    if (!checked.ok) return fail('EINVAL', checked.reason);
    const mfn = Number(at >> 12n);
    const { types, frames } = core;
    const found = types.getPage(mfn, domain.id);
    if (found !== undefined) throw found;
    // A descriptor page stays one; anything else is written as the ordinary page it must be.
    const isTable = frames.type[mfn] === FRAME_TYPE.segdesc && (frames.typeCount[mfn] ?? 0) > 0;
    const problem = types.getType(mfn, isTable ? FRAME_TYPE.segdesc : FRAME_TYPE.writable);
    if (problem === undefined) {
      core.memory.write64(mfn, Number((at >> 3n) & 511n), checked.descriptor);
      types.putType(mfn);
    }
    types.putPage(mfn);
    if (problem !== undefined) throw new Refusal('EINVAL', problem.reason);
    return 0;
  },
});
