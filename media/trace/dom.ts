/** The element of that id; the page is ours, so it is there. */
export function byId<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${id}`);
  return found;
}

/** Text is always text: what a guest wrote cannot become markup. */
export function element(
  tag: string,
  attributes: Readonly<Record<string, string | undefined>>,
  ...children: readonly (Node | string)[]
): HTMLElement {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (value !== undefined) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const thousands = new Intl.NumberFormat('en');
export const grouped = (n: number): string => thousands.format(n);

const UNITS = ['ns', 'µs', 'ms', 's'];
/** Virtual time with three digits. */
export function duration(ns: number): string {
  let value = ns;
  let unit = 0;
  for (; value >= 999.5 && unit < UNITS.length - 1; unit++) value /= 1000;
  const digits = unit === 0 || value >= 99.5 ? 0 : value >= 9.95 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[unit] ?? ''}`;
}
/** A moment, with as many digits as tell it from its neighbours. */
export function moment(ns: number, step: number): string {
  const unit = ns >= 1e9 ? 3 : ns >= 1e6 ? 2 : ns >= 1e3 ? 1 : 0;
  const scale = 1000 ** unit;
  const digits = Math.max(0, Math.ceil(-Math.log10(Math.max(1, step) / scale)));
  return `${(ns / scale).toFixed(Math.min(9, digits))} ${UNITS[unit] ?? ''}`;
}
