import type { DebugProtocol } from '@vscode/debugprotocol';
import type { Breakpoint } from '../debugger/breakpoints';
import { formatLocation, hex, virtual } from '../debugger/locations';
import type { DomainSymbols } from '../debugger/symbols';
import type { Context } from './context';
import { event, output, sourceOf, toClientLine } from './context';
import type { Machine } from './machine';

/** A breakpoint as the protocol shows it. */
export function toProtocolBreakpoint(
  context: Context,
  images: DomainSymbols,
  one: Breakpoint,
): DebugProtocol.Breakpoint {
  const { id, verified, message, address, line } = one;
  const current = context.machine?.current();
  const domain = domainOf(one);
  const symbols = images.of(domain ?? current?.domain ?? 1);
  const at = address === undefined ? undefined : symbols.line(address);
  const vcpu = domain === undefined || domain === current?.domain ? current : { domain, vcpu: 0 };
  return {
    id,
    verified,
    ...(message === undefined ? {} : { message }),
    ...(line === undefined ? {} : { line: toClientLine(context, line) }),
    ...(at === undefined || one.kind === 'source'
      ? {}
      : { source: sourceOf(context, symbols, at.file), line: toClientLine(context, at.line) }),
    ...(address === undefined
      ? {}
      : { instructionReference: vcpu === undefined ? hex(address) : formatLocation(virtual(vcpu, address)) }),
    // 'pending' until there is a machine, 'failed' where there is one that has no such place.
    ...(verified
      ? {}
      : { reason: context.machine === undefined ? ('pending' as const) : ('failed' as const) }),
  };
}

/** Tells the client of one that is not what it was. */
export const announce = (context: Context, { symbols }: Pick<Machine, 'symbols'>, one: Breakpoint): void =>
  context.send(
    event('breakpoint', { reason: 'changed', breakpoint: toProtocolBreakpoint(context, symbols, one) }),
  );

/** The domain whose code it is in, where that is not any. */
function domainOf({ points }: Breakpoint): number | undefined {
  const [first] = points;
  return first !== undefined && 'domain' in first ? first.domain : undefined;
}

/** Says once for each breakpoint why its condition costs a round trip at every pass. */
export function tellSlow(context: Context): void {
  for (const { id, slow, spec } of context.breakpoints.all()) {
    if (slow === undefined || context.machine?.args.noDebug === true) continue;
    const text = `the condition '${spec.condition ?? ''}' of breakpoint ${id} is not evaluated in the machine, but at a stop at every pass: ${slow}`;
    if (context.slow.has(text)) continue;
    context.slow.add(text);
    output(context, 'console', text);
  }
}
