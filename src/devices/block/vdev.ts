/** Names of virtual disks and the numbers that stand for them in xenstore (xen-vbd-interface(7)). */

interface Scheme {
  readonly disks: number;
  readonly partitions: number;
  number(disk: number, partition: number): number;
}

/** Major 202; what does not fit there has a number of its own kind. */
const xvd: Scheme = {
  disks: 2 ** 20,
  partitions: 256,
  number: (disk, partition) =>
    disk < 16 && partition < 16 ? (202 << 8) | (disk << 4) | partition : (1 << 28) | (disk << 8) | partition,
};

const schemes: Readonly<Record<string, Scheme>> = {
  xvd,
  d: xvd,
  // Linux's IDE majors 3 and 22, two disks each; SCSI's major 8.
  hd: {
    disks: 4,
    partitions: 64,
    number: (disk, partition) => ((disk < 2 ? 3 : 22) << 8) | ((disk & 1) << 6) | partition,
  },
  sd: { disks: 16, partitions: 16, number: (disk, partition) => (8 << 8) | (disk << 4) | partition },
};

/** a … z, aa … : as a number from 0 */
const letters = (text: string): number =>
  Array.from(text).reduce((sum, c) => sum * 26 + c.charCodeAt(0) - 0x60, 0) - 1;

/** @throws RangeError for what names no disk */
export function deviceNumber(vdev: string): number {
  const [, kind = '', name = '', lettered = ''] = /^(xvd|hd|sd)([a-z]{1,4})(\d{0,3})$/.exec(vdev) ?? [];
  const [, disk = '', numbered = ''] = /^d(\d{1,7})(?:p(\d{1,3}))?$/.exec(vdev) ?? [];
  const scheme = schemes[disk === '' ? kind : 'd'];
  const at = disk === '' ? letters(name) : Number(disk);
  const partition = Number(disk === '' ? lettered : numbered);
  if (scheme === undefined || at >= scheme.disks || partition >= scheme.partitions)
    throw new RangeError(`vdev ${JSON.stringify(vdev)} is not a disk such as xvda, xvdb1, hda, sda or d0p1`);
  return scheme.number(at, partition);
}
