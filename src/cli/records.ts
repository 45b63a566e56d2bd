import { formatRecord } from '../machine/format';
import type { TraceAccess } from '../machine/records/questions';
import type { Target } from '../machine/target';
import type { Output } from './output';

// `hyperstep trace`: prints what came since the last call, and says so when some was lost in between.

/** Records read from the machine at a time. */
const BATCH = 4096;

const sayLost = (lost: number): void => {
  if (lost > 0)
    process.stderr.write(`hyperstep: ${lost.toString()} records were overwritten before they were printed\n`);
};

/** As text, a record a line. */
export function drainText(target: Target, out: Output): () => Promise<void> {
  let seen = 0;
  return async () => {
    for (;;) {
      const { first, next, records } = await target.trace(seen, BATCH);
      sayLost(first - seen);
      seen = next;
      if (records.length === 0) return;
      await out.write(records.map((r) => `${formatRecord(r)}\n`).join(''));
    }
  };
}

/** As NDJSON with call sites: what an export of the same trace has. */
export function drainNdjson(trace: TraceAccess, out: Output): () => Promise<void> {
  let seen = 0;
  let head = true;
  return async () => {
    for (;;) {
      const { first, next } = await trace.ask('info', {});
      sayLost(first - seen);
      seen = Math.max(seen, first);
      if (seen === next && !head) return;
      const part = await trace.ask('export', { filter: '', format: 'ndjson', from: seen, to: next, head });
      // What parts a batch from the next is written after it: whether there will be one is not known yet.
      const lines = part.text.replace(/^\n|\n$/g, '');
      if (lines !== '') await out.write(`${lines}\n`);
      head = false;
      seen = part.next;
      if (part.done) return;
    }
  };
}
