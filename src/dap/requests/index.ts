import type { Handler } from '../handler';
import { breakpointRequests } from './breakpoints';
import { evaluation } from './evaluate';
import { execution } from './execution';
import { hyperstep } from './hyperstep';
import { lifecycle } from './lifecycle';
import { memory } from './memory';
import { stack } from './stack';
import { traceRequests } from './trace';
import { variableRequests } from './variables';

/** Every request that is served, by name. What is not here is answered as unknown. */
export const handlers: ReadonlyMap<string, Handler> = new Map(
  [
    ...lifecycle,
    ...breakpointRequests,
    ...execution,
    ...stack,
    ...variableRequests,
    ...memory,
    ...evaluation,
    ...hyperstep,
    ...traceRequests,
  ].map((one) => [one.command, one]),
);
