import { HELPER_NAMES } from './helpers/index';
import { FORMS } from './instructions/index';
import { STATE_FIELDS } from './state';

/**
 * Names the interpreter that a set of declarations makes, so that a stale file is noticed. The text covers
 * the forms, the helpers and the state layout; semantics themselves cannot be seen from here, which is why the
 * build names its cached file by the sources' contents as well.
 */
export function interpreterKey(): string {
  const text = [
    ...FORMS.map((f) => `${f.number} ${f.mnemonic} ${f.encoding.text} ${f.w} ${f.mem} ${f.aw ?? ''} ${f.rep ?? ''}`),
    ...HELPER_NAMES,
    ...STATE_FIELDS.map((f) => `${f.name} ${f.offset}`),
  ].join('\n');
  // FNV-1a, SDM-free and stable: this guards against mistakes, not attacks.
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, '0');
}

/** Name of the custom section that carries the key. */
export const KEY_SECTION = 'hyperstep.forms';
