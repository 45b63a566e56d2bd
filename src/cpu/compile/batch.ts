import { interpreterKey } from '../interpreter-module';
import { ModuleBuilder } from '../wasm/encoder';
import { REGION_CALLS } from '../wasm/region-calls';
import type { Region } from './discover';
import { Unsupported } from './record';
import { compileRegion } from './region';

/** A region to be compiled. Plain data, as are batches: another thread may do it. */
export interface Job {
  readonly region: Region;
  /** Instructions of the interpreter's block at its entry. */
  readonly entryCount: number;
}

/** What became of a job. */
export interface Piece {
  /** Bytes of WebAssembly. */
  readonly size: number;
  readonly instructions: number;
  /** Link records that it needs, in a row. */
  readonly links: number;
}

/** Regions are the exports `r0`, `r1` … of one module, and begin with their link records at the imported `l0`, `l1` … */
export interface Batch {
  /** Of the declarations that it was made of: another thread may have others. */
  readonly key: string;
  readonly module: WebAssembly.Module;
  /** By job; undefined: it has something that regions leave to the interpreter. */
  readonly pieces: readonly (Piece | undefined)[];
}

/**
 * Whoever compiles batches: this thread, or another, beside the guest's. Nothing the guest can see depends on when a
 * batch is done.
 */
export interface BatchCompiler {
  begin(jobs: readonly Job[]): void;
  /** The next one that is done, in the order in which they were begun. Asked after each run: it has to cost next to nothing. */
  done(): Batch | undefined;
}

let key: string | undefined;
export const batchKey = (): string => (key ??= interpreterKey());

export function compileBatch(jobs: readonly Job[]): Batch {
  const builder = new ModuleBuilder();
  builder.importMachineMemory();
  const calls = new Map<string, number>();
  for (const [name, signature] of REGION_CALLS)
    calls.set(name, builder.importFunction('env', name, signature).index);
  const links = jobs.map((_, n) => builder.importGlobal('env', `l${n}`, 'i32'));
  const pieces = jobs.map(({ region, entryCount }, n): Piece | undefined => {
    try {
      const call = (name: string): number => calls.get(name) ?? 0;
      const code = compileRegion(region, { call, entryCount, links: links[n] ?? 0 });
      const ref = builder.declare(`r${n}`, { params: ['i32', 'i32'], results: ['i32'] });
      builder.define(ref, code.body);
      builder.export(ref);
      return { size: code.body.length, instructions: code.instructions, links: code.links };
    } catch (error) {
      if (error instanceof Unsupported) return undefined;
      throw error;
    }
  });
  return { key: batchKey(), module: new WebAssembly.Module(builder.finish()), pieces };
}

/** In this thread, which waits for it. */
export function compileHere(): BatchCompiler {
  const batches: Batch[] = [];
  return {
    begin: (jobs) => void batches.push(compileBatch(jobs)),
    done: () => batches.shift(),
  };
}
