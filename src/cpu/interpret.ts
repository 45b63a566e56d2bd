import type { Form } from './encoding';
import { handlersOf } from './interpreter-module';
import { Emitter } from './ir/emitter';
import { asOps, irOps } from './ir/ops';
import { asSource, recordSource } from './ir/record-source';
import { Recorder } from './ir/recorder';
import { execute } from './operands';
import { RECORD, RECORD_SIZE } from './record';
import { offsetOf } from './state';
import type { Block } from './ir/nodes';
import { ModuleBuilder, type FunctionRef } from './wasm/encoder';
import { defineBulk } from './wasm/bulk';
import { defineFloatingPoint } from './wasm/floating-point';
import { lowerHandler, prologue } from './wasm/lower';
import { REGION_CALLS } from './wasm/region-calls';
import { defineRoutines, type Routines } from './wasm/routines';
import { defineChain, defineRun } from './wasm/run';
import { declareSteps, defineSteps } from './wasm/steps';

export interface Interpreter {
  readonly bytes: Uint8Array;
  /** Table index of the record that closes a block which no branch ends. */
  readonly endOfBlock: number;
  /** Helpers named by semantics and not in the registry: they raise an error when executed. */
  readonly missingHelpers: readonly string[];
  /** Bytes of each form's handler, by form number: for finding the fat ones. */
  readonly sizes: readonly number[];
}

function semanticsOf(form: Form): Block {
  const r = new Recorder();
  execute(form, asOps(irOps(r)), asSource(recordSource(r)));
  return r.body;
}

/** One handler: the form's semantics, recorded and emitted. */
function defineHandler(
  t: Routines,
  form: Form,
  helperNumber: (name: string) => number,
): { readonly ref: FunctionRef; readonly size: number } {
  const ref = t.builder.declare(`form${form.number}`, { params: ['i32', 'i32'], results: ['i32'] });
  const lowering = lowerHandler(t, helperNumber, form);
  const e = new Emitter(2, lowering);
  prologue(e, form.ends);
  const body = e.function(semanticsOf(form), (end) => lowering.finish(end));
  t.builder.define(ref, body);
  return { ref, size: body.length };
}

/** The record after a block's last instruction, when that is no branch: `next` of the record before. */
function defineEndOfBlock(t: Routines): void {
  t.define('end_of_block', ['i32', 'i32'], ['i32'], (r, cpu, record) => {
    const next = r.pure('i64.load', [r.n('i32.sub', record, r.i32(RECORD_SIZE))], RECORD.next);
    r.store('i64.store', cpu, next, offsetOf('next'));
    r.callVoid('chain_tail', [cpu, r.n('i32.sub', record, r.i32(RECORD_SIZE))]);
    return undefined;
  });
  const ref = t.functions.get('end_of_block');
  if (ref !== undefined) t.builder.element(ref);
}

/** What stands in the table where somebody may put a function that sees to exits: nothing is seen to. */
function defineCrossing(t: Routines): void {
  t.define('no_crossing', ['i32', 'i32'], ['i32'], (r) => r.i32(0));
  const ref = t.functions.get('no_crossing');
  if (ref !== undefined) t.builder.element(ref);
}
/**
 * Generates the interpreter's module: a handler for every form, at the form's number in the table, and the
 * run loop with its slow paths. `helpers`: names of the registry, in its order. `key`: interpreterKey().
 */
export function generateInterpreter(
  forms: readonly Form[],
  helpers: readonly string[],
  key?: string,
): Interpreter {
  const builder = new ModuleBuilder();
  builder.importMachineMemory();
  const t = defineRoutines(builder);
  defineFloatingPoint(t);
  defineBulk(t);
  declareSteps(t);
  defineChain(t);
  const missing = new Set<string>();
  const helperNumber = (name: string): number => {
    const n = helpers.indexOf(name);
    if (n < 0) missing.add(name);
    return n;
  };
  const handlers = forms.map((form, i) => {
    if (form.number !== i) throw new Error(`form ${form.number} (${form.encoding.text}) stands at ${i}`);
    try {
      return defineHandler(t, form, helperNumber);
    } catch (error) {
      throw new Error(`${form.mnemonic} '${form.encoding.text}': ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  }); // prettier-ignore
  const { hot, endOfBlock, crossing } = handlersOf(forms);
  defineSteps(
    t,
    helperNumber,
    hot.map((form) => ({ form, record: () => semanticsOf(form) })),
  );
  for (const form of [...hot, ...forms]) {
    const handler = handlers[form.number];
    if (handler !== undefined) t.builder.element(handler.ref);
  }
  defineEndOfBlock(t);
  defineCrossing(t);
  defineRun(t, endOfBlock, crossing);
  for (const name of [
    'run',
    'walk',
    'walk_probe',
    'fetch',
    'attend',
    'ask_watch',
    'flush_set',
    ...REGION_CALLS.keys(),
  ]) {
    const ref = t.functions.get(name);
    if (ref !== undefined) builder.export(ref);
  }
  builder.exportTable('table');
  const run = t.functions.get('run');
  if (run !== undefined && key !== undefined) builder.export(run, key);
  return {
    bytes: builder.finish(),
    endOfBlock,
    missingHelpers: [...missing].sort(),
    sizes: handlers.map((h) => h.size),
  };
}
