import type { DebugProtocol } from '@vscode/debugprotocol';
import type { Breakpoint } from '../debugger/breakpoints';
import { formatLocation, hex, virtual } from '../debugger/locations';
import type { SymbolIndex } from '../debugger/symbols';
import type { Context } from './context';
import { sourceOf, toClientLine } from './context';

/** A breakpoint as the protocol shows it. */
export function toProtocolBreakpoint(
  context: Context,
  symbols: SymbolIndex,
  one: Breakpoint,
): DebugProtocol.Breakpoint {
  const { id, verified, message, address, line } = one;
  const at = address === undefined ? undefined : symbols.line(address);
  const vcpu = context.machine?.current();
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
