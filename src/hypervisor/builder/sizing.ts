/** How large a machine must be for the domains it is to run. */
import { PAGE_SIZE } from '../../base/branded';
import { reservedFrames } from '../xenslots';

/** For exchanges of frames in a row, and the copies that page-table emulation makes. */
const SPARE = 2048;
/** shared_info, up to 64 grant frames, and the tables of the domain's own area. */
const PER_DOMAIN = 80;

/** Frames for domains of these sizes in bytes, the hypervisor's own included. */
export function machineFramesFor(memories: readonly number[]): number {
  const guests = memories.reduce((sum, bytes) => sum + Math.floor(bytes / PAGE_SIZE) + PER_DOMAIN, SPARE);
  let frames = guests;
  // The M2P covers itself, too.
  while (frames - reservedFrames(frames) < guests) frames = guests + reservedFrames(frames);
  return frames;
}
