import { reciprocalEstimate, rsqrtEstimate } from '../softfloat';
import type { Helper } from './context';

/** RCPPS/RCPSS and RSQRTPS/RSQRTSS, one f32 lane. */
export const estimates: Readonly<Record<string, Helper>> = {
  rcp: (_c, v) => reciprocalEstimate(v),
  rsqrt: (_c, v) => rsqrtEstimate(v),
};
