import { EXIT } from '../exits';
import { GuestFault } from '../fault';
import type { Seg } from '../ops';
import { VECTOR } from '../ops';
import { PTE, WALK, walk } from '../paging';
import type { Access, Hooks, PhysicalMemory, Vcpu } from '../types';
import { ATTENTION, PAGE_SIZE } from '../types';
import { ACCESS } from '../wasm/abi';
import type { Arithmetic } from './arithmetic';
import { arithmetic } from './arithmetic';

/** What the oracle runs on: the same memory, state and hooks as the other tiers. */
export interface Machine {
  readonly mem: PhysicalMemory;
  readonly hooks: Hooks;
  /** Before a store into a frame: drops decoded code, copies on write (types.ts Cpu.beforeStore). */
  beforeStore(mfn: number): void;
}

const U64 = (1n << 64n) - 1n;
export const isCanonical = (a: bigint): boolean => BigInt.asUintN(64, BigInt.asIntN(48, a)) === a;

/** A piece of an access that lies in one page. */
interface Piece {
  readonly machine: number;
  readonly bytes: number;
}

/** Guest memory by page walk, without a TLB. */
export class GuestMemory {
  /** A watched frame was touched: leave with EXIT.WATCH after the instruction. */
  watched = false;

  constructor(
    private readonly machine: Machine,
    private readonly vcpu: Vcpu,
    /** Does the memory operand at hand fault as a stack access? */
    private readonly stackBased: () => boolean,
  ) {}

  private readonly walker: Arithmetic & Parameters<typeof walk<bigint, bigint>>[0] = {
    ...arithmetic(),
    ...unreachable,
    get: (f) => this.vcpu.get(f),
    physLoad: (w, at) => this.readPhysical(Number(at), w / 8),
    physStore: (w, at, v) => this.writePhysical(Number(at), w / 8, v),
  };

  /** A new instruction. */
  begin(): void {
    this.watched = false;
  }

  /** Machine address, or a thrown fault. */
  translate(linear: bigint, access: Access, supervisor = false, seg?: Seg): number {
    if (!isCanonical(linear)) {
      const stack = seg === 'ss' || (seg === 'operand' && this.stackBased());
      throw new GuestFault(stack ? VECTOR.SS : VECTOR.GP, 0);
    }
    const kind = access === 'write' ? ACCESS.WRITE : access === 'fetch' ? ACCESS.FETCH : ACCESS.READ;
    const user = !supervisor && this.vcpu.get('cpl') === 3n;
    const r = walk(this.walker, {
      linear,
      access: BigInt(kind),
      user: user ? 1n : 0n,
      cr3: this.vcpu.get('cr3'),
      probe: false,
    });
    if ((r & WALK.FAULT) !== 0n) throw new GuestFault(VECTOR.PF, Number(r & 0xffffn), linear);
    return Number(r & PTE.ADDRESS) + Number(linear & 0xfffn);
  }

  private pieces(address: bigint, bytes: number, access: Access, supervisor: boolean, seg?: Seg): Piece[] {
    // The whole access has to be canonical before any of it is looked up.
    const last = (address + BigInt(bytes - 1)) & U64;
    if (!isCanonical(last)) this.translate(last, access, supervisor, seg);
    const first = this.translate(address, access, supervisor, seg);
    const head = Math.min(bytes, PAGE_SIZE - (first % PAGE_SIZE));
    if (head === bytes) return [{ machine: first, bytes }];
    const second = this.translate((address + BigInt(head)) & U64, access, supervisor, seg);
    return [
      { machine: first, bytes: head },
      { machine: second, bytes: bytes - head },
    ];
  }

  private get size(): number {
    return this.machine.mem.frameCount * PAGE_SIZE;
  }

  /** Beyond the end memory reads as ones. */
  private readPhysical(at: number, bytes: number): bigint {
    const { mem } = this.machine;
    let v = 0n;
    for (let i = bytes - 1; i >= 0; i--)
      v = (v << 8n) | BigInt(at + i < this.size ? (mem.bytes[mem.framesBase + at + i] ?? 0) : 0xff);
    return v;
  }

  private writePhysical(at: number, bytes: number, value: bigint): void {
    const { mem } = this.machine;
    if (at + bytes > this.size) return;
    this.machine.beforeStore(Math.floor(at / PAGE_SIZE));
    for (let i = 0; i < bytes; i++)
      mem.bytes[mem.framesBase + at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
  }

  private watch(p: Piece, linear: bigint, write: boolean): void {
    const { mem, hooks } = this.machine;
    const bits = mem.attention[Math.floor(p.machine / PAGE_SIZE)] ?? 0;
    if ((bits & (write ? ATTENTION.WATCH_WRITE : ATTENTION.WATCH_READ)) === 0) return;
    if (!hooks.watch(this.vcpu, p.machine, linear, p.bytes, write)) return;
    this.watched = true;
    this.vcpu.setInt('exit_reason', EXIT.WATCH);
    this.vcpu.set('exit_address', linear);
    this.vcpu.setInt('exit_info', p.bytes | (write ? 0x100 : 0));
  }

  load(bytes: number, address: bigint, seg?: Seg, supervisor = false, intent: Access = 'read'): bigint {
    let v = 0n;
    let at = 0;
    for (const p of this.pieces(address, bytes, intent, supervisor, seg)) {
      this.watch(p, (address + BigInt(at)) & U64, false);
      v |= this.readPhysical(p.machine, p.bytes) << BigInt(8 * at);
      at += p.bytes;
    }
    return v;
  }

  store(bytes: number, address: bigint, value: bigint, seg?: Seg, supervisor = false): void {
    let at = 0;
    for (const p of this.pieces(address, bytes, 'write', supervisor, seg)) {
      this.watch(p, (address + BigInt(at)) & U64, true);
      this.writePhysical(p.machine, p.bytes, value >> BigInt(8 * at));
      at += p.bytes;
    }
  }

  probeWrite(bytes: number, address: bigint, seg?: Seg): void {
    this.pieces(address, bytes, 'write', false, seg);
  }
}

const never = (): never => {
  throw new Error('not part of a page walk');
};
/** What `walk` does not use of the vocabulary. */
const unreachable = {
  set: never, getx: never, setx: never, load: never, store: never, loadForWrite: never, probeWrite: never, loadx: never,
  storex: never, bulkMove: never, bulkFill: never, fp: never, fpSqrt: never, fpCompare: never, fpComi: never, fpToInt: never, intToFp: never, fpConvert: never,
  fpLanes: never, fpPacked: never, raise: never, exit: never, helper: never,
} as const; // prettier-ignore
