/** Exact floating point for the x86: the slow path of SSE and all of x87. */
export * from './env';
export { type Format, f32, f64, f80, Kind, unpack, infinity, zero, one } from './format';
export { add, sub, mul, div, sqrt } from './arithmetic';
export { Relation, compare, comparePredicate, min, max, examine } from './compare';
export { convert, storeNarrow, fromInteger, widenInteger, toInteger, fromBcd, toBcd } from './convert';
export { type Constant, type Remainder, constant, rndint, scale, xtract, prem, prem1 } from './x87';
export { type Angle, f2xm1, patan, ptan, sin, cos, sincos, yl2x, yl2xp1 } from './transcendental';
export { reciprocalEstimate, rsqrtEstimate } from './estimate';
