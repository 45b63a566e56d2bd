import type { FromPage, PageRequest, PageRequests, ToPage, Which } from '../../src/editor/trace/messages';
import type { Answer, QuestionKind, TraceQuestions } from '../../src/dap/protocol';

// What the page says to the extension, and what it hears.

declare function acquireVsCodeApi(): {
  postMessage(message: FromPage): void;
  getState(): unknown;
  setState(state: unknown): void;
};

const api = acquireVsCodeApi();
const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
let last = 0;

export function request<R extends PageRequest>(
  name: R,
  args: PageRequests[R]['in'],
): Promise<PageRequests[R]['out']> {
  const id = ++last;
  return new Promise<unknown>((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    api.postMessage({ type: 'request', id, name, args });
  }) as Promise<PageRequests[R]['out']>;
}

export const ask = async <K extends QuestionKind>(
  kind: K,
  question: TraceQuestions[K]['ask'],
  which: Which = 'left',
): Promise<Answer<K>> => await request('ask', { which, question: { kind, ...question } as never });

export function listen(on: (message: Exclude<ToPage, { type: 'reply' }>) => void): void {
  window.addEventListener('message', ({ data }: MessageEvent<ToPage>) => {
    if (data.type !== 'reply') {
      on(data);
      return;
    }
    const waiter = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.error === undefined) waiter?.resolve(data.value);
    else waiter?.reject(new Error(data.error));
  });
  api.postMessage({ type: 'ready' });
}

/** What was typed outlives a reload of the window. */
export const remembered = (): { readonly filter?: string } => api.getState() ?? {};
export const remember = (state: { readonly filter: string }): void => {
  api.setState(state);
};
