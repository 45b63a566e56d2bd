import type { Target, TraceRecord } from '../machine/target';
import type { Output } from './output';

/** One record as a line of JSON; 64-bit numbers as hexadecimal text, since JSON has no exact ones. */
export const ndjson = (record: TraceRecord): string =>
  JSON.stringify(record, (_key, value: unknown) =>
    typeof value === 'bigint' ? `0x${value.toString(16)}` : value,
  );

/** Records read from the machine at a time. */
const BATCH = 4096;

/** Prints what came since the last call; says so when the ring has lost some. */
export function drainTrace(
  target: Target,
  format: (record: TraceRecord) => string,
  out: Output,
): () => Promise<void> {
  let seen = 0;
  return async () => {
    for (;;) {
      const { first, next, records } = await target.trace(seen, BATCH);
      if (first > seen)
        process.stderr.write(
          `hyperstep: ${(first - seen).toString()} records were overwritten before they were printed\n`,
        );
      seen = next;
      if (records.length === 0) return;
      await out.write(records.map((r) => `${format(r)}\n`).join(''));
    }
  };
}
