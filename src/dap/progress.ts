import type { Context } from './context';
import { event } from './context';
import { progressIdOf, type ProgressKind } from '../base/progress-id';

/** Says how far something is, to clients that can show it. */
export interface Progress {
  step(message: string, percentage?: number): void;
  end(): void;
}

export function startProgress(
  context: Context,
  kind: ProgressKind,
  title: string,
  requestId: number,
): Progress {
  if (!context.client.progress) return { step: () => undefined, end: () => undefined };
  const progressId = progressIdOf(kind, requestId);
  context.send(event('progressStart', { progressId, title, requestId, cancellable: true }));
  return {
    step: (message, percentage) =>
      context.send(
        event('progressUpdate', { progressId, message, ...(percentage === undefined ? {} : { percentage }) }),
      ),
    end: () => context.send(event('progressEnd', { progressId })),
  };
}
