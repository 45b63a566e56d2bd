import type { Emitter, Lowering } from '../ir/emitter';
import type { Node, Placing, Special } from '../ir/nodes';
import { offsetOf } from '../state';
import { TLB, TLB_ENTRIES, TLB_ENTRY_SHIFT } from '../wasm/abi';
import { stateInMemory } from '../wasm/lower';
import type { Nearness } from './near';
import type { RegionLocals } from './state';
import type { Loop } from './structure';

const CPU = 0;

const rawLoad = (width: number): string =>
  width === 128 ? 'v128.load' : width === 64 ? 'i64.load' : `i64.load${width}_u`;
const rawStore = (width: number): string =>
  width === 128 ? 'v128.store' : width === 64 ? 'i64.store' : `i64.store${width}`;

/** Bytes of the widest access. */
const WIDEST = 16;

/** Locals that remember a page: its address, how far from there any access lies inside it (0: nothing is remembered), the addend. */
interface Page {
  readonly address: number;
  readonly limit: number;
  readonly addend: number;
}

/** What accesses and floating-point operations become inside a region. `call`: index of an imported function. */
export function lowerRegion(locals: RegionLocals, near: Nearness, call: (name: string) => number): Lowering {
  let entryLocal = -1;
  const entry = (e: Emitter): number => (entryLocal < 0 ? (entryLocal = e.newLocal('i32')) : entryLocal);
  const must = (placing: Placing | undefined): Placing => {
    if (placing === undefined) throw new Error('an access in a region has nowhere to depart to');
    return placing;
  };

  /** Pages that loops remember, by loop and name. */
  const pages = new Map<object, Map<string, Page>>();
  const pageFor = (e: Emitter, address: Node, write: boolean, loop: Loop | undefined): Page | undefined => {
    const name = loop && near.nameOf(address, loop);
    if (loop === undefined || name === undefined) return undefined;
    let known = pages.get(loop);
    if (known === undefined) pages.set(loop, (known = new Map<string, Page>()));
    const key = write ? `${name} w` : name;
    let page = known.get(key);
    if (page === undefined) {
      page = { address: e.newLocal('i64'), limit: e.newLocal('i64'), addend: e.newLocal('i32') };
      known.set(key, page);
    }
    return page;
  };

  /** Pushes the address in linear memory of `bytes` at a linear address. */
  const translate = (e: Emitter, address: Node, bytes: number, write: boolean, placing: Placing): void => {
    const page = pageFor(e, address, write, placing.loop as Loop | undefined);
    const va = e.toLocal(address);
    if (page !== undefined)
      e.getLocal(va).getLocal(page.address).op('i64.sub').getLocal(page.limit).op('i64.ge_u').if();
    const at = entry(e);
    e.getLocal(va)
      .i64(BigInt(12 - TLB_ENTRY_SHIFT))
      .op('i64.shr_u')
      .op('i32.wrap_i64')
      .i32((TLB_ENTRIES - 1) << TLB_ENTRY_SHIFT)
      .op('i32.and')
      .getLocal(locals.of('tlb'))
      .op('i32.add')
      .teeLocal(at)
      .memory('i64.load', write ? TLB.tagWrite : TLB.tagRead)
      .getLocal(va);
    if (bytes > 1) e.i64(BigInt(bytes - 1)).op('i64.add');
    e.i64(-4096n).op('i64.and');
    if (page !== undefined) e.teeLocal(page.address);
    // No call here: the host's compiler would keep nothing in registers around it.
    e.op('i64.ne').if();
    e.leave(placing.bail);
    e.end();
    if (page !== undefined) {
      e.getLocal(at).memory('i32.load', TLB.addend).setLocal(page.addend);
      e.i64(BigInt(4096 - WIDEST + 1)).setLocal(page.limit);
      e.end();
    }
    e.getLocal(va).op('i32.wrap_i64');
    if (page !== undefined) e.getLocal(page.addend);
    else e.getLocal(at).memory('i32.load', TLB.addend);
    e.op('i32.add');
  };

  type Act<K extends Special['op']> = Extract<Special, { op: K }>;
  const guestLoad = (
    e: Emitter,
    act: Act<'guestLoad'>,
    args: readonly Node[],
    result: Node | undefined,
    placing: Placing,
  ): void => {
    const [address] = args;
    if (address === undefined) return;
    translate(e, address, act.width / 8, act.write, placing);
    if (act.host) e.teeLocal(e.slotOf(act.host));
    e.memory(rawLoad(act.width));
    e.bind(result);
  };
  const guestStore = (e: Emitter, act: Act<'guestStore'>, args: readonly Node[], placing: Placing): void => {
    const [address, v] = args;
    if (address === undefined || v === undefined) return;
    if (act.host) e.getLocal(e.slotOf(act.host));
    else translate(e, address, act.width / 8, true, placing);
    e.value(v).memory(rawStore(act.width));
  };

  return {
    ...stateInMemory,
    special(e, act, args, result, placing) {
      switch (act.op) {
        case 'guestLoad':
          guestLoad(e, act, args, result, must(placing));
          return;
        case 'guestStore':
          guestStore(e, act, args, must(placing));
          return;
        case 'fp':
          e.getLocal(CPU);
          for (const a of args) e.value(a);
          e.call(call(`fp_${act.name}`));
          e.bind(result);
          return;
        case 'bulk':
          e.getLocal(CPU);
          for (const a of args) e.value(a);
          e.i32(act.shift).call(call(act.name));
          e.bind(result);
          return;
        case 'fpCheck':
          e.getLocal(CPU).memory('i32.load', offsetOf('fp_flags')).if();
          e.leave(must(placing).bail);
          e.end();
          return;
        default:
          throw new Error(`${act.op} in a region`);
      }
    },
  };
}
