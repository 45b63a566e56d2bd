/** The end of a domain, and things that concern all of it. */
import type { Core } from './core';
import { releaseMappings } from './grantmaps';
import type { ShutdownReason } from './state';
import type { Domain } from './types';
import { setRunState } from './vcpu';

/** sched_op.shutdown and crashes: no vCPU of the domain runs again. */
export function shutdown(core: Core, domain: Domain, reason: ShutdownReason, text: string): void {
  if (domain.state.shutdown !== undefined) return;
  domain.state.shutdown = reason;
  if (reason === 'crash') domain.state.crashText = text;
  for (const v of domain.vcpus) setRunState(core, v, 'offline');
  if (reason !== 'suspend') {
    // This may be the end of a domain because of a defect in its very tables.
    try {
      releaseMappings(core, domain);
    } catch (error) {
      core.log.error(`d${domain.id}: its grant mappings cannot be dropped: ${String(error)}`);
    }
  }
  core.log.info(`d${domain.id} (${domain.name}): ${reason}${text === '' ? '' : `: ${text}`}`);
  core.observer.shutdown?.(domain, reason, text);
}

export const crash = (core: Core, domain: Domain, text: string): void =>
  shutdown(core, domain, 'crash', text);

export const assists = (domain: Domain, type: number): boolean =>
  ((domain.state.vmAssist >> BigInt(type)) & 1n) !== 0n;
