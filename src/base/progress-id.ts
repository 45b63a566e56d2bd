/** What takes long enough to be told of. */
export type ProgressKind = 'launch' | 'save' | 'back';

/** The name of one that begins with a request. */
export const progressIdOf = (kind: ProgressKind, requestId: number): string => `${kind}-${requestId}`;

/** What may be cancelled by its progress; the request's number. */
export const PROGRESS_ID = /^(?:launch|save|back)-(\d+)$/;

export const isLaunch = (progressId: string): boolean => progressId.startsWith('launch-');
