import { ByteView } from '../../base/bytes';
import type { ImmediateHost, Location, Scope, Unit } from '../../guest/dwarf';
import { AT, bare, locationNow } from '../../guest/dwarf';
import type { CompiledFrame } from '../../machine/compiled';
import type { SymbolIndex } from '../symbols';

// Where the variables of a function are, for conditions that are compiled (compile.ts).

/** What a condition asks for that only the debugger can answer, at the stop. */
export class NotCompiled extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = 'NotCompiled';
  }
}
export const no = (reason: string): never => {
  throw new NotCompiled(reason);
};

/** What location expressions in one function ask for besides registers and memory. */
export function createFrames(
  debug: NonNullable<SymbolIndex['debug']>,
  scopes: readonly Scope[],
  pc: bigint | undefined,
): {
  /** An expression, evaluated with zeroes for what is not known yet: which shows what kind of place it leads to. */
  tried(
    expression: ByteView,
    global: Unit | undefined,
  ): { readonly location: Location; readonly depends: boolean; readonly frame: CompiledFrame };
} {
  const { dwarf } = debug;
  const [outermost] = scopes;
  const own = outermost?.entry.unit;
  const base =
    outermost === undefined || pc === undefined
      ? undefined
      : dwarf.expression(outermost.entry, AT.frame_base, pc);
  const row = pc === undefined ? undefined : debug.frames.at(pc);
  const rule = row?.cfa;
  const cfa =
    rule?.kind === 'register'
      ? { register: rule.register, offset: rule.offset }
      : rule?.expression.bytes.slice();

  return {
    tried: (expression, global) => {
      const unit = global ?? own;
      if (unit === undefined) return no('it has no unit');
      const addresses: Record<number, bigint> = {};
      const known: Record<number, ReturnType<ImmediateHost['baseType']>> = {};
      let depends = false;
      const frameOnly = (): void => {
        if (global !== undefined) no('its place depends on a frame, and there is none');
        depends = true;
      };
      const context = { offsetSize: unit.header.offsetSize, addressSize: 8 } as const;
      const host: ImmediateHost = {
        register: () => {
          frameOnly();
          return 0n;
        },
        memory: (_address, length) => {
          depends = true;
          return new Uint8Array(length);
        },
        frameBase: () => {
          frameOnly();
          if (base === undefined) return no('its function does not say where its frame is');
          locationNow(base, context, { ...host, frameBase: () => no('its frame is described by itself') });
          return 0n;
        },
        cfa: () => {
          frameOnly();
          if (cfa === undefined) return no('there is no frame information for its function');
          if (cfa instanceof Uint8Array) locationNow(new ByteView(cfa, 'a CFA'), context, host);
          return 0n;
        },
        entryValue: () => no('it is what it was when the function was called, which only the caller knows'),
        indexedAddress: (index) => (addresses[index] = dwarf.indexedAddress(unit, index)),
        baseType: (offset) => {
          const type = bare(debug.types.of(unit.entry(unit.header.offset + offset)));
          return (known[offset] =
            type.kind === 'base'
              ? { size: type.size, signed: type.signed, float: type.encoding === 'float' }
              : {
                  size: type.kind === 'pointer' || type.kind === 'enum' ? type.size : 8,
                  signed: false,
                  float: false,
                });
        },
      };
      const location = locationNow(expression, context, host);
      for (const { place } of location.kind === 'pieces' ? location.pieces : [])
        if (place.kind === 'nowhere' || place.kind === 'implicit pointer')
          no('a part of it was optimized out');
      const frame = {
        offsetSize: context.offsetSize,
        base: base?.bytes.slice(),
        cfa,
        addresses,
        types: known,
      };
      return { location, depends, frame };
    },
  };
}
