import type { ExportFormat, TraceAccess } from './questions';

/**
 * What a filter finds, as text of a file, a batch at a time. `progress` is told how many records were looked at, then
 * how many are written, and answers with false to give up. Rejects for a filter that means nothing.
 * @returns how many records; undefined when it was given up
 */
export async function exportRecords(
  trace: TraceAccess,
  filter: string,
  format: ExportFormat,
  write: (text: string) => Promise<unknown>,
  progress: (step: 'looked at' | 'written', records: number) => boolean,
): Promise<number | undefined> {
  let scan = await trace.ask('scan', { filter });
  for (; scan.scanned < scan.next; scan = await trace.ask('scan', { filter }))
    if (!progress('looked at', scan.scanned - scan.first)) return undefined;
  if (scan.problem !== undefined)
    throw new Error(`the filter, at character ${scan.problem.at + 1}: ${scan.problem.message}`);
  const to = scan.next;
  let from = 0;
  let written = 0;
  for (let head = true; ; head = false) {
    const part = await trace.ask('export', { filter, format, from, to, head });
    await write(part.text);
    from = part.next;
    written += part.count;
    if (part.done) return written;
    if (!progress('written', written)) return undefined;
  }
}
