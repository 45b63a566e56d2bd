// The part of the WebAssembly JavaScript interface that the core uses (W3C, WebAssembly JavaScript Interface 2.0).
// Neither ES2022 nor Node's types declare it, and lib.dom would let the rest of the browser in with it.

declare namespace WebAssembly {
  type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128' | 'anyfunc' | 'externref';
  type ExportedFunction = (...args: (number | bigint)[]) => number | bigint | undefined;
  // A function of any signature can be imported; `never[]` is the parameter list that all of them accept.
  type ImportedFunction = (...args: never[]) => unknown;
  type ImportValue = ImportedFunction | Memory | Table | Global | number | bigint;
  type Imports = Record<string, Record<string, ImportValue>>;
  type ExportValue = ExportedFunction | Memory | Table | Global;

  interface MemoryDescriptor {
    /** In units of 64 KiB pages, as is `maximum`. */
    initial: number;
    maximum?: number;
    shared?: boolean;
  }
  class Memory {
    constructor(descriptor: MemoryDescriptor);
    readonly buffer: ArrayBuffer | SharedArrayBuffer;
    /** @returns the previous size in 64 KiB pages. Throws a RangeError when it cannot grow. */
    grow(pages: number): number;
  }

  class Table {
    constructor(descriptor: { element: 'anyfunc' | 'externref'; initial: number; maximum?: number });
    readonly length: number;
    get(index: number): ExportedFunction | null;
    set(index: number, value: ExportedFunction | null): void;
    grow(delta: number): number;
  }

  class Global {
    constructor(descriptor: { value: ValueType; mutable?: boolean }, value?: number | bigint);
    value: number | bigint;
  }

  class Module {
    /** Compiles synchronously. Throws a CompileError. */
    constructor(bytes: ArrayBufferView | ArrayBuffer);
    static exports(module: Module): { name: string; kind: string }[];
    static imports(module: Module): { module: string; name: string; kind: string }[];
  }

  class Instance {
    /** Links synchronously. Throws a LinkError, or what the start function throws. */
    constructor(module: Module, imports?: Imports);
    readonly exports: Readonly<Record<string, ExportValue>>;
  }

  function validate(bytes: ArrayBufferView | ArrayBuffer): boolean;
  function compile(bytes: ArrayBufferView | ArrayBuffer): Promise<Module>;
  function instantiate(module: Module, imports?: Imports): Promise<Instance>;

  class CompileError extends Error {}
  class LinkError extends Error {}
  class RuntimeError extends Error {}
}
