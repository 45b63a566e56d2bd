import type { HyperstepRequests } from '../../dap/protocol';
import type { Requester } from '../rows/row';
import { vcpuGiven } from '../rows/vcpu-given';
import type { Sessions } from '../sessions';

type Body = HyperstepRequests['hyperstep/runAlone']['body'];

/** Goes on with one vCPU while the others stay: that of a row or a thread, else of what is selected in the call stack. */
export async function runAlone(requester: Requester, sessions: Sessions, given: unknown): Promise<void> {
  const asked =
    vcpuGiven(given) ?? (sessions.thread === undefined ? undefined : { threadId: sessions.thread });
  if (asked === undefined) throw new Error('select a vCPU in the call stack or in Domains, first');
  await requester.request<Body>('hyperstep/runAlone', asked);
}
