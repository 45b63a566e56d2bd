/**
 * Instructions that need privilege, which the guest's kernel executes in ring 3 all the same: they fault with
 * #GP(0) and are done here (pv_emulate_privileged_op, xen/arch/x86/pv/emul-priv-op.c). Only the few that Xen
 * emulates are decoded; everything else is the guest's fault to handle.
 */
import { hex } from '../abi/decoded';
import { VMASST_TYPE } from '../abi/mmu';
import { halfOf, wordOf, type FieldName } from '../cpu/state';
import type { Vcpu } from '../cpu/types';
import type { Core } from './core';
import { getDebugRegister, setDebugRegister } from './debugregs';
import { assists } from './domain';
import { MSRS } from './msr';
import { newKernelBase } from './basetables';
import { guestCpuid } from './cpuid';
import type { GuestVcpu, Outcome } from './types';
import { EFLAGS } from './bounce';
import { setInfoCr2 } from './vcpu';

/** SDM vol. 2 §2.1: registers in the order of their numbers. */
const GPR = [
  'rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15',
] as const satisfies readonly FieldName[]; // prettier-ignore
const gpr = (n: number): FieldName => GPR[n & 15] ?? 'rax';

const [RIP, ICOUNT] = [wordOf('rip'), wordOf('icount')];
/** Low halves. */
const [RAX, RBX, RCX, RDX] = [halfOf('rax'), halfOf('rbx'), halfOf('rcx'), halfOf('rdx')];
const RF = Number(EFLAGS.RF);

/** A 32-bit result: the upper half of the register is cleared (SDM vol. 1 §3.4.1.1). */
function setLow(halves: Uint32Array, register: number, value: number): void {
  halves[register] = value;
  halves[register + 1] = 0;
}

const MAX_INSTRUCTION = 15;
const CR0_TS = 1n << 3n;

interface Instruction {
  readonly length: number;
  readonly operand16: boolean;
  readonly repeat: boolean;
  readonly modrm: number;
  readonly rexR: number;
  readonly rexB: number;
  /** An immediate byte (ports). */
  readonly immediate: number;
}

/** An instruction and what is to be done for it. */
interface Emulated extends Instruction {
  readonly emulation: Emulation;
}

interface Emulation {
  readonly mnemonic: string;
  /** Only the guest's kernel may; default true. */
  readonly kernelOnly?: boolean;
  /** What it is about to do, for people. */
  text(v: GuestVcpu, i: Instruction): string;
  /** False: the guest gets its #GP. */
  run(core: Core, v: GuestVcpu, i: Instruction): boolean;
}

/** SDM vol. 2 INS/OUTS/IN/OUT: the low byte of the opcode says 8 bits or the operand size. */
const widthOf = (opcode: number, i: Instruction): number => ((opcode & 1) === 0 ? 1 : i.operand16 ? 2 : 4);

/** iopl_ok: the guest's kernel counts as level 1 (0 with architectural_iopl), its user as 3. */
function ioplAllows(v: GuestVcpu): boolean {
  const kernel = assists(v.domain, VMASST_TYPE.VMASST_TYPE_architectural_iopl) ? 0 : 1;
  return (v.state.kernelMode ? kernel : 3) <= v.state.iopl;
}

/** guest_io_okay: by level, or by the guest's own bitmap, as the processor's TSS would have it. */
function portAllowed(v: GuestVcpu, port: number, width: number): boolean {
  if (ioplAllows(v)) return true;
  const bitmap = v.state.ioBitmap;
  if (bitmap === undefined || port + width > bitmap.ports) return false;
  const bytes = new Uint8Array(2).fill(0xff);
  v.cpu.readLinear(bitmap.address + BigInt(port >> 3), bytes, 3);
  const word = (bytes[0] ?? 0xff) | ((bytes[1] ?? 0xff) << 8);
  return (word & (((1 << width) - 1) << (port & 7))) === 0;
}

/** Where the address goes of the PCI configuration word that 0xcfc is to be; Xen keeps it, for everybody. */
export const PCI_ADDRESS = 0xcf8;
const mask32 = 0xffff_ffffn;
const isPciAddress = (port: number, width: number): boolean => port === PCI_ADDRESS && width === 4;

/** No port belongs to an unprivileged domain: writes vanish, and reads find the bus floating. */
function portIn(opcode: number, portOf: (v: GuestVcpu, i: Instruction) => number): Emulation {
  return {
    mnemonic: 'in',
    kernelOnly: false,
    text: (v, i) => `in from port ${hex(portOf(v, i))}, ${widthOf(opcode, i)} bytes`,
    run: (_core, v, i) => {
      const width = widthOf(opcode, i);
      if (!portAllowed(v, portOf(v, i), width)) return false;
      const { halves } = v.cpu;
      if (width === 4) {
        setLow(halves, RAX, isPciAddress(portOf(v, i), width) ? v.domain.state.pciAddress : 0xffff_ffff);
      } else halves[RAX] = (halves[RAX] ?? 0) | (width === 1 ? 0xff : 0xffff);
      return true;
    },
  };
}
function portOut(opcode: number, portOf: (v: GuestVcpu, i: Instruction) => number): Emulation {
  return {
    mnemonic: 'out',
    kernelOnly: false,
    text: (v, i) => `out to port ${hex(portOf(v, i))}, ${widthOf(opcode, i)} bytes`,
    run: (_core, v, i) => {
      const width = widthOf(opcode, i);
      if (!portAllowed(v, portOf(v, i), width)) return false;
      if (isPciAddress(portOf(v, i), width)) v.domain.state.pciAddress = Number(v.cpu.get('rax') & mask32);
      return true;
    },
  };
}
const immediatePort = (_v: GuestVcpu, i: Instruction): number => i.immediate;
const dxPort = (v: GuestVcpu): number => (v.cpu.halves[RDX] ?? 0) & 0xffff;

function stringPort(opcode: number, input: boolean): Emulation {
  return {
    mnemonic: input ? 'ins' : 'outs',
    kernelOnly: false,
    text: (v) => `${input ? 'ins' : 'outs'} at port ${hex(dxPort(v))}`,
    run: (_core, v, i) => {
      const width = widthOf(opcode, i);
      if (!portAllowed(v, dxPort(v), width)) return false;
      const pointer = input ? 'rdi' : 'rsi';
      const step = BigInt((v.cpu.rflags & EFLAGS.DF) === 0n ? width : -width);
      // One element at a time when repeated: the instruction faults again for the next.
      const count = i.repeat ? v.cpu.get('rcx') : 1n;
      if (count === 0n) return true;
      const at = v.cpu.get(pointer);
      const data = new Uint8Array(width).fill(0xff);
      const done = input ? v.cpu.writeLinear(at, data, 3) : v.cpu.readLinear(at, data, 3);
      if (done < width) return false;
      v.cpu.set(pointer, BigInt.asUintN(64, at + step));
      if (!i.repeat) return true;
      v.cpu.set('rcx', count - 1n);
      if (count > 1n) v.cpu.set('rip', BigInt.asUintN(64, v.cpu.get('rip') - BigInt(i.length)));
      return true;
    },
  };
}

const ignore = (mnemonic: string, allowed: (v: GuestVcpu) => boolean): Emulation => ({
  mnemonic,
  text: () => `${mnemonic}: no effect`,
  run: (_core, v) => allowed(v),
});

const crNumber = (i: Instruction): number => ((i.modrm >> 3) & 7) | i.rexR;
const rmNumber = (i: Instruction): number => (i.modrm & 7) | i.rexB;

const readCr: Readonly<Partial<Record<number, (v: GuestVcpu) => bigint>>> = {
  0: (v) => (v.cpu.get('cr0') & ~CR0_TS) | (v.state.taskSwitched ? CR0_TS : 0n),
  2: (v) => v.state.cr2,
  3: (v) => BigInt(v.state.kernelTable) << 12n,
  4: (v) => v.state.cr4,
};

/** CR4 bits that follow the guest's wish: TSD, DE (pv_make_cr4); the others stay as they are. */
const CR4_GUEST = (1n << 2n) | (1n << 3n);

const writeCr: Readonly<Partial<Record<number, (core: Core, v: GuestVcpu, value: bigint) => boolean>>> = {
  0: (_core, v, value) => {
    if (((value ^ v.cpu.get('cr0')) & ~CR0_TS) !== 0n) return false;
    setTaskSwitched(v, (value & CR0_TS) !== 0n);
    return true;
  },
  2: (core, v, value) => {
    setInfoCr2(core, v, value);
    return true;
  },
  3: (core, v, value) => newKernelBase(core, v, Number((value >> 12n) & 0xf_ffff_ffffn)) === undefined,
  4: (_core, v, value) => {
    v.state.cr4 = (v.state.cr4 & ~CR4_GUEST) | (value & CR4_GUEST);
    v.cpu.set('cr4', (v.cpu.get('cr4') & ~CR4_GUEST) | (value & CR4_GUEST));
    return true;
  },
};

export function setTaskSwitched(v: GuestVcpu, set: boolean): void {
  v.state.taskSwitched = set;
  v.cpu.set('cr0', set ? v.cpu.get('cr0') | CR0_TS : v.cpu.get('cr0') & ~CR0_TS);
}

const pair64 = new BigUint64Array(1);
const pair32 = new Uint32Array(pair64.buffer);

function setPair(v: GuestVcpu, value: bigint): void {
  pair64[0] = value;
  setLow(v.cpu.halves, RAX, pair32[0] ?? 0);
  setLow(v.cpu.halves, RDX, pair32[1] ?? 0);
}
const pair = (v: GuestVcpu): bigint =>
  (v.cpu.get('rax') & 0xffff_ffffn) | ((v.cpu.get('rdx') & 0xffff_ffffn) << 32n);
const msrNumber = (v: GuestVcpu): number => v.cpu.halves[RCX] ?? 0;
const msrName = (v: GuestVcpu): string => MSRS[msrNumber(v)]?.name ?? hex(msrNumber(v));

/** By opcode; two-byte ones as 0x0fXX. */
export const EMULATED: Readonly<Partial<Record<number, Emulation>>> = {
  0x6c: stringPort(0x6c, true),
  0x6d: stringPort(0x6d, true),
  0x6e: stringPort(0x6e, false),
  0x6f: stringPort(0x6f, false),
  0xe4: portIn(0xe4, immediatePort),
  0xe5: portIn(0xe5, immediatePort),
  0xe6: portOut(0xe6, immediatePort),
  0xe7: portOut(0xe7, immediatePort),
  0xec: portIn(0xec, dxPort),
  0xed: portIn(0xed, dxPort),
  0xee: portOut(0xee, dxPort),
  0xef: portOut(0xef, dxPort),
  // Xen leaves the event mask alone here: it could not see a later POPF that means to enable again.
  0xfa: ignore('cli', ioplAllows),
  0xfb: ignore('sti', ioplAllows),
  0x0f06: {
    mnemonic: 'clts',
    text: () => 'clts: clears CR0.TS',
    run: (_core, v) => {
      setTaskSwitched(v, false);
      return true;
    },
  },
  0x0f09: ignore('wbinvd', () => true),
  0x0f20: {
    mnemonic: 'mov from cr',
    text: (_v, i) => `reads CR${crNumber(i)}`,
    run: (_core, v, i) => {
      const value = readCr[crNumber(i)]?.(v);
      if (value === undefined) return false;
      v.cpu.set(gpr(rmNumber(i)), value);
      return true;
    },
  },
  0x0f21: {
    mnemonic: 'mov from dr',
    text: (_v, i) => `reads DR${crNumber(i)}`,
    run: (_core, v, i) => {
      const value = getDebugRegister(v, crNumber(i));
      if (value === undefined) return false;
      v.cpu.set(gpr(rmNumber(i)), value);
      return true;
    },
  },
  0x0f22: {
    mnemonic: 'mov to cr',
    text: (v, i) => `writes ${hex(v.cpu.get(gpr(rmNumber(i))))} to CR${crNumber(i)}`,
    run: (core, v, i) => writeCr[crNumber(i)]?.(core, v, v.cpu.get(gpr(rmNumber(i)))) ?? false,
  },
  0x0f23: {
    mnemonic: 'mov to dr',
    text: (v, i) => `writes ${hex(v.cpu.get(gpr(rmNumber(i))))} to DR${crNumber(i)}`,
    run: (_core, v, i) => setDebugRegister(v, crNumber(i), v.cpu.get(gpr(rmNumber(i)))) === undefined,
  },
  0x0f30: {
    mnemonic: 'wrmsr',
    text: (v) => `writes ${hex(pair(v))} to MSR ${msrName(v)}`,
    run: (core, v) => MSRS[msrNumber(v)]?.write?.(v, pair(v), core) ?? false,
  },
  0x0f31: {
    mnemonic: 'rdtsc',
    kernelOnly: false,
    text: () => 'reads the time stamp counter',
    run: (core, v) => {
      setPair(v, core.now());
      return true;
    },
  },
  0x0f32: {
    mnemonic: 'rdmsr',
    text: (v) => `reads MSR ${msrName(v)}`,
    run: (core, v) => {
      const value = MSRS[msrNumber(v)]?.read?.(core, v);
      if (value === undefined) return false;
      setPair(v, value);
      return true;
    },
  },
};

/** Opcodes followed by a ModRM byte, and by an immediate byte. */
const WITH_MODRM: ReadonlySet<number> = new Set([0x0f20, 0x0f21, 0x0f22, 0x0f23]);
const WITH_IMMEDIATE: ReadonlySet<number> = new Set([0xe4, 0xe5, 0xe6, 0xe7]);
const PREFIXES: ReadonlySet<number> = new Set([
  0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3,
]);

/** SDM vol. 2 §2.1: prefixes, REX, one or two opcode bytes, and what the table above needs after them. */
function decode(bytes: Uint8Array): Emulated | undefined {
  let at = 0;
  let operand16 = false;
  let repeat = false;
  let rex = 0;
  let byte = bytes[at];
  while (byte !== undefined && PREFIXES.has(byte)) {
    if (byte === 0x66) operand16 = true;
    if (byte === 0xf2 || byte === 0xf3) repeat = true;
    byte = bytes[++at];
  }
  if (byte !== undefined && (byte & 0xf0) === 0x40) {
    rex = byte;
    byte = bytes[++at];
  }
  if (byte === undefined) return undefined;
  at++;
  let opcode = byte;
  if (byte === 0x0f) {
    const second = bytes[at++];
    if (second === undefined) return undefined;
    opcode = 0x0f00 | second;
  }
  const emulation = EMULATED[opcode];
  if (emulation === undefined) return undefined;
  const modrm = WITH_MODRM.has(opcode) ? bytes[at++] : 0;
  const immediate = WITH_IMMEDIATE.has(opcode) ? bytes[at++] : 0;
  if (modrm === undefined || immediate === undefined) return undefined;
  return {
    emulation,
    length: at,
    operand16,
    repeat,
    modrm,
    rexR: (rex & 4) << 1,
    rexB: (rex & 1) << 3,
    immediate,
  };
}

/** Where the instruction at hand is read to. */
const instructionBytes = new Uint8Array(MAX_INSTRUCTION);

/** What of the bytes at rip can be read, in `into` or at its beginning. */
function fetch(v: GuestVcpu, into: Uint8Array): Uint8Array {
  const done = v.cpu.readCode(v.cpu.words[RIP] ?? 0n, into);
  return done === into.length ? into : into.subarray(0, done);
}

/** An observer may look at it before it is done. */
export function emulatePrivileged(core: Core, v: GuestVcpu): Outcome | undefined {
  const i = lookUp(v);
  if (i === undefined) return undefined;
  const { emulation } = i;
  const text = (): string => emulation.text(v, i);
  if (core.observer.privileged?.(v, emulation.mnemonic, text) === true) {
    v.state.held = { kind: 'privileged', mnemonic: emulation.mnemonic, text: text() };
    return 'hold';
  }
  return perform(core, v, i);
}

function lookUp(v: GuestVcpu): Emulated | undefined {
  const i = decode(fetch(v, instructionBytes));
  return i === undefined || (!v.state.kernelMode && i.emulation.kernelOnly !== false) ? undefined : i;
}

/** For the guest it has executed: time passes, and a loop of nothing else does not stand still. */
const retire = ({ words }: Vcpu): void => {
  words[ICOUNT] = (words[ICOUNT] ?? 0n) + 1n;
};

export function performPrivileged(core: Core, v: GuestVcpu): Outcome | undefined {
  if (isForcedCpuid(v)) return performCpuid(core, v);
  const i = lookUp(v);
  return i === undefined ? undefined : perform(core, v, i);
}

function perform(core: Core, v: GuestVcpu, i: Emulated): Outcome | undefined {
  const { emulation } = i;
  const { cpu } = v;
  const rip = cpu.words[RIP] ?? 0n;
  // The array keeps the low 64 bits.
  cpu.words[RIP] = rip + BigInt(i.length);
  if (!emulation.run(core, v, i)) {
    cpu.words[RIP] = rip;
    return undefined;
  }
  const rest = cpu.flags;
  if ((rest & RF) !== 0) cpu.flags = rest & ~RF;
  retire(cpu);
  core.trace?.trap(v, emulation.mnemonic);
  return 'run';
}

/** `ud2; "xen"; cpuid`: CPUID as Xen answers it (arch-x86/xen.h XEN_EMULATE_PREFIX). */
const FORCED_CPUID = [0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2] as const;
const forcedBytes = new Uint8Array(FORCED_CPUID.length);

const isForcedCpuid = (v: GuestVcpu): boolean => {
  const bytes = fetch(v, forcedBytes);
  return FORCED_CPUID.every((b, i) => bytes[i] === b);
};

export function emulateInvalid(core: Core, v: GuestVcpu): Outcome | undefined {
  if (!isForcedCpuid(v)) return undefined;
  const text = (): string => `reads CPUID leaf ${hex(BigInt(v.cpu.halves[RAX] ?? 0))}`;
  if (core.observer.privileged?.(v, 'cpuid', text) === true) {
    v.state.held = { kind: 'privileged', mnemonic: 'cpuid', text: text() };
    return 'hold';
  }
  return performCpuid(core, v);
}

function performCpuid(core: Core, v: GuestVcpu): Outcome {
  const { cpu } = v;
  const { halves } = cpu;
  const r = guestCpuid(core, halves[RAX] ?? 0, halves[RCX] ?? 0);
  setLow(halves, RAX, r.eax);
  setLow(halves, RBX, r.ebx);
  setLow(halves, RCX, r.ecx);
  setLow(halves, RDX, r.edx);
  cpu.words[RIP] = (cpu.words[RIP] ?? 0n) + BigInt(FORCED_CPUID.length);
  retire(cpu);
  core.trace?.trap(v, 'cpuid');
  return 'run';
}
