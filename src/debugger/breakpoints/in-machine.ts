import { AT } from '../../guest/dwarf';
import { ImageError } from '../../guest/error';
import type { Expression } from '../../machine/expressions';
import { parts } from '../../machine/expressions';
import { partNamed } from '../../machine/register-names';
import { memoryNames } from '../expressions';
import type { SymbolIndex } from '../symbols';

// Which conditions the machine can evaluate by itself. It knows registers, memory, numbers and, at a hypercall, the
// decoded arguments; what has a C type, a local variable above all, is the debugger's.

type Numbers = Readonly<Record<string, bigint>>;

/** What the machine is told beside the condition: numbers for names. undefined: it is the debugger's to evaluate. */
export function numbersFor(
  expression: Expression,
  symbols: SymbolIndex,
  /** The code that the condition is asked at, where it is asked at one place. */
  address: bigint | undefined,
  /** Names may be those of a hypercall's arguments or of an event. */
  eventful: boolean,
): Numbers | undefined {
  const numbers: Record<string, bigint> = {};
  return fits(expression) ? numbers : undefined;

  function fits(e: Expression): boolean {
    switch (e.kind) {
      case 'literal':
        return typeof e.value !== 'number';
      case 'name':
        return named(e.name);
      case 'index':
        return e.of.kind === 'name' && memoryNames[e.of.name] !== undefined
          ? fits(e.index)
          : eventful && fits(e.of) && fits(e.index);
      case 'member':
        return eventful && fits(e.of);
      case 'unary':
        return e.operator !== '&' && fits(e.operand);
      case 'binary':
      case 'conditional':
        return parts(e).every(fits);
      case 'assign':
      case 'cast':
      case 'sizeof':
      case 'call':
        return false;
    }
  }

  function named(name: string): boolean {
    if (/^[$%]/.test(name)) return partNamed(name);
    if (typed(symbols, name, address)) return false;
    const symbol = symbols.find(name);
    if (symbol !== undefined) numbers[name] = symbol;
    return eventful || symbol !== undefined || partNamed(name);
  }
}

/** Whether a name stands for something with a C type, where there is debugging information. */
function typed({ debug }: SymbolIndex, name: string, address: bigint | undefined): boolean {
  if (debug === undefined) return false;
  try {
    if (address !== undefined) {
      const unit = debug.unitAt(address);
      if (unit !== undefined && debug.inUnit(name, unit) !== undefined) return true;
      const isIt = (scope: ReturnType<typeof debug.scopes.at>[number]): boolean =>
        debug.scopes.variables(scope).some((entry) => debug.dwarf.text(entry, AT.name) === name);
      if (debug.scopes.at(address).some(isIt)) return true;
    }
    return !partNamed(name) && debug.find(name, undefined) !== undefined;
  } catch (error) {
    // What cannot be read says nothing about the name.
    if (error instanceof ImageError) return false;
    throw error;
  }
}
