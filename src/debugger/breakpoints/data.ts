import type { DataHit } from '../../machine/target';
import { hex } from '../locations';
import { bytesToNumber } from '../registers';
import type { Breakpoint } from './types';

// What is said of a data breakpoint that was hit.

/** As a number where it is one, else byte by byte. */
function shown(value: DataHit['old']): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string') return value;
  return value.length <= 8
    ? hex(bytesToNumber(value))
    : [...value].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

const actors: Readonly<Record<DataHit['by'], string>> = {
  guest: '',
  hypervisor: ' by the hypervisor',
  mapping: ' because another page is mapped there',
};

/** `counter: 0x1 → 0x2`, with who did it where that was not the guest's own instruction. */
export function dataText(
  { access, by, call, offset, old, now }: DataHit,
  one: Breakpoint | undefined,
): string {
  const label = one !== undefined && 'label' in one.spec ? one.spec.label : 'data';
  const at = offset === 0 ? '' : ` + ${hex(offset)}`;
  if (access === 'read') return `${label}${at}: ${shown(now)} was read`;
  const served = call === undefined ? '' : ` (${call})`;
  return `${label}${at}: ${shown(old)} → ${shown(now)}${actors[by]}${served}`;
}
