import type * as vscode from 'vscode';
import type { TraceAccess, TraceQuestions, QuestionKind, Answer } from '../../dap/protocol';

/** A trace file that is open; it can be asked while it is still being read. */
export interface OpenTrace {
  readonly access: TraceAccess;
  readonly loaded: Promise<void>;
  close(): void;
}

/** The machine's trace, behind its adapter. */
export const sessionTrace = (session: vscode.DebugSession): TraceAccess => ({
  ask: async <K extends QuestionKind>(kind: K, question: TraceQuestions[K]['ask']): Promise<Answer<K>> => {
    const reply = (await session.customRequest('hyperstep/traceQuestion', {
      question: { kind, ...question },
    })) as { readonly answer: Answer<K> };
    return reply.answer;
  },
});
