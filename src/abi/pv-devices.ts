/** The split devices that Xen has protocols for (public/io/*.h), and which of them domains find here. */

export interface PvDevice {
  /** The directory in xenstore: `device/TYPE` and `backend/TYPE`. */
  readonly type: string;
  readonly name: string;
  /** Where the protocol is written down. */
  readonly header: string;
  /** Keys of xl.cfg(5) that ask for one. */
  readonly keys: readonly string[];
  readonly status: 'implemented' | 'not implemented';
  /** Of an implemented one: what front ends can count on, and what is refused. */
  readonly notes?: string;
}

export const PV_DEVICES: readonly PvDevice[] = [
  {
    type: 'store',
    name: 'xenstore',
    header: 'io/xs_wire.h',
    keys: [],
    status: 'implemented',
    notes: 'transactions with conflicts, watches, permissions, limits per domain',
  },
  {
    type: 'console',
    name: 'console',
    header: 'io/console.h',
    keys: ['channel'],
    status: 'implemented',
    notes: 'the first by start_info, further ones as channels over xenstore',
  },
  {
    type: 'vbd',
    name: 'block',
    header: 'io/blkif.h',
    keys: ['disk'],
    status: 'implemented',
    notes: 'flush and barrier, discard, persistent grants, indirect requests, rings of 16 pages; one queue',
  },
  {
    type: 'vif',
    name: 'network',
    header: 'io/netif.h',
    keys: ['vif'],
    status: 'implemented',
    notes:
      'copying receive, scatter/gather, checksum and segmentation offload for IPv4 and IPv6, split event channels, ' +
      'multicast control; one queue, and without feature-ctrl-ring, page flipping and XDP headroom',
  },
  {
    type: 'echo',
    name: 'echo (of the bundled sample)',
    header: "the sample's README",
    keys: [],
    status: 'implemented',
  },
  { type: 'vfb', name: 'framebuffer', header: 'io/fbif.h', keys: ['vfb'], status: 'not implemented' },
  {
    type: 'vkbd',
    name: 'keyboard and pointer',
    header: 'io/kbdif.h',
    keys: ['vkb'],
    status: 'not implemented',
  },
  { type: 'vdispl', name: 'display', header: 'io/displif.h', keys: ['vdispl'], status: 'not implemented' },
  { type: 'vsnd', name: 'sound', header: 'io/sndif.h', keys: ['vsnd'], status: 'not implemented' },
  { type: 'vcamera', name: 'camera', header: 'io/cameraif.h', keys: [], status: 'not implemented' },
  { type: '9pfs', name: '9P file system', header: 'io/9pfs.h', keys: ['p9'], status: 'not implemented' },
  { type: 'pvcalls', name: 'PV calls', header: 'io/pvcalls.h', keys: ['pvcalls'], status: 'not implemented' },
  { type: 'pci', name: 'PCI pass-through', header: 'io/pciif.h', keys: ['pci'], status: 'not implemented' },
  { type: 'vscsi', name: 'SCSI', header: 'io/vscsiif.h', keys: ['vscsi'], status: 'not implemented' },
  { type: 'vtpm', name: 'TPM', header: 'io/tpmif.h', keys: ['vtpm'], status: 'not implemented' },
  { type: 'vusb', name: 'USB', header: 'io/usbif.h', keys: ['usbctrl', 'usbdev'], status: 'not implemented' },
];

/** The device that a key of xl.cfg(5) asks for, when there is none of its kind here. */
export const missingDevice = (key: string): PvDevice | undefined =>
  PV_DEVICES.find(({ keys, status }) => status === 'not implemented' && keys.includes(key));
