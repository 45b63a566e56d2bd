import { missingDevice } from '../../abi/pv-devices';
import type { XlChannel, XlDisk, XlVif } from './devices';
import { parseChannel, parseDisk, parseVif } from './devices';
import type { Position, XlAssignment, XlAtom, XlValue } from './syntax';
import { ConfigError, parseXlSyntax } from './syntax';

export type { XlChannel, XlDisk, XlVif } from './devices';
export { parseDisk, parseVif } from './devices';
export { ConfigError } from './syntax';

/** What happens when the domain ends (xl.cfg(5), "Event Actions"). */
export const eventActions = [
  'destroy',
  'restart',
  'rename-restart',
  'preserve',
  'coredump-destroy',
  'coredump-restart',
  'soft-reset',
] as const;
export type EventAction = (typeof eventActions)[number];

export interface XlWarning extends Position {
  readonly message: string;
}

/** The part of an xl.cfg that matters here. What the file does not set is absent. */
export interface XlConfig {
  readonly name?: string;
  readonly uuid?: string;
  readonly kernel?: string;
  readonly ramdisk?: string;
  /** `cmdline`, or `root` and `extra` put together as xl does. */
  readonly cmdline?: string;
  /** MiB, as is `maxmem`. */
  readonly memory?: number;
  readonly maxmem?: number;
  readonly vcpus?: number;
  readonly maxvcpus?: number;
  readonly onPoweroff?: EventAction;
  readonly onReboot?: EventAction;
  readonly onCrash?: EventAction;
  readonly onWatchdog?: EventAction;
  readonly onSoftReset?: EventAction;
  readonly disks: readonly XlDisk[];
  readonly vifs: readonly XlVif[];
  readonly channels: readonly XlChannel[];
  readonly warnings: readonly XlWarning[];
}

/** Keys of xl.cfg(5) that concern what this machine does not have or decides itself. */
const unsupportedKeys = `
  acpi acpi_firmware acpi_laptop_slate acpi_s3 acpi_s4 altp2m apic argo bios bios_path_override blkdev_start boot
  bootloader bootloader_args builder cap claim_mode console cpu_weight cpuid cpus cpus_soft device_model_args
  device_model_args_hvm device_model_args_pv device_model_override device_model_stubdomain_override
  device_model_stubdomain_seclabel device_model_user device_model_version device_tree dm_restrict driver_domain dtdev
  e820_host event_channels firmware firmware_override gfx_passthru gic_version hap hdtype hpet init_seclabel iomem
  ioports irqs keymap localtime max_event_channels max_grant_frames max_grant_version max_maptrack_frames mca_caps
  ms_vm_genid msr_relaxed nestedhvm nographic nomigrate nx opengl p9 pae passthrough pci pci_msitranslate
  pci_permissive pci_power_mgmt pci_seize pool pvcalls pvh pvshim pvshim_cmdline pvshim_extra pvshim_path rdm
  rdm_mem_boundary rtc_timeoffset sdl seclabel serial shadow_memory smbios smbios_firmware soundhw spice
  spiceagent_mouse spice_clipboard_sharing spicedisable_ticketing spicehost spicepasswd spiceport spicetls_port
  spiceusbredirection spicevdagent stdvga suppress_spurious_page_faults system_firmware tee timer_mode tsc_mode usb
  usbctrl usbdev usbdevice usbversion vdispl vfb vga vgamem videoram viridian virtio vkb vmtrace_buf_kb vnc
  vncconsole vncdisplay vnclisten vncpasswd vncunused vnuma vpmu vpt_align vscsi vsnd vtpm vuart xen_platform_pci`
  .split(/\s+/)
  .filter((key) => key !== '');

interface Reading {
  readonly file: string;
  warn(at: Position, message: string): void;
}

type Reader<T> = (value: XlValue, key: string, reading: Reading) => T;

function atom(value: XlValue, key: string, { file }: Reading): XlAtom {
  if (value.kind === 'list') throw new ConfigError(file, value, `${key} is a list; it takes one value`);
  return value;
}

const text: Reader<string> = (value, key, reading) => atom(value, key, reading).text;

/** xl reads numbers as strtol(…, 0) does, quoted or not. */
function number(lowest: number, highest: number): Reader<number> {
  return (value, key, reading) => {
    const { text: written } = atom(value, key, reading);
    const digits = /^0[0-7]+$/.test(written) ? `0o${written.slice(1)}` : written;
    const parsed = /^(-?\d+|0x[0-9a-f]+|0o[0-7]+)$/i.test(digits) ? Number(digits) : NaN;
    if (!Number.isSafeInteger(parsed))
      throw new ConfigError(reading.file, value, `${key} is ${JSON.stringify(written)}, not a whole number`);
    if (parsed < lowest || parsed > highest) {
      throw new ConfigError(
        reading.file,
        value,
        `${key} is ${parsed}; it must be from ${lowest} to ${highest}`,
      );
    }
    return parsed;
  };
}

const isAction = (word: string): word is EventAction => (eventActions as readonly string[]).includes(word);

const action: Reader<EventAction> = (value, key, reading) => {
  const word = text(value, key, reading);
  if (!isAction(word))
    throw new ConfigError(
      reading.file,
      value,
      `${key} is "${word}"; it must be one of ${eventActions.join(', ')}`,
    );
  return word;
};

function listOf<T>(read: (item: XlAtom, file: string, warn: (message: string) => void) => T): Reader<T[]> {
  return (value, key, reading) => {
    if (value.kind !== 'list')
      throw new ConfigError(reading.file, value, `${key} is not a list`, `Write ${key} = [ … ]`);
    return value.items.map((item) => {
      const one = atom(item, key, reading);
      return read(one, reading.file, (message) => reading.warn(one, message));
    });
  };
}

/** xl's own limits where there are some; memory up to 16 TiB, of which a machine here will refuse most. */
const MAX_MEMORY_MIB = 16 * 1024 * 1024;
const MAX_VCPUS = 512;

const readers = {
  name: text,
  uuid: text,
  kernel: text,
  ramdisk: text,
  cmdline: text,
  root: text,
  extra: text,
  memory: number(1, MAX_MEMORY_MIB),
  maxmem: number(1, MAX_MEMORY_MIB),
  vcpus: number(1, MAX_VCPUS),
  maxvcpus: number(1, MAX_VCPUS),
  type: text,
  on_poweroff: action,
  on_reboot: action,
  on_crash: action,
  on_watchdog: action,
  on_soft_reset: action,
  disk: listOf((item, file, warn) => parseDisk(item, file, warn)),
  vif: listOf(parseVif),
  channel: listOf(parseChannel),
} as const satisfies Record<string, Reader<unknown>>;

type Read = { -readonly [K in keyof typeof readers]?: ReturnType<(typeof readers)[K]> };
const isKnown = (key: string): key is keyof typeof readers => Object.hasOwn(readers, key);

function appended(previous: XlValue | undefined, { key, value }: XlAssignment, file: string): XlValue {
  if (previous === undefined) return value;
  if (previous.kind === 'list' && value.kind === 'list')
    return { ...previous, items: [...previous.items, ...value.items] };
  if (previous.kind !== 'list' && value.kind !== 'list')
    return { ...previous, text: previous.text + value.text };
  throw new ConfigError(file, value, `${key} += mixes a list with a single value`);
}

/**
 * Reads an xl.cfg(5) file.
 * @param file what to call it in messages
 * @throws ConfigError with the line and column of what cannot be used
 */
export function parseXlConfig(source: string, file: string): XlConfig {
  const warnings: XlWarning[] = [];
  const reading: Reading = {
    file,
    warn: ({ line, column }, message) => warnings.push({ line, column, message }),
  };
  const values = new Map<string, XlValue>();
  const places = new Map<string, Position>();
  for (const assignment of parseXlSyntax(source.replace(/^\uFEFF/, ''), file)) {
    const { key, append } = assignment;
    const previous = values.get(key);
    if (previous !== undefined && !append) {
      reading.warn(assignment, `${key} is set a second time; the value in line ${previous.line} is dropped`);
    }
    values.set(key, append ? appended(previous, assignment, file) : assignment.value);
    places.set(key, assignment);
  }

  const read: Read = {};
  for (const [key, value] of values) {
    const place = places.get(key) ?? value;
    const missing = missingDevice(key);
    if (isKnown(key)) Object.assign(read, { [key]: readers[key](value, key, reading) });
    else if (missing !== undefined)
      reading.warn(
        place,
        `${key} has no effect: the PV ${missing.name} device (${missing.header}) is not implemented, and the guest finds none`,
      );
    else if (unsupportedKeys.includes(key)) reading.warn(place, `${key} has no effect here`);
    else reading.warn(place, `${key} is not a setting of xl.cfg(5)`);
  }

  for (const key of ['type', 'builder'] as const) {
    const value = values.get(key);
    if (value === undefined || value.kind === 'list') continue;
    const pv = key === 'type' ? ['pv'] : ['generic', 'linux'];
    if (!pv.includes(value.text)) {
      throw new ConfigError(
        file,
        value,
        `${key} is "${value.text}"; only paravirtualized guests run here`,
        'Set type = "pv" and a PV kernel',
      );
    }
  }
  if (read.kernel === undefined) {
    const bootloader = places.get('bootloader');
    if (bootloader !== undefined)
      reading.warn(
        bootloader,
        'a boot loader of the host cannot be run here; set kernel, and ramdisk if there is one',
      );
  }
  const { memory, maxmem, vcpus, maxvcpus } = read;
  if (memory !== undefined && maxmem !== undefined && maxmem < memory) {
    throw new ConfigError(
      file,
      places.get('maxmem') ?? { line: 1, column: 1 },
      `maxmem, ${maxmem} MiB, is less than memory, ${memory} MiB`,
    );
  }
  if (vcpus !== undefined && maxvcpus !== undefined && maxvcpus < vcpus) {
    throw new ConfigError(
      file,
      places.get('maxvcpus') ?? { line: 1, column: 1 },
      `maxvcpus, ${maxvcpus}, is less than vcpus, ${vcpus}`,
    );
  }
  if (read.cmdline !== undefined) {
    for (const key of ['root', 'extra'] as const) {
      const place = places.get(key);
      if (place !== undefined) reading.warn(place, `${key} is ignored in favour of cmdline`);
    }
  }
  const pieces = [
    ...(read.root === undefined ? [] : [`root=${read.root}`]),
    ...(read.extra === undefined ? [] : [read.extra]),
  ];
  const cmdline = read.cmdline ?? (pieces.length === 0 ? undefined : pieces.join(' '));

  return defined({
    name: read.name,
    uuid: read.uuid,
    kernel: read.kernel,
    ramdisk: read.ramdisk,
    cmdline,
    memory,
    maxmem,
    vcpus,
    maxvcpus,
    onPoweroff: read.on_poweroff,
    onReboot: read.on_reboot,
    onCrash: read.on_crash,
    onWatchdog: read.on_watchdog,
    onSoftReset: read.on_soft_reset,
    disks: read.disk ?? [],
    vifs: read.vif ?? [],
    channels: read.channel ?? [],
    warnings,
  });
}

type Defined<T> = { [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined> } & {
  [K in keyof T as undefined extends T[K] ? never : K]: T[K];
};

/** The same without the keys that are undefined. */
const defined = <T extends object>(all: T): Defined<T> =>
  Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Defined<T>;
