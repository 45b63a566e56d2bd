import type { HyperstepRequests } from '../../dap/protocol';

type Asked = HyperstepRequests['hyperstep/runAlone']['arguments'];

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null;

/** Of a thread, or of a frame of one, the call stack gives `thread:SESSION:NUMBER` to menus. */
const THREAD = /^thread:.*:(\d+)$/;

/** The vCPU that a menu's command is about: a row of Domains has it, the call stack has its thread. */
export function vcpuGiven(given: unknown): Asked | undefined {
  if (!isObject(given)) return undefined;
  const { vcpu, threadId } = given;
  if (isObject(vcpu) && typeof vcpu['domain'] === 'number' && typeof vcpu['vcpu'] === 'number')
    return { domain: vcpu['domain'], vcpu: vcpu['vcpu'] };
  if (typeof threadId === 'number') return { threadId };
  const number = typeof threadId === 'string' ? THREAD.exec(threadId)?.[1] : undefined;
  return number === undefined ? undefined : { threadId: Number(number) };
}
