/** What a machine is made of. */

import type { VifConfig } from '../devices/index';
import type { UnpackedImage } from '../guest/image';

export type ShutdownReason = 'poweroff' | 'reboot' | 'suspend' | 'crash' | 'watchdog' | 'soft_reset';

/** What becomes of a domain that has ended (xl.cfg(5), "Event Actions"). */
export type EndAction = 'destroy' | 'restart' | 'preserve';

/** The machine's description, as launch arguments give it. */
export interface MachineConfig {
  readonly domains: readonly DomainConfig[];
  /**
   * A file that the machine goes on from, instead of being built: `domains` is what the file says about itself.
   * Kernels and ramdisks are not needed for that.
   */
  readonly saved?: SavedSourceConfig;
  /** The host's affair: the machine itself opens no port. */
  readonly forwards?: readonly ForwardConfig[];
  /** Hypercalls that are kept from the beginning, where that is more than the trace's ring holds. */
  readonly traceRecords?: number;
  /** Marks are taken while it runs, so that it can be gone back in. */
  readonly history?: HistoryConfig;
  /** Whether hot guest code is compiled. The guest sees no difference; absent: see assemble.ts. */
  readonly tier?: 'interpret' | 'compile';
}
export interface HistoryConfig {
  /** Bytes that the marks may take. */
  readonly memory: number;
  /** Instructions from one to the next; absent: see history.ts. */
  readonly interval?: bigint;
}
/** A TCP port of this computer's that leads into a guest. */
export interface ForwardConfig {
  /** A loopback address. */
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
  readonly domain: number;
  readonly guestPort: number;
}
/** A file of the host. */
export interface SavedSourceConfig {
  readonly path: string;
}
/** A file that somebody named; `path` where it can be found again. */
export interface GivenFile {
  readonly name: string;
  readonly path?: string;
  readonly bytes: Uint8Array;
}
export interface KernelFile extends GivenFile {
  /** For the first boot only: what is in the file, where somebody has unpacked it already, or is at it. */
  readonly unpacked?: UnpackedImage;
  /** The host's affair: what it is unpacked to is not kept on disk for other launches, nor taken from there. */
  readonly unkept?: true;
}
export interface DomainConfig {
  readonly name: string;
  readonly kernel: KernelFile;
  readonly ramdisk?: GivenFile;
  readonly cmdline: string;
  /** Bytes. */
  readonly memory: number;
  readonly vcpus: number;
  /** What becomes of it when it ends, where that is not what xl does by default (ending.ts). */
  readonly onEnd?: Readonly<Partial<Record<ShutdownReason, EndAction>>>;
  readonly disks?: readonly DiskConfig[];
  readonly vifs?: readonly VifConfig[];
  /** Names of the consoles beside the first. */
  readonly channels?: readonly string[];
}

/** Without what a kernel was unpacked to: several times the file, and a machine keeps its configuration. */
export function asGiven(domain: DomainConfig): DomainConfig {
  const { unpacked: _, ...kernel } = domain.kernel;
  return { ...domain, kernel };
}

export interface DiskConfig {
  /** Its name in the guest: xvda, xvdb1, hda … */
  readonly vdev: string;
  /** `name` is for messages; an empty one is a drive without a medium. */
  readonly image:
    { readonly name: string; readonly path: string } | { readonly name: string; readonly bytes: Uint8Array };
  readonly format: 'raw' | 'qcow2';
  /**
   * `overlay`: the guest may write, and what it wrote goes with the machine; the image stays as it is.
   * `write-through`: the image is what the machine's disk is, also after going back to a mark.
   */
  readonly access: 'read-only' | 'overlay' | 'write-through';
  readonly cdrom: boolean;
}
