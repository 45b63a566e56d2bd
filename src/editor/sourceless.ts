interface Stopped {
  readonly type?: unknown;
  readonly event?: unknown;
  readonly body?: { readonly withoutSource?: unknown };
}

/**
 * VS Code takes the innermost frame that has a source for selected. Where none has, it shows no variables and nothing
 * of where the machine stands, unless it was an instruction breakpoint that stopped it: then it selects the innermost
 * frame, and opens the disassembly there. What is shown to people is the description, which stays as it is.
 */
export function withSelection<M extends object>(message: M): M {
  const { type, event, body } = message as Stopped;
  if (type !== 'event' || event !== 'stopped' || body?.withoutSource !== true) return message;
  return { ...message, body: { ...body, reason: 'instruction breakpoint' } };
}
