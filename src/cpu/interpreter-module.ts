import { HELPER_NAMES } from './helpers/index';
import { FORMS } from './instructions/index';
import { LINK, LINK_SIZE, RECORD, RECORD_SIZE, REST_SHIFT } from './record';
import { STATE_FIELDS } from './state';
import { ABI } from './wasm/abi';

/**
 * Names the interpreter that these declarations make: the module exports `run` under this name too, so that a
 * stale file is noticed. The key covers forms, helpers and layouts; semantics cannot be seen from here,
 * which is why the build also goes by the sources' contents.
 */
export function interpreterKey(): string {
  const text = [
    ...FORMS.map(
      (f) => `${f.number} ${f.mnemonic} ${f.encoding.text} ${f.w} ${f.mem} ${f.aw ?? ''} ${f.rep ?? ''}`,
    ),
    ...HELPER_NAMES,
    ...STATE_FIELDS.map((f) => `${f.name} ${f.offset}`),
    JSON.stringify([ABI, RECORD, LINK, LINK_SIZE, RECORD_SIZE, REST_SHIFT]),
  ].join('\n');
  // FNV-1a: this guards against mistakes, not attacks.
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return `run_${(hash >>> 0).toString(16).padStart(8, '0')}`;
}

/** Where in the table the function stands that sees to exits: behind the handlers and the end of a block. */
export const crossingIndex = (forms: number): number => forms + 1;
