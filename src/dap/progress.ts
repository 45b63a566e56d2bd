import type { Context } from './context';
import { event } from './context';

/** Says how far something is, to clients that can show it. */
export interface Progress {
  step(message: string, percentage?: number): void;
  end(): void;
}

/** What may be cancelled by its progress. */
export const PROGRESS_ID = /^(?:launch|save|back)-(\d+)$/;

export function startProgress(
  context: Context,
  kind: 'launch' | 'save' | 'back',
  title: string,
  requestId: number,
): Progress {
  if (!context.client.progress) return { step: () => undefined, end: () => undefined };
  const progressId = `${kind}-${requestId}`;
  context.send(event('progressStart', { progressId, title, requestId, cancellable: true }));
  return {
    step: (message, percentage) =>
      context.send(
        event('progressUpdate', { progressId, message, ...(percentage === undefined ? {} : { percentage }) }),
      ),
    end: () => context.send(event('progressEnd', { progressId })),
  };
}
