import type { XlAtom } from './syntax';
import { ConfigError } from './syntax';

/** One entry of `disk = […]` (xl-disk-configuration(5)). */
export interface XlDisk {
  readonly target: string;
  readonly format: 'raw' | 'qcow' | 'qcow2' | 'vhd' | 'qed';
  /** Device name in the guest, such as xvda or xvdb1. */
  readonly vdev: string;
  readonly writable: boolean;
  readonly cdrom: boolean;
  /** `write-through`, which xl does not know: what the guest writes goes into the image itself. */
  readonly writeThrough?: true;
}

/** One entry of `vif = […]` (xl-network-configuration(5)); everything may be left out. */
export interface XlVif {
  readonly mac?: string;
  readonly ip?: string;
  readonly bridge?: string;
  readonly vifname?: string;
  /** `forward=`, which xl does not know: ports of this computer that lead to the interface's domain. */
  readonly forwards?: readonly string[];
}

export type Warn = (message: string) => void;

const formats: Readonly<Record<string, XlDisk['format']>> = {
  raw: 'raw',
  qcow: 'qcow',
  qcow2: 'qcow2',
  vhd: 'vhd',
  qed: 'qed',
  aio: 'raw',
};
const accesses: Readonly<Record<string, boolean>> = { r: false, ro: false, w: true, rw: true };
/** Deprecated ways to write the format before the target. */
const prefixes: Readonly<Record<string, XlDisk['format']>> = {
  'file:': 'raw',
  'phy:': 'raw',
  'raw:': 'raw',
  'qcow2:': 'qcow2',
  'qcow:': 'qcow',
  'vhd:': 'vhd',
  'aio:': 'raw',
  'tap:': 'raw',
  'tap2:': 'raw',
};

/** Parameters that choose between back ends of a real host; here there is one back end. */
const ignoredDiskKeys = [
  'backend',
  'backendtype',
  'script',
  'direct-io-safe',
  'discard',
  'no-discard',
  'colo',
  'specification',
  'transport',
  'trusted',
  'untrusted',
];

/** @param defaultVdev gives the name of a disk that has none; without it that is an error, as for xl */
export function parseDisk(atom: XlAtom, file: string, warn: Warn, defaultVdev?: () => string): XlDisk {
  const fail = (problem: string, fix?: string): never => {
    throw new ConfigError(file, atom, `disk "${atom.text}": ${problem}`, fix);
  };
  const given: {
    target?: string;
    format?: XlDisk['format'];
    vdev?: string;
    writable?: boolean;
    cdrom?: boolean;
    writeThrough?: true;
  } = {};
  const setFormat = (text: string): void => {
    given.format = formats[text] ?? fail(`format ${text} is not one of ${Object.keys(formats).join(', ')}`);
  };
  const setAccess = (text: string): void => {
    given.writable = accesses[text] ?? fail(`access ${text} is neither r, ro, w nor rw`);
  };
  const setVdev = (text: string): void => {
    const cdrom = text.endsWith(':cdrom');
    given.vdev = cdrom ? text.slice(0, -':cdrom'.length) : text;
    if (cdrom) given.cdrom = true;
  };
  const keyed: Readonly<Record<string, (text: string) => void>> = {
    format: setFormat,
    vdev: setVdev,
    access: setAccess,
    devtype: (text) => {
      if (text !== 'cdrom' && text !== 'disk') fail(`devtype ${text} is neither disk nor cdrom`);
      given.cdrom = text === 'cdrom';
    },
  };

  let rest = atom.text.trim();
  for (let prefix = findPrefix(rest); prefix !== undefined; prefix = findPrefix(rest)) {
    given.format = prefixes[prefix] ?? 'raw';
    rest = rest.slice(prefix.length);
  }
  // The old order is target,vdev,access; today's has the format between target and vdev.
  const oldOrder = rest !== atom.text.trim();
  const positions = [
    (text: string) => {
      given.target = text;
    },
    ...(oldOrder ? [] : [setFormat]),
    setVdev,
    setAccess,
  ];
  let position = 0;
  while (rest !== '') {
    const target = /^target\s*=\s*/i.exec(rest);
    if (target !== null) {
      // It must come last, since it takes everything, commas too.
      given.target = rest.slice(target[0].length);
      break;
    }
    const comma = rest.indexOf(',');
    const item = (comma < 0 ? rest : rest.slice(0, comma)).trim();
    rest = comma < 0 ? '' : rest.slice(comma + 1).trim();
    const [, key, text] = /^([a-z-]+)\s*=\s*(.*)$/i.exec(item) ?? [];
    const lone = item.toLowerCase();
    if (key !== undefined && text !== undefined) {
      const name = key.toLowerCase();
      const take = keyed[name];
      if (take !== undefined) take(text);
      else if (ignoredDiskKeys.includes(name)) warn(`disk parameter ${name} has no effect here`);
      else fail(`unknown parameter ${key}`);
    } else if (lone === 'cdrom') given.cdrom = true;
    else if (lone === 'write-through') given.writeThrough = true;
    else if (ignoredDiskKeys.includes(lone)) warn(`disk parameter ${lone} has no effect here`);
    else {
      const take = positions[position] ?? fail(`one value too many, ${item}`);
      position++;
      if (item !== '') take(item);
    }
  }
  const cdrom = given.cdrom ?? false;
  const {
    target = cdrom ? '' : fail('has no target'),
    vdev = defaultVdev?.() ?? fail('has no vdev', 'Add the name it has in the guest, such as xvda'),
  } = given;
  const writable = cdrom ? false : (given.writable ?? true);
  const { writeThrough } = given;
  if (writeThrough === true && !writable) fail('write-through is for a disk that the guest may write to');
  return {
    target,
    format: given.format ?? 'raw',
    vdev,
    writable,
    cdrom,
    ...(writeThrough === undefined ? {} : { writeThrough }),
  };
}

const findPrefix = (text: string): string | undefined =>
  Object.keys(prefixes).find((prefix) => text.startsWith(prefix));

const vifKeys = ['mac', 'ip', 'bridge', 'vifname'] as const;
const ignoredVifKeys = [
  'type',
  'model',
  'script',
  'rate',
  'backend',
  'gatewaydev',
  'devid',
  'mtu',
  'netdev',
  'trusted',
  'forwarddev',
];
const isVifKey = (key: string): key is (typeof vifKeys)[number] =>
  (vifKeys as readonly string[]).includes(key);

export function parseVif(atom: XlAtom, file: string, warn: Warn): XlVif {
  const vif: { -readonly [K in keyof XlVif]: XlVif[K] } = {};
  for (const item of atom.text.split(',').map((part) => part.trim())) {
    if (item === '') continue;
    const [, key, value] = /^([a-z-]+)\s*=\s*(.*)$/.exec(item) ?? [];
    if (key === undefined || value === undefined)
      throw new ConfigError(file, atom, `vif "${atom.text}": ${item} is not key=value`);
    if (key === 'forward') vif.forwards = [...(vif.forwards ?? []), value];
    else if (isVifKey(key)) vif[key] = value;
    else if (ignoredVifKeys.includes(key)) warn(`vif parameter ${key} has no effect here`);
    else throw new ConfigError(file, atom, `vif "${atom.text}": unknown parameter ${key}`);
  }
  if (vif.mac !== undefined && !/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(vif.mac)) {
    throw new ConfigError(file, atom, `vif "${atom.text}": ${vif.mac} is not a MAC address`);
  }
  if (vif.mac !== undefined && (Number.parseInt(vif.mac.slice(0, 2), 16) & 1) !== 0)
    throw new ConfigError(file, atom, `vif "${atom.text}": ${vif.mac} is the address of a group`);
  return vif;
}

/** One entry of `channel = […]` (xl.cfg(5), "Channels"): a console beside the first. */
export interface XlChannel {
  readonly name: string;
}

export function parseChannel(atom: XlAtom, file: string, warn: Warn): XlChannel {
  const given: Record<string, string> = {};
  for (const item of atom.text.split(',').map((part) => part.trim())) {
    if (item === '') continue;
    const [, key, value] = /^([a-z-]+)\s*=\s*(.*)$/.exec(item) ?? [];
    if (key === undefined || value === undefined)
      throw new ConfigError(file, atom, `channel "${atom.text}": ${item} is not key=value`);
    if (!['name', 'connection', 'path', 'backend'].includes(key))
      throw new ConfigError(file, atom, `channel "${atom.text}": unknown parameter ${key}`);
    given[key] = value;
  }
  const { name, connection = 'pty', path, backend } = given;
  if (name === undefined || name === '')
    throw new ConfigError(file, atom, `channel "${atom.text}" has no name`);
  if (connection !== 'pty' && connection !== 'socket')
    throw new ConfigError(
      file,
      atom,
      `channel "${atom.text}": connection ${connection} is neither pty nor socket`,
    );
  // No file of the host is made: each is a terminal of its own here.
  if (connection === 'socket') warn('channel connection socket is the same as pty here');
  if (path !== undefined) warn('channel parameter path has no effect here');
  if (backend !== undefined) warn('channel parameter backend has no effect here');
  return { name };
}
