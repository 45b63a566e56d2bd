/** What machine/ and devices/ use of the hypervisor. */
export { createHypervisor } from './hypervisor';
export { BuildError } from './builder/input';
export { reservedFrames } from './xenslots';
export { machineFramesFor } from './builder/sizing';
export { checkFrames } from './check';
export { FRAME_TYPE_NAMES, FRAME_FLAG, FREE } from './frames';
export { HYPERCALLS } from './hypercalls/table';
export { walkTables, explainFault } from './guest-memory';
export { capturedReader, viewCall, callNames } from './dispatch';
export { vectorName, faultText } from './traps';
export type * from './types';
export type * from './backend';
export type * from './observer';
export type * from './state';
export type { DomainBuild, KernelInput } from './builder/input';
export type { WalkStep } from './guest-memory';
