import type { SaveReport } from '../machine/target';
import type { Context } from './context';
import { output } from './context';
import type { Reply } from './handler';
import type { Machine } from './machine';
import { startProgress } from './progress';

const MIB = 2 ** 20;

/** Saves the machine between two stretches of its run; a machine that runs goes on afterwards. */
export async function saveToFile(
  context: Context,
  { control, target }: Machine,
  { file, trace }: { readonly file: string; readonly trace?: boolean },
  reply: Reply,
): Promise<SaveReport> {
  const progress = startProgress(context, 'save', 'Saving the machine', reply.seq);
  try {
    return await control.still(async () => {
      reply.check();
      reply.onCancel(() => {
        target.cancelSave();
      });
      const off = target.onSaving((done) => progress.step('writing memory', Math.round(done * 100)));
      try {
        const report = await target.save(file, trace === undefined ? {} : { trace });
        output(context, 'console', `saved to ${file}: ${(report.bytes / MIB).toFixed(1)} MiB`);
        return report;
      } catch (error) {
        reply.check();
        throw error;
      } finally {
        off();
      }
    });
  } finally {
    progress.end();
  }
}
