/** A request that cannot be served; the message is for a person to read. */
export class RequestError extends Error {
  constructor(
    message: string,
    readonly options: {
      /** Short form that the protocol defines for some cases. */
      readonly code?: 'cancelled' | 'notStopped';
      /** Whether the client is asked to show it (default: yes). */
      readonly show?: boolean;
    } = {},
  ) {
    super(message);
    this.name = 'RequestError';
  }
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
