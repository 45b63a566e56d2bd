import type { HyperstepRequests } from '../../dap/protocol';
import type { Changes } from './changes';
import type { Row } from './row';

export type Decoded = HyperstepRequests['hyperstep/vcpu']['body']['state'][number];

/** A decoded structure or one of its members. */
export interface DecodedRow extends Row {
  readonly value: Decoded;
}

/** Where a decoded address is: the vCPU and domain whose memory it means. */
export interface Place {
  readonly domain: number;
  readonly vcpu: number;
}

const referenceOf = ({ memory }: Decoded, { domain, vcpu }: Place): string | undefined => {
  if (memory === undefined) return undefined;
  if (memory.space === 'machine') return `machine:${memory.address}`;
  return memory.space === 'virtual'
    ? `virtual:d${domain}v${vcpu}:${memory.address}`
    : `pseudophysical:d${domain}:${memory.address}`;
};

/** Rows of decoded values, which tell what changed since the stop before. */
export function decodedRows(
  values: readonly Decoded[],
  above: string,
  place: Place,
  changes: Changes,
): readonly DecodedRow[] {
  // Two members of one name are two rows.
  const ids = values.map(({ name }, index) =>
    values.findIndex((other) => other.name === name) === index ? name : `${name}#${index}`,
  );
  const texts = new Map(values.map((value, index) => [ids[index] ?? '', textOf(value)]));
  const changed = changes.note(above, texts);
  return values.map((value, index): DecodedRow => {
    const id = ids[index] ?? '';
    const { name, text, type, children = [] } = value;
    const memory = referenceOf(value, place);
    const isChanged = changed.has(id);
    return {
      id: `${above}/${id}`,
      value,
      kind: 'value',
      label: name,
      description: text,
      tooltip: `\`${type}\``,
      accessible: `${name}${text === '' ? '' : `, ${text}`}${isChanged ? ', changed' : ''}`,
      expandable: children.length > 0,
      changed: isChanged,
      ...(text === '' ? {} : { copy: text }),
      ...(memory === undefined ? {} : { memory }),
      ...(value.memory?.space === 'virtual' ? { address: value.memory.address, watch: memory ?? '' } : {}),
      ...(type === 'mfn' && value.value !== undefined ? { mfn: Number(value.value) } : {}),
    };
  });
}

/** What a value shows, with all that is below it: a group changes with its members. */
const textOf = ({ text, children = [] }: Decoded): string => [text, ...children.map(textOf)].join('\n');
