import type { LinuxModule } from '../debugger/linux';
import type { VcpuRef } from '../machine/target';
import { announce, tellSlow } from './breakpoint-view';
import type { Context } from './context';
import type { Machine } from './machine';

/** What was loaded when breakpoints were last looked for in it, by machine and domain. */
const seen = new WeakMap<Machine, Map<number, readonly LinuxModule[]>>();

/**
 * Breakpoints may have code in modules that a Linux domain has loaded since, and have none any more in those that are
 * gone. The machine stands still.
 */
export async function refreshModules(context: Context, machine: Machine, vcpu: VcpuRef): Promise<void> {
  const { target, symbols, args } = machine;
  const { linux } = symbols.of(vcpu.domain);
  if (linux === undefined || args.noDebug === true) return;
  const known = seen.get(machine) ?? new Map<number, readonly LinuxModule[]>();
  seen.set(machine, known);
  const now = await linux.modules(target, vcpu);
  if (now === (known.get(vcpu.domain) ?? now) && (known.has(vcpu.domain) || now.length === 0)) return;
  known.set(vcpu.domain, now);
  const changed = context.breakpoints.resolve();
  if (changed.length === 0) return;
  await target.setStops(context.breakpoints.points());
  tellSlow(context);
  for (const one of changed) announce(context, machine, one);
}
