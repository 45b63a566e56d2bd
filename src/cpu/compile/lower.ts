import type { Emitter, Lowering } from '../ir/emitter';
import type { Departure, Node, Special } from '../ir/nodes';
import { offsetOf } from '../state';
import { TLB, TLB_ENTRIES, TLB_ENTRY_SHIFT } from '../wasm/abi';
import { stateInMemory } from '../wasm/lower';
import type { RegionLocals } from './state';

const CPU = 0;

const rawLoad = (width: number): string =>
  width === 128 ? 'v128.load' : width === 64 ? 'i64.load' : `i64.load${width}_u`;
const rawStore = (width: number): string =>
  width === 128 ? 'v128.store' : width === 64 ? 'i64.store' : `i64.store${width}`;

/** What accesses and floating-point operations become inside a region. `call`: index of an imported function. */
export function lowerRegion(locals: RegionLocals, call: (name: string) => number): Lowering {
  let entryLocal = -1;
  const entry = (e: Emitter): number => (entryLocal < 0 ? (entryLocal = e.newLocal('i32')) : entryLocal);
  const must = (bail: Departure | undefined): Departure => {
    if (bail === undefined) throw new Error('an access in a region has nowhere to depart to');
    return bail;
  };

  /** Pushes the address in linear memory of `bytes` at the linear address in local `va`. */
  const translate = (e: Emitter, va: number, bytes: number, write: boolean, bail: Departure): void => {
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
    // No call here: the host's compiler would keep nothing in registers around it.
    e.i64(-4096n).op('i64.and').op('i64.ne').if();
    e.leave(bail);
    e.end();
    e.getLocal(va).op('i32.wrap_i64').getLocal(at).memory('i32.load', TLB.addend).op('i32.add');
  };

  type Act<K extends Special['op']> = Extract<Special, { op: K }>;
  const guestLoad = (
    e: Emitter,
    act: Act<'guestLoad'>,
    args: readonly Node[],
    result: Node | undefined,
    bail: Departure,
  ): void => {
    const [address] = args;
    if (address === undefined) return;
    translate(e, e.toLocal(address), act.width / 8, act.write, bail);
    if (act.host) e.teeLocal(e.slotOf(act.host));
    e.memory(rawLoad(act.width));
    e.bind(result);
  };
  const guestStore = (e: Emitter, act: Act<'guestStore'>, args: readonly Node[], bail: Departure): void => {
    const [address, v] = args;
    if (address === undefined || v === undefined) return;
    if (act.host) e.getLocal(e.slotOf(act.host));
    else translate(e, e.toLocal(address), act.width / 8, true, bail);
    e.value(v).memory(rawStore(act.width));
  };

  return {
    ...stateInMemory,
    special(e, act, args, result, bail) {
      switch (act.op) {
        case 'guestLoad':
          guestLoad(e, act, args, result, must(bail));
          return;
        case 'guestStore':
          guestStore(e, act, args, must(bail));
          return;
        case 'fp':
          e.getLocal(CPU);
          for (const a of args) e.value(a);
          e.call(call(`fp_${act.name}`));
          e.bind(result);
          return;
        case 'fpCheck':
          e.getLocal(CPU).memory('i32.load', offsetOf('fp_flags')).if();
          e.leave(must(bail));
          e.end();
          return;
        default:
          throw new Error(`${act.op} in a region`);
      }
    },
  };
}
