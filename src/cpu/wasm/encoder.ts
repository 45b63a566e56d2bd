import { WASM_PAGES } from './abi';
import type { ValType } from './opcodes';

/** A growing run of bytes with the encodings that the binary format uses (WebAssembly Core 2.0 §5.2). */
export class Bytes {
  private data = new Uint8Array(256);
  private used = 0;

  get length(): number {
    return this.used;
  }

  private reserve(more: number): void {
    if (this.used + more <= this.data.length) return;
    const grown = new Uint8Array(Math.max(this.data.length * 2, this.used + more));
    grown.set(this.data.subarray(0, this.used));
    this.data = grown;
  }

  byte(...values: readonly number[]): this {
    this.reserve(values.length);
    for (const v of values) this.data[this.used++] = v;
    return this;
  }

  /** Unsigned LEB128 of a 32-bit number. */
  u32(value: number): this {
    let v = value >>> 0;
    this.reserve(5);
    while (v >= 0x80) {
      this.data[this.used++] = (v & 0x7f) | 0x80;
      v >>>= 7;
    }
    this.data[this.used++] = v;
    return this;
  }

  /** Signed LEB128 of a 32-bit number. */
  s32(value: number): this {
    let v = value | 0;
    this.reserve(5);
    for (;;) {
      const low = v & 0x7f;
      v >>= 7;
      if ((v === 0 && (low & 0x40) === 0) || (v === -1 && (low & 0x40) !== 0)) {
        this.data[this.used++] = low;
        return this;
      }
      this.data[this.used++] = low | 0x80;
    }
  }

  /** Signed LEB128 of a 64-bit number. */
  s64(value: bigint): this {
    let v = BigInt.asIntN(64, value);
    if (v >= -0x80000000n && v <= 0x7fffffffn) return this.s32(Number(v));
    for (;;) {
      const low = Number(v & 0x7fn);
      v >>= 7n;
      if ((v === 0n && (low & 0x40) === 0) || (v === -1n && (low & 0x40) !== 0)) return this.byte(low);
      this.byte(low | 0x80);
    }
  }

  append(bytes: Uint8Array): this {
    this.reserve(bytes.length);
    this.data.set(bytes, this.used);
    this.used += bytes.length;
    return this;
  }

  name(text: string): this {
    this.u32(text.length);
    for (let i = 0; i < text.length; i++) this.byte(text.charCodeAt(i) & 0x7f);
    return this;
  }

  take(): Uint8Array {
    return this.data.slice(0, this.used);
  }
}

export const VALTYPE: Readonly<Record<ValType, number>> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
};

export interface Signature {
  readonly params: readonly ValType[];
  readonly results: readonly ValType[];
}

/** A function of the module under construction; its index is known once all imports are declared. */
export interface FunctionRef {
  readonly name: string;
  readonly signature: Signature;
  readonly index: number;
}

/** Builds one module: imports first, then functions, one table filled from index 0. */
export class ModuleBuilder {
  private readonly types: Bytes[] = [];
  private readonly typeIndex = new Map<string, number>();
  private readonly imports = new Bytes();
  private importCount = 0;
  private importedFunctions = 0;
  private importedGlobals = 0;
  private readonly functions: { type: number; body: Uint8Array | undefined }[] = [];
  private readonly exports = new Bytes();
  private exportCount = 0;
  private readonly elements: FunctionRef[] = [];
  private tableName: string | undefined;

  type(signature: Signature): number {
    const key = `${signature.params.join()}>${signature.results.join()}`;
    const known = this.typeIndex.get(key);
    if (known !== undefined) return known;
    const entry = new Bytes().byte(0x60);
    for (const list of [signature.params, signature.results]) {
      entry.u32(list.length);
      for (const t of list) entry.byte(VALTYPE[t]);
    }
    this.types.push(entry);
    this.typeIndex.set(key, this.types.length - 1);
    return this.types.length - 1;
  }

  /** A shared memory; `maximum` in 64 KiB pages must be at least the imported memory's. */
  importMemory(module: string, name: string, minimum: number, maximum: number): void {
    this.imports.name(module).name(name).byte(0x02, 0x03).u32(minimum).u32(maximum);
    this.importCount++;
  }
  /** The machine's (memory.ts), whatever its size. */
  importMachineMemory(): void {
    this.importMemory('env', 'memory', 1, WASM_PAGES);
  }

  importFunction(module: string, name: string, signature: Signature): FunctionRef {
    if (this.functions.length > 0) throw new Error(`import ${name} declared after a function`);
    this.imports.name(module).name(name).byte(0x00).u32(this.type(signature));
    this.importCount++;
    return { name, signature, index: this.importedFunctions++ };
  }

  /** A number that does not change; returns its index. */
  importGlobal(module: string, name: string, type: ValType): number {
    this.imports.name(module).name(name).byte(0x03, VALTYPE[type], 0x00);
    this.importCount++;
    return this.importedGlobals++;
  }

  /** Declares a function so that others can call it; `define` gives its body later. */
  declare(name: string, signature: Signature): FunctionRef {
    this.functions.push({ type: this.type(signature), body: undefined });
    return { name, signature, index: this.importedFunctions + this.functions.length - 1 };
  }

  define(ref: FunctionRef, body: Uint8Array): void {
    const slot = this.functions[ref.index - this.importedFunctions];
    if (slot === undefined || slot.body !== undefined)
      throw new Error(`function ${ref.name} cannot be defined`);
    slot.body = body;
  }

  export(ref: FunctionRef, name = ref.name): void {
    this.exports.name(name).byte(0x00).u32(ref.index);
    this.exportCount++;
  }

  /** Exports the table, which others may then grow. */
  exportTable(name: string): void {
    this.tableName = name;
  }

  /** Appends to the table; returns the table index. */
  element(ref: FunctionRef): number {
    this.elements.push(ref);
    return this.elements.length - 1;
  }

  finish(): Uint8Array {
    const out = new Bytes().byte(0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
    const section = (id: number, content: Bytes): void => {
      out.byte(id).u32(content.length).append(content.take());
    };
    const types = new Bytes().u32(this.types.length);
    for (const t of this.types) types.append(t.take());
    section(1, types);
    section(2, new Bytes().u32(this.importCount).append(this.imports.take()));
    const functions = new Bytes().u32(this.functions.length);
    for (const f of this.functions) functions.u32(f.type);
    section(3, functions);
    const size = this.elements.length;
    if (size > 0) {
      const limits =
        this.tableName === undefined
          ? new Bytes().byte(0x01).u32(size).u32(size)
          : new Bytes().byte(0x00).u32(size);
      section(4, new Bytes().u32(1).byte(0x70).append(limits.take()));
    }
    if (this.tableName !== undefined) {
      this.exports.name(this.tableName).byte(0x01).u32(0);
      this.exportCount++;
    }
    section(7, new Bytes().u32(this.exportCount).append(this.exports.take()));
    if (size > 0) {
      const elements = new Bytes().u32(1).byte(0x00, 0x41, 0x00, 0x0b).u32(size);
      for (const e of this.elements) elements.u32(e.index);
      section(9, elements);
    }
    const code = new Bytes().u32(this.functions.length);
    this.functions.forEach((f, i) => {
      if (f.body === undefined) throw new Error(`function ${this.importedFunctions + i} has no body`);
      code.u32(f.body.length).append(f.body);
    });
    section(10, code);
    return out.take();
  }
}
