import { refusedRequests } from '../capabilities';
import { RequestError } from '../errors';
import type { Handler } from '../handler';
import { handler } from '../handler';
import { anything } from '../shape';
import { breakpointRequests } from './breakpoints';
import { dataBreakpoints } from './data';
import { evaluation } from './evaluate';
import { aloneRequests, execution } from './execution';
import { hyperstep } from './hyperstep';
import { lifecycle } from './lifecycle';
import { memory } from './memory';
import { stack } from './stack';
import { targets } from './targets';
import { traceRequests } from './trace';
import { variableRequests } from './variables';

const refusals: readonly Handler[] = [...refusedRequests].map(([command, reason]) =>
  handler(command, anything, () => {
    throw new RequestError(`${command}: ${reason}`);
  }),
);

/** Every request that is served, by name. What is not here is answered as unknown. */
export const handlers: ReadonlyMap<string, Handler> = new Map(
  [
    ...lifecycle,
    ...breakpointRequests,
    ...dataBreakpoints,
    ...execution,
    ...stack,
    ...variableRequests,
    ...memory,
    ...evaluation,
    ...targets,
    ...refusals,
    ...hyperstep,
    ...traceRequests,
    ...aloneRequests,
  ].map((one) => [one.command, one]),
);
