import { lineTable } from '../guest/dwarf/line';
import { ImageError } from '../guest/error';
import { loadImage } from '../guest/image';
import { kernelSymbols } from '../guest/symbols';
import type { SymbolTable } from '../guest/symbols';
import type { SymbolIndex } from './symbols';
import { noSymbols } from './symbols';

/** The debugger's view of a guest's own symbol table. A PV kernel runs where it was linked: nothing is relocated. */
const namesOf = (table: SymbolTable): Pick<SymbolIndex, 'at' | 'find' | 'complete' | 'count'> => ({
  count: table.count,
  at: (address) => {
    const found = table.at(address);
    return found === undefined
      ? undefined
      : { name: found.name, address: found.address, offset: BigInt(found.offset) };
  },
  find: (name) => table.named(name)[0]?.address,
  complete: (prefix, limit) => table.complete(prefix, limit),
});

/**
 * What an image says about its code. An image that says nothing, or lies about it, has no symbols: whether it can
 * be booted is for the domain builder to tell.
 */
export async function guestSymbols(kernel: {
  readonly name: string;
  readonly bytes: Uint8Array;
}): Promise<SymbolIndex> {
  try {
    const image = await loadImage(kernel.bytes, kernel.name);
    const { table } = kernelSymbols(image);
    const lines = lineTable(image.elf, (address) => table.at(address)?.address);
    return {
      ...namesOf(table),
      line: (address) => lines.at(address),
      code: (file, line) => lines.code(file, line),
      files: lines.files,
    };
  } catch (error) {
    if (error instanceof ImageError) return noSymbols;
    throw error;
  }
}
