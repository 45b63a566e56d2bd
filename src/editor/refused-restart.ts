interface Refusal {
  readonly type?: unknown;
  readonly command?: unknown;
  readonly success?: unknown;
  readonly message?: unknown;
  readonly body?: { readonly error?: { readonly showUser?: unknown } };
}

/**
 * VS Code takes a session for over when its restart is refused, and from then on passes on nothing that the adapter
 * says; its debug toolbar stays, and does nothing. The machine, however, is where it was, so there VS Code is told
 * that the request was served, and people are told the reason here. Where the machine is gone, `terminated` says it.
 *
 * @param tell shows people why it was refused
 */
export function withoutRefusedRestart<M extends object>(message: M, tell: (reason: string) => void): M {
  const { type, command, success, message: reason, body } = message as Refusal;
  if (type !== 'response' || command !== 'restart' || success !== false) return message;
  if (typeof reason === 'string' && body?.error?.showUser !== false) tell(reason);
  return { ...message, success: true, message: undefined, body: undefined };
}
