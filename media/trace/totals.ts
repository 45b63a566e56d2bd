import type { Answer } from '../../src/dap/protocol';
import { byId, duration, element, grouped } from './dom';

// How often what was called and what came of it, and how the costs are spread.

const MOST = 200;

/** A bar that is read as a number. */
const meter = (value: number, most: number): HTMLElement =>
  element('meter', { min: '0', max: String(most), value: String(value), 'aria-hidden': 'true' });

export function showTotals({ calls, costs }: Answer<'totals'>, choose: (name: string) => void): void {
  const head = element('tr', {});
  for (const name of [
    'Hypercall',
    'Calls',
    '',
    'Refused',
    'Instructions after it',
    'Mean',
    'Virtual time after it',
  ])
    head.append(element('th', { scope: 'col' }, name));
  const most = Math.max(1, ...calls.map(({ count }) => count));
  const rows = calls.slice(0, MOST).map(({ name, count, refused, instructions, time }) => {
    const link = element('button', { type: 'button', class: 'link', title: `Show only ${name}` }, name);
    link.addEventListener('click', () => choose(name));
    return element(
      'tr',
      {},
      element('td', {}, link),
      element('td', { class: 'number' }, grouped(count)),
      element('td', {}, meter(count, most)),
      element(
        'td',
        { class: refused > 0 ? 'number refused' : 'number' },
        refused === 0 ? '' : grouped(refused),
      ),
      element('td', { class: 'number' }, grouped(instructions)),
      element('td', { class: 'number' }, grouped(Math.round(instructions / count))),
      element('td', { class: 'number' }, duration(time)),
    );
  });
  const highest = Math.max(1, ...costs);
  const classes = costs.map((count, i) =>
    element(
      'tr',
      {},
      element(
        'th',
        { scope: 'row', class: 'number' },
        i === 0 ? 'up to 1' : `${grouped(2 ** i)} to ${grouped(2 ** (i + 1) - 1)}`,
      ),
      element('td', { class: 'number' }, grouped(count)),
      element('td', {}, meter(count, highest)),
    ),
  );
  byId('totals', HTMLElement).replaceChildren(
    element('h2', {}, 'By hypercall'),
    element('table', {}, element('thead', {}, head), element('tbody', {}, ...rows)),
    element('h2', {}, "Cost: instructions until the vCPU's next call"),
    element('table', { class: 'histogram' }, element('tbody', {}, ...classes)),
  );
}
