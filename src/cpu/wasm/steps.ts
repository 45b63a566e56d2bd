import { Emitter, LocalPool, type Lowering } from '../ir/emitter';
import type { Block } from '../ir/nodes';
import { Recorder } from '../ir/recorder';
import { RECORD } from '../record';
import type { Form } from '../encoding';
import { RC } from './abi';
import { Bytes } from './encoder';
import { lowerHandler, lowerRoutine, prologue, type Together } from './lower';
import { setField, type Routines } from './routines';
import { recordChain } from './run';

const CPU = 0;
const REC = 1;
const PARAMS = 2;
/** WebAssembly Core 2.0 §5.4.1. */
const [UNREACHABLE, BLOCK, LOOP, END, BR_TABLE, VOID] = [0x00, 0x02, 0x03, 0x0b, 0x0e, 0x40];

/** Declares what the others call: steps(cpu, record) runs records from this one on, as the handlers return. */
export function declareSteps(t: Routines): void {
  t.functions.set('steps', t.builder.declare('steps', { params: ['i32', 'i32'], results: ['i32'] }));
}

/**
 * The frequent handlers, and the way from block to block, in one function: a table of jumps inside it costs some
 * instructions, where a tail call through the module's table costs thirty, a frame and a reload of what the host's
 * compiler keeps of the instance. `hot`: forms in the order of their numbers in records, and what records their
 * semantics; whatever has a higher number is called.
 */
export function defineSteps(
  t: Routines,
  helperNumber: (name: string) => number,
  hot: readonly { readonly form: Pick<Form, 'ends' | 'branch' | 'mnemonic'>; readonly record: () => Block }[],
): void {
  const ref = t.functions.get('steps');
  if (ref === undefined) throw new Error('steps is not declared');
  const pool = new LocalPool();
  const next = PARAMS + pool.reserve('i64');
  const leave = PARAMS + pool.reserve('i32');
  const routine = lowerRoutine(t.functions, t.handlerType);
  const out = new Bytes();
  const part = (lowering: Lowering, block: Block, code: (e: Emitter) => void, finish: (e: Emitter) => void): void => {
    const e = new Emitter(PARAMS, lowering, pool);
    code(e);
    out.append(e.part(block, finish));
  }; // prettier-ignore
  const nothing = (): void => undefined;

  // Labels, from the outside: again, chain, returns, others, one for each handler; what a label is for follows its block.
  out.byte(LOOP, VOID, BLOCK, VOID, BLOCK, VOID, BLOCK, VOID);
  for (let i = 0; i < hot.length; i++) out.byte(BLOCK, VOID);
  part(routine, [], (e) => e.getLocal(REC).memory('i32.load16_u', RECORD.handler), nothing);
  out.byte(BR_TABLE).u32(hot.length);
  for (let i = 0; i <= hot.length; i++) out.u32(i);
  hot.forEach(({ form, record }, i) => {
    const around = hot.length - 1 - i;
    const together: Together = {
      next,
      leave,
      again: (e) => void e.outward(around + 3),
      chain: (e, returns) => void e.outward(around + (returns ? 1 : 2)),
    };
    const lowering = lowerHandler(t, helperNumber, form, together);
    out.byte(END);
    part(lowering, record(), (e) => prologue(e, form.ends, together), (e) => lowering.finish(e)); // prettier-ignore
  });
  out.byte(END);
  const call = (e: Emitter): void =>
    void e.getLocal(CPU).getLocal(REC).getLocal(REC).memory('i32.load16_u', RECORD.handler).returnCallIndirect(t.handlerType); // prettier-ignore
  part(routine, [], call, nothing);
  for (const returns of [true, false]) {
    out.byte(END);
    const r = new Recorder();
    const to = r.param('i64', next);
    const end = (): void => {
      setField(r, 'next', to);
      r.return(r.i32(RC.END));
    };
    recordChain(r, { cpu: r.param('i32', CPU), rec: r.param('i32', REC), next: to, returns, end });
    const jump: Lowering = {
      ...routine,
      special(e, act, args, ...rest) {
        const [, first] = args;
        if (act.op !== 'call' || act.name !== 'goto' || first === undefined) routine.special(e, act, args, ...rest);
        else e.value(first).setLocal(REC).outward(returns ? 1 : 0);
      },
    }; // prettier-ignore
    part(jump, r.body, nothing, nothing);
  }
  // All ways go on or return.
  out.byte(END, UNREACHABLE, END);
  t.builder.define(ref, new Bytes().append(pool.declare()).append(out.take()).take());
}
