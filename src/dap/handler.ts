import type { Context } from './context';
import type { Shape } from './shape';

/** What a handler may do besides answering. */
export interface Reply {
  /** Runs once the response is on its way, for events that must not come before it. */
  after(work: () => void): void;
  /** Throws when the client has cancelled the request. */
  check(): void;
  /** Is called when the client cancels the request, or has already. */
  onCancel(work: () => void): void;
  /** The request's number, by which it is cancelled. */
  readonly seq: number;
}

export interface Handler {
  readonly command: string;
  /**
   * Served as it comes, without waiting for the requests before it: what has to work while one of those is taking
   * its time.
   */
  readonly urgent: boolean;
  serve(context: Context, args: unknown, reply: Reply): Promise<object | undefined>;
}

/** Ties a request's name to the form of its arguments and to the function that answers it. */
export function handler<A>(
  command: string,
  shape: Shape<A>,
  run: (context: Context, args: A, reply: Reply) => Promise<object | undefined> | object | undefined,
  { urgent = false } = {},
): Handler {
  return {
    command,
    urgent,
    serve: async (context, args, reply) => (await run(context, shape(args, ''), reply)) ?? undefined,
  };
}
