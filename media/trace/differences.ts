import type { Comparison, Difference, RecordRow } from '../../src/dap/protocol';
import { byId, element, grouped } from './dom';
import { ask } from './host';

// Where two traces part: a list of stretches, each with the records of both sides.

const SHOWN = 200;

const told = (row: RecordRow): string =>
  `${row.name}(${row.text}) = ${row.result ?? ''} ${row.errno ?? ''}`.trimEnd();

/** What a difference is, in a word. */
function kindOf({ left, right }: Difference): string {
  if (left.count === 0) return 'only there';
  if (right.count === 0) return 'only here';
  return 'different';
}

export async function showDifferences(
  { differences, equal, records, cut, likeness }: Comparison,
  goTo: (at: number) => void,
): Promise<void> {
  const listed = differences.slice(0, SHOWN);
  const positions = (side: 'left' | 'right'): number[] =>
    listed.flatMap((one) => one[side].positions.slice(0, 3));
  const rowsOf = async (side: 'left' | 'right'): Promise<ReadonlyMap<number, RecordRow>> => {
    const { rows } = await ask('at', { positions: positions(side) }, side);
    return new Map(rows.map((row) => [row.at, row]));
  };
  const [left, right] = [await rowsOf('left'), await rowsOf('right')];

  const summary =
    differences.length === 0
      ? `No difference: all ${grouped(equal)} pairs of records are alike (${likeness}).`
      : `${grouped(differences.length)}${cut ? ' or more' : ''} ${differences.length === 1 ? 'difference' : 'differences'} (${likeness}); ${grouped(equal)} pairs of records are alike, of ${grouped(records[0])} here and ${grouped(records[1])} there. The first is where they diverge.`;

  const side = (one: Difference, of: 'left' | 'right'): HTMLElement => {
    const rows = of === 'left' ? left : right;
    const cell = element('td', {});
    for (const at of one[of].positions.slice(0, 3)) {
      const row = rows.get(at);
      if (row === undefined) continue;
      const text = `${grouped(row.seq)}  ${told(row)}`;
      if (of === 'right') cell.append(element('div', { title: text }, text));
      else {
        const link = element('button', { type: 'button', class: 'link', title: text }, text);
        link.addEventListener('click', () => goTo(at));
        cell.append(link);
      }
    }
    const more = one[of].count - Math.min(3, one[of].positions.length);
    if (more > 0) cell.append(element('div', { class: 'more' }, `and ${grouped(more)} more`));
    return cell;
  };
  const head = element('tr', {});
  for (const name of ['vCPU', '', 'Here', 'There']) head.append(element('th', { scope: 'col' }, name));
  const rows = listed.map((one) =>
    element(
      'tr',
      { class: kindOf(one).replace(' ', '-') },
      element('td', {}, `d${one.vcpu.domain}v${one.vcpu.vcpu}`),
      element('td', {}, kindOf(one)),
      side(one, 'left'),
      side(one, 'right'),
    ),
  );
  const more = differences.length > SHOWN ? [element('p', {}, `The first ${SHOWN} are listed.`)] : [];
  byId('compared', HTMLElement).replaceChildren(
    element('p', { role: 'status' }, summary),
    ...(differences.length === 0
      ? []
      : [element('table', {}, element('thead', {}, head), element('tbody', {}, ...rows))]),
    ...more,
  );
}
