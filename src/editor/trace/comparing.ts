import * as vscode from 'vscode';
import type { Comparison, Likeness, TraceAccess } from '../../dap/protocol';
import { compareStreams, readStreams } from '../../machine/records/compare';
import type { OpenTrace } from './access';

class Cancelled extends Error {}

/** Reads both traces, which can be given up; null when it was. */
export async function compareTraces(
  left: TraceAccess,
  loaded: Promise<void> | undefined,
  right: OpenTrace,
  likeness: Likeness,
): Promise<Comparison | null> {
  return vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: 'Comparing two traces', cancellable: true },
    async (progress, token) => {
      let done = 0;
      const step = (share: number) => (now: number) => {
        if (token.isCancellationRequested) throw new Cancelled();
        const percent = 50 * (share + now);
        if (percent - done < 1) return;
        progress.report({ increment: percent - done });
        done = percent;
      };
      try {
        await Promise.all([loaded, right.loaded]);
        const streams = [
          await readStreams(left, likeness, step(0)),
          await readStreams(right.access, likeness, step(1)),
        ] as const;
        return compareStreams(...streams, likeness);
      } catch (error) {
        if (error instanceof Cancelled) return null;
        throw error;
      }
    },
  );
}
