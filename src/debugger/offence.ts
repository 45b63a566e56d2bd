import { bytesToNumber } from '../base/bytes';
import { formatWalk } from '../machine/format';
import type { DecodedValue, FrameInfo, HypercallView, Target, VcpuRef } from '../machine/target';

// What was refused, or could not be done, as the page tables and the frame table have it.

/** Elements of a batch that are looked into. */
const ELEMENTS = 4;

const valueIn = (values: readonly DecodedValue[] | undefined, name: string): bigint | undefined =>
  values?.find((one) => one.name === name)?.value;

const frameText = ({ mfn, owner, type, typeCount, count, pinned }: FrameInfo): string =>
  `mfn 0x${mfn.toString(16)}: ${owner}, ${type} ×${typeCount}, ${count} references${pinned ? ', pinned' : ''}`;

async function frameOf(target: Target, what: string, address: bigint): Promise<string[]> {
  const mfn = Number((address >> 12n) & 0xff_ffff_ffffn);
  const info = await target.frame(mfn).catch(() => undefined);
  return info === undefined
    ? [`${what}: mfn 0x${mfn.toString(16)} is no memory`]
    : [`${what}: ${frameText(info)}`];
}

/** Page-table entries that a call is about: as they stand now, and the frames that they were to name. */
const entries: Readonly<
  Record<string, (target: Target, vcpu: VcpuRef, args: readonly DecodedValue[]) => Promise<string[]>>
> = {
  mmu_update: async (target, _vcpu, args) => {
    const requests = args.find(({ name }) => name === 'ureqs')?.children ?? [];
    const elements = requests.some(({ name }) => name === 'ptr')
      ? [{ name: '', children: requests }]
      : requests;
    const texts = elements.slice(0, ELEMENTS).map(async ({ name, children }) => {
      const ptr = valueIn(children, 'ptr');
      const val = valueIn(children, 'val');
      if (ptr === undefined || val === undefined) return [];
      const old = await target.readMemory({ kind: 'machine' }, ptr & ~7n, 8);
      const now = bytesToNumber(old);
      return [
        `entry ${name} at 0x${(ptr & ~7n).toString(16)} is 0x${now.toString(16)}, was to be 0x${val.toString(16)}`,
        ...(await frameOf(target, '  in the table', ptr)),
        ...(await frameOf(target, '  naming', val)),
      ];
    });
    return (await Promise.all(texts)).flat();
  },
  update_va_mapping: async (target, vcpu, args) => {
    const va = valueIn(args, 'va');
    const val = valueIn(args, 'val') ?? valueIn(args, 'new_val');
    return [
      ...(va === undefined ? [] : [formatWalk(await target.walk(vcpu, va))]),
      ...(val === undefined ? [] : await frameOf(target, `to be 0x${val.toString(16)}, naming`, val)),
    ];
  },
};

/** What page tables and the frame table say about what was refused, or about the address of a fault. */
export async function tablesOf(
  target: Target,
  vcpu: VcpuRef,
  call: HypercallView | undefined,
  text: string,
): Promise<string[]> {
  if (call !== undefined) return (await entries[call.name]?.(target, vcpu, call.args)) ?? [];
  const address = /#PF.* at (0x[0-9a-f]+)/.exec(text)?.[1];
  return address === undefined ? [] : [formatWalk(await target.walk(vcpu, BigInt(address)))];
}
