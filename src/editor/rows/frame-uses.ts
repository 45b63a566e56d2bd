import type { HyperstepRequests } from '../../dap/protocol';
import { hex, parts } from './row';

type Uses = HyperstepRequests['hyperstep/frameUses']['body'];

/** One of those who hold a frame; with an address, one may go there. */
export interface Use {
  readonly icon: string;
  readonly label: string;
  readonly description: string;
  readonly address?: string;
}

/** Type, counts and owner of a frame, in a line. */
export function frameSummary({ frame }: Uses): string {
  const { mfn, owner, type, typeCount, count, pinned, pfn } = frame;
  return parts(
    `mfn ${hex(mfn)}`,
    pfn === undefined ? '' : `pfn ${hex(pfn)}`,
    `of ${owner}`,
    `${type} ×${typeCount}${pinned ? ', pinned' : ''}`,
    count === 1 ? '1 reference' : `${count} references`,
  );
}

/** Who maps a frame: base tables, entries by level, grants. */
export function frameUses({ entries, more, roots, grants }: Uses): Use[] {
  return [
    ...roots.map(({ domain, vcpu, as }) => ({
      icon: 'vm-running',
      label: `${as} of d${domain}v${vcpu}`,
      description: 'in CR3 while it runs so',
    })),
    ...entries.map(({ level, table, index, entry, flags, owner, virtual }) => {
      const [first, ...others] = virtual;
      return {
        icon: flags.includes('RW') ? 'edit' : 'lock',
        label:
          first === undefined
            ? `L${level} entry ${index}, in no address space`
            : `${first} by an L${level} entry`,
        description: parts(
          flags.join(' '),
          `entry ${index} of mfn ${hex(table)} (${owner})`,
          entry,
          others.length === 0 ? '' : `and at ${others.join(', ')}`,
        ),
        ...(first === undefined ? {} : { address: first }),
      };
    }),
    ...(more === 0 ? [] : [{ icon: 'ellipsis', label: `and ${more} entries more`, description: '' }]),
    ...grants.map(({ domain, ref, to, writable, mappedBy }) => ({
      icon: 'key',
      label: `grant ${ref} of d${domain} to d${to}`,
      description: parts(
        writable ? 'read and write' : 'read only',
        mappedBy.length === 0
          ? 'not mapped'
          : `mapped by ${mappedBy.map((one) => `d${one.domain}`).join(', ')}`,
      ),
    })),
  ];
}
