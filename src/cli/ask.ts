import type { GuestRequest, StopReason, Target } from '../machine/target';
import { UsageError } from './arguments';

const REQUESTS: readonly GuestRequest[] = ['poweroff', 'reboot', 'halt', 'suspend'];

export function parseRequest(text: string): GuestRequest {
  const found = REQUESTS.find((request) => request === text);
  if (found === undefined) throw new UsageError(`--ask '${text}' is none of ${REQUESTS.join(', ')}`);
  return found;
}

const SECOND = 1_000_000_000n;
/** Of the guest's time: xl gives a guest a minute to acknowledge, and waits for its end without a limit. */
const ACKNOWLEDGED = 60n * SECOND;
const DONE = 600n * SECOND;
/** Instructions between two looks. */
const SLICE = 5_000_000n;

/**
 * Asks every domain that runs, and runs until one has done it.
 * @returns how it ended, or why it did not
 */
export async function askGuests(
  target: Target,
  request: GuestRequest,
  afterSlice: () => Promise<void>,
): Promise<{ readonly ended: StopReason } | { readonly problem: string }> {
  const asked = (await target.domains()).filter(({ shutdown }) => shutdown === undefined);
  for (const { id } of asked) await target.askGuest(id, request);
  const { time: began } = await target.now();
  for (;;) {
    const stop = await target.run({ instructions: SLICE, skipUpcalls: false, stopWhenIdle: true });
    await afterSlice();
    const { kind } = stop.reason;
    if (kind === 'shutdown' || kind === 'crash') return { ended: stop.reason };
    const passed = stop.at.time - began;
    const silent = (await target.domains()).some((domain) => domain.asked === request);
    if (silent && (passed > ACKNOWLEDGED || kind === 'idle'))
      return { problem: `the guest does not answer to ${request}` };
    if (passed > DONE || kind === 'idle') return { problem: `the guest has not done what ${request} means` };
  }
}
