import type { DebugProtocol } from '@vscode/debugprotocol';
import { DebugSession, Response } from '@vscode/debugadapter';
import { createContext, output } from './context';
import type { Context } from './context';
import { RequestError, messageOf } from './errors';
import type { Handler, Reply } from './handler';
import type { Host } from './host';
import { PROGRESS_ID } from '../base/progress-id';
import { handlers } from './requests';
import { cancelShape } from './requests/lifecycle';

/** A request under way. */
interface Pending {
  cancelled: boolean;
  readonly onCancel: (() => void)[];
}

/**
 * One connection: takes messages, looks up who serves them, sends what comes back. It has no request of its own
 * but `cancel`, which is about the others.
 */
export class Session extends DebugSession {
  private readonly context: Context;
  private readonly pending = new Map<number, Pending>();
  /** Requests are served in the order they come, each after the one before it is answered. */
  private queue: Promise<void> = Promise.resolve();

  /** @param closed called when the client has disconnected and has been answered */
  constructor(host: Host, closed: () => void) {
    super();
    this.context = createContext(host, (event) => this.sendEvent(event), closed);
  }

  /** Anything may arrive here: what is no request is reported, and the session lives on. */
  override handleMessage(message: DebugProtocol.ProtocolMessage): void {
    const problem = this.malformed(message);
    if (problem === undefined) super.handleMessage(message);
    else this.reportMalformed(problem);
  }

  reportMalformed(problem: string): void {
    output(this.context, 'stderr', `malformed message ignored: ${problem}`);
  }

  private malformed(message: unknown): string | undefined {
    if (typeof message !== 'object' || message === null)
      return `not an object: ${JSON.stringify(message).slice(0, 80)}`;
    const { type, seq, command } = message as Readonly<Record<string, unknown>>;
    if (type !== 'request') return type === 'response' ? undefined : `its type is ${JSON.stringify(type)}`;
    if (typeof command !== 'string') return 'a request without a command';
    return Number.isSafeInteger(seq) ? undefined : `request '${command}' without a sequence number`;
  }

  protected override dispatchRequest(request: DebugProtocol.Request): void {
    if (request.command === 'cancel') {
      this.cancel(request);
      return;
    }
    const handler = handlers.get(request.command);
    if (handler === undefined) {
      this.refuse(request, new RequestError(`request '${request.command}' is not known`, { show: false }));
      return;
    }
    const pending: Pending = { cancelled: false, onCancel: [] };
    this.pending.set(request.seq, pending);
    const serve = (): Promise<void> => this.serve(request, handler, pending);
    if (handler.urgent) void serve();
    else this.queue = this.queue.then(serve);
  }

  private async serve(request: DebugProtocol.Request, handler: Handler, pending: Pending): Promise<void> {
    const later: (() => void)[] = [];
    const reply: Reply = {
      seq: request.seq,
      after: (work) => later.push(work),
      onCancel: (work) => {
        if (pending.cancelled) work();
        else pending.onCancel.push(work);
      },
      check: () => {
        if (pending.cancelled)
          throw new RequestError(`${request.command} was cancelled`, { code: 'cancelled', show: false });
      },
    };
    try {
      reply.check();
      const body = await handler.serve(this.context, request.arguments as unknown, reply);
      const response: DebugProtocol.Response = new Response(request);
      if (body !== undefined) response.body = body;
      this.sendResponse(response);
      for (const work of later) work();
    } catch (error) {
      this.refuse(request, error);
    } finally {
      this.pending.delete(request.seq);
    }
  }

  /** Takes effect where the request has not been answered; otherwise there is nothing left to cancel. */
  private cancel(request: DebugProtocol.Request): void {
    try {
      const { requestId, progressId } = cancelShape(request.arguments ?? {}, '');
      const seq = requestId ?? Number(PROGRESS_ID.exec(progressId ?? '')?.[1]);
      const pending = this.pending.get(seq);
      // A search backwards has been answered when it begins.
      if (pending === undefined && progressId?.startsWith('back-') === true)
        this.context.machine?.control.pause();
      if (pending !== undefined) {
        pending.cancelled = true;
        for (const work of pending.onCancel) work();
      }
      this.sendResponse(new Response(request));
    } catch (error) {
      this.refuse(request, error);
    }
  }

  private refuse(request: DebugProtocol.Request, error: unknown): void {
    const { code, show = true } = error instanceof RequestError ? error.options : {};
    const text = messageOf(error);
    const response: DebugProtocol.Response = new Response(request);
    response.success = false;
    response.message = code ?? text;
    // The text is no template: braces in it are its own.
    const words = { format: '{_text}', variables: { _text: text } };
    response.body = { error: { id: idOf(request.command), ...words, showUser: show } };
    this.sendResponse(response);
  }

  /** The process is its owner's to end, not the session's. */
  override shutdown(): void {
    void this.close();
  }

  /** For a connection that broke off without `disconnect`. */
  async close(): Promise<void> {
    this.context.closing = true;
    const { machine } = this.context;
    this.context.machine = undefined;
    await machine?.dispose().catch(() => undefined);
  }

  override dispose(): void {
    void this.close();
  }
}

/** Clients tell errors apart by number; one per request is enough to tell them apart by. */
function idOf(command: string): number {
  const index = [...handlers.keys()].indexOf(command);
  return 1000 + index + 1;
}
