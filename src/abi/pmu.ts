/** xenpmu_op (pmu.h). */
import { struct, u32, u64 } from './layout';

export const XENPMU = {
  XENPMU_mode_get: 0, XENPMU_mode_set: 1, XENPMU_feature_get: 2, XENPMU_feature_set: 3, XENPMU_init: 4,
  XENPMU_finish: 5, XENPMU_lvtpc_set: 6, XENPMU_flush: 7,
} as const; // prettier-ignore
const version = struct('xen_pmu_params.version', { maj: u32, min: u32 });
export const xen_pmu_params = struct('xen_pmu_params', { version, val: u64, vcpu: u32, pad: u32 });
