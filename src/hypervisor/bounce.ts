/**
 * Entering a handler of the guest's kernel: the frame that Xen pushes (create_bounce_frame, xen/arch/x86/x86_64/
 * entry.S). From the top of the new stack: rcx, r11, [ds es fs gs], [error code], rip, cs with the saved upcall
 * mask in bits 32–39, rflags, rsp, ss.
 */
import { hex } from '../abi/decoded';
import { HYPERVISOR_VIRT_END, HYPERVISOR_VIRT_START, VMASST_TYPE } from '../abi/mmu';
import { guestVa, isCanonical } from '../base/branded';
import { highHalf } from '../base/words';
import { halfOf, wordOf } from '../cpu/state';
import type { Core } from './core';
import { assists, crash } from './domain';
import { explainFault } from './guest-memory';
import type { GuestVcpu } from './types';
import { FLAT_KERNEL_CS, FLAT_KERNEL_SS, setUpcallMask, toggleMode, upcallMasked } from './vcpu';

/** SDM vol. 1 §3.4.3. */
export const EFLAGS = {
  TF: 1n << 8n,
  IF: 1n << 9n,
  DF: 1n << 10n,
  IOPL: 3n << 12n,
  NT: 1n << 14n,
  RF: 1n << 16n,
  VM: 1n << 17n,
} as const;

/** EFLAGS, of a number. */
const [TF, IF, IOPL, NT, RF, VM] = [EFLAGS.TF, EFLAGS.IF, EFLAGS.IOPL, EFLAGS.NT, EFLAGS.RF, EFLAGS.VM].map(
  Number,
) as [number, number, number, number, number, number];

/** Where to. */
export interface Handler {
  readonly address: bigint;
  readonly maskEvents: boolean;
}
export interface Extra {
  readonly error?: number | undefined;
  readonly failsafe?: boolean;
}

const [RIP, RSP, RCX, R11] = [wordOf('rip'), wordOf('rsp'), wordOf('rcx'), wordOf('r11')];
const [CS, SS] = [halfOf('cs'), halfOf('ss')];
const KERNEL_CS = Number(FLAT_KERNEL_CS);
const KERNEL_SS = Number(FLAT_KERNEL_SS);

/** The frame under construction: eleven words at most, of the lowest address first; and its bytes by number. */
const words = new BigUint64Array(11);
const halves = new Uint32Array(words.buffer);
const frames = Array.from({ length: words.length + 1 }, (_, n) => new Uint8Array(words.buffer, 0, n * 8));

/** The stack pointer and its halves. */
const stack64 = new BigUint64Array(1);
const stack32 = new Uint32Array(stack64.buffer);
/** Upper halves of where Xen's part begins and ends; the lower ones are zero. */
const [XEN_START, XEN_END] = [highHalf(HYPERVISOR_VIRT_START), highHalf(HYPERVISOR_VIRT_END)];

/**
 * @param what is being delivered, for the message when it cannot be
 * @returns false when the guest cannot take it: its domain has crashed then
 */
export function bounce(
  core: Core,
  v: GuestVcpu,
  what: string | (() => string),
  to: Handler,
  extra?: Extra,
): boolean {
  const { cpu, state, domain } = v;
  const rip = cpu.words[RIP] ?? 0n;
  const lost = (why: string): false => {
    const said = typeof what === 'string' ? what : what();
    crash(core, domain, `vCPU ${v.id} at rip ${hex(rip)}: ${why.replace('%', () => said)}`);
    return false;
  };
  if (to.address === 0n) return lost('%, and the guest has no handler for it');
  const fromKernel = state.kernelMode;
  const flags = cpu.flags;
  const cs = cpu.halves[CS] ?? 0;
  const ss = cpu.halves[SS] ?? 0;
  const rsp = cpu.words[RSP] ?? 0n;
  if (!fromKernel) toggleMode(v);

  // The stack is aligned first, so a frame never straddles oddly whatever the guest's rsp was.
  stack64[0] = fromKernel ? rsp : state.kernelSp;
  const topLow = ((stack32[0] ?? 0) & ~15) >>> 0;
  const topHigh = stack32[1] ?? 0;
  const masked = upcallMasked(core, v);
  const iopl = assists(domain, VMASST_TYPE.VMASST_TYPE_architectural_iopl) ? state.iopl << 12 : 0;
  let n = 0;
  words[n++] = cpu.words[RCX] ?? 0n;
  words[n++] = cpu.words[R11] ?? 0n;
  if (extra?.failsafe === true)
    for (const name of ['ds', 'es', 'fs', 'gs'] as const) words[n++] = cpu.get(name);
  const small = (low: number, high = 0): void => {
    halves[2 * n] = low;
    halves[2 * n + 1] = high;
    n++;
  };
  if (extra?.error !== undefined) small(extra.error);
  words[n++] = rip;
  // The guest's kernel sees itself at privilege level 0.
  small(fromKernel ? cs & ~3 : cs, masked ? 1 : 0);
  small((flags & ~(IF | IOPL)) | (masked ? 0 : IF) | iopl);
  words[n++] = rsp;
  small(fromKernel ? ss & ~3 : ss);
  const frame = frames[n] ?? new Uint8Array(0);
  const below = topLow - n * 8;
  const high = below < 0 ? (topHigh - 1) >>> 0 : topHigh;
  stack32[0] = below;
  stack32[1] = high;
  const sp = stack64[0];

  const stack = (): string => `its kernel stack at ${hex(BigInt.asUintN(64, sp + BigInt(n * 8)))}`;
  if (high < XEN_END && (topHigh > XEN_START || (topHigh === XEN_START && topLow > 0)))
    return lost(`% cannot be delivered: ${stack()} lies in Xen's part of the address space`);
  if (!isCanonical(guestVa(to.address)))
    return lost(`the handler of %, ${hex(to.address)}, is not canonical`);
  const done = cpu.writeLinear(sp, frame, 3);
  if (done < frame.length) {
    const why = explainFault(core.memory, cpu.get('cr3'), sp + BigInt(done), true);
    return lost(`% cannot be delivered, ${stack()} faults: ${why}`);
  }
  if (to.maskEvents) setUpcallMask(core, v, true);
  cpu.words[RSP] = sp;
  cpu.words[RIP] = to.address;
  cpu.halves[CS] = KERNEL_CS;
  cpu.halves[SS] = KERNEL_SS;
  cpu.flags = flags & ~(VM | RF | NT | TF);
  return true;
}
