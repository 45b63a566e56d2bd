import { HELPER_NAMES } from './helpers/index';
import type { Form } from './encoding';
import { FORMS } from './instructions/index';
import { LINK, LINK_SIZE, RECORD, RECORD_SIZE, REST_SHIFT } from './record';
import { STATE_FIELDS } from './state';
import { ABI } from './wasm/abi';
import { hotForms } from './wasm/hot-forms';

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
    ...hotForms(FORMS).map((f) => f.number),
    ...STATE_FIELDS.map((f) => `${f.name} ${f.offset}`),
    JSON.stringify([ABI, RECORD, LINK, LINK_SIZE, RECORD_SIZE, REST_SHIFT]),
  ].join('\n');
  // FNV-1a: this guards against mistakes, not attacks.
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return `run_${(hash >>> 0).toString(16).padStart(8, '0')}`;
}

/**
 * Numbers in the table and in records: the frequent forms have the lowest (wasm/steps.ts), all forms follow, then the
 * end of a block, then the function that sees to exits.
 */
export interface Handlers {
  readonly hot: readonly Form[];
  /** By form number. */
  readonly of: Uint16Array;
  readonly endOfBlock: number;
  readonly crossing: number;
}

export function handlersOf(forms: readonly Form[]): Handlers {
  const hot = hotForms(forms);
  const of = Uint16Array.from(forms, (f) => hot.length + f.number);
  hot.forEach((f, i) => (of[f.number] = i));
  const all = hot.length + forms.length;
  return { hot, of, endOfBlock: all, crossing: all + 1 };
}
