import type { Expression } from '../../machine/expressions';
import { isNumbered } from '../c/compile';
import { namesIn, isKnownAt } from '../expressions';
import type { DomainSymbols } from '../symbols';
import type { StopPointSpec } from './types';

/**
 * Names of a guest breakpoint's condition that mean nothing at any of its places, as far as local variables, the
 * places' own files, registers and symbols tell. Other files are not searched for them: in one of those an enumeration
 * may have such a name.
 */
export function unknownAt(
  condition: Expression,
  points: readonly StopPointSpec[],
  symbols: DomainSymbols,
): readonly string[] {
  // At the boundary names are those of the call or the event, which differ from one to the next.
  const code = points.flatMap((point) => (point.kind === 'instruction' ? [point] : []));
  if (code.length === 0 || code.length < points.length) return [];
  const known = (name: string): boolean =>
    isNumbered(name) ||
    code.some(({ address, domain }) =>
      symbols.codes.some(
        (image) =>
          (domain === undefined || image.domains.includes(domain)) && isKnownAt(name, address, image.symbols),
      ),
    );
  return [...new Set(namesIn(condition).map(({ name }) => name))].filter((name) => !known(name));
}
