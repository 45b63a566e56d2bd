import type { HyperstepRequests } from '../../dap/protocol';
import { hex } from './row';

type Range = HyperstepRequests['hyperstep/mappings']['body']['ranges'][number];

const PAGE = 0x1000n;
const address = (value: bigint): string => `0x${value.toString(16).padStart(16, '0')}`;
const size = (pages: number): string => (pages % 256 === 0 ? `${pages / 256} MiB` : `${pages * 4} KiB`);

/**
 * An address space as text, a line a range: what one holds beside another is then what an editor shows as the
 * difference of two texts.
 */
export function mappingText(ranges: readonly Range[]): string {
  const lines = ranges.map(({ virtual, pages, flags, mfn, pfn, owner }) => {
    const first = BigInt(virtual);
    const last = BigInt.asUintN(64, first + BigInt(pages) * PAGE - 1n);
    const frames =
      pfn === undefined ? '' : pages === 1 ? `pfn ${hex(pfn)}` : `pfn ${hex(pfn)} to ${hex(pfn + pages - 1)}`;
    return [
      `${address(first)} ${address(last)}`,
      size(pages).padStart(9),
      flags.join(' ').padEnd(16),
      owner.padEnd(4),
      [frames, `from mfn ${hex(mfn)}`].filter((text) => text !== '').join(', '),
    ].join('  ');
  });
  return [
    '# first            last               size       flags             of    frames',
    ...lines,
    '',
  ].join('\n');
}
