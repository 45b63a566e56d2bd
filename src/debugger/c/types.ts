import type { DebugInfo, Type, Unit } from '../../guest/dwarf';
import { arrayOf, plainType, pointerTo, voidType } from '../../guest/dwarf';
import type { TypeSyntax } from '../../machine/expressions';

// Types by name: what C has itself, what the debugger adds, and what the guest's debugging information knows.

/** Specifiers of C's own types, sorted (C11, 6.7.2); LP64. */
const builtin: Readonly<Record<string, Type>> = {
  void: voidType,
  _Bool: { kind: 'base', name: '_Bool', size: 1, encoding: 'boolean', signed: false },
  char: { kind: 'base', name: 'char', size: 1, encoding: 'character', signed: true },
  'char signed': { kind: 'base', name: 'signed char', size: 1, encoding: 'character', signed: true },
  'char unsigned': { kind: 'base', name: 'unsigned char', size: 1, encoding: 'character', signed: false },
  short: plainType('short', 2, true),
  'short unsigned': plainType('unsigned short', 2, false),
  int: plainType('int', 4, true),
  signed: plainType('int', 4, true),
  unsigned: plainType('unsigned int', 4, false),
  long: plainType('long', 8, true),
  'long unsigned': plainType('unsigned long', 8, false),
  'long long': plainType('long long', 8, true),
  'long long unsigned': plainType('unsigned long long', 8, false),
  float: { kind: 'base', name: 'float', size: 4, encoding: 'float', signed: true },
  double: { kind: 'base', name: 'double', size: 8, encoding: 'float', signed: true },
};
/** Short names, for guests without debugging information too. */
const fixed: Readonly<Record<string, Type>> = Object.fromEntries(
  [8, 16, 32, 64].flatMap((bits) => [
    [`u${bits}`, plainType(`u${bits}`, bits / 8, false)],
    [`s${bits}`, plainType(`s${bits}`, bits / 8, true)],
  ]),
);

function builtinType(name: string): Type | undefined {
  const words = name.split(' ').sort();
  // `int` beside another word says nothing, nor does `signed` beside a number's.
  const plain = words.length > 1 ? words.filter((word) => word !== 'int') : words;
  const short =
    plain.length > 1 && !plain.includes('char') ? plain.filter((word) => word !== 'signed') : plain;
  const key = short.join(' ');
  return Object.hasOwn(builtin, key) ? builtin[key] : undefined;
}

/** Undefined where nothing has that name. */
export function typeFor(
  { keyword, name, pointers, dimensions }: TypeSyntax,
  debug: DebugInfo | undefined,
  unit: Unit | undefined,
): Type | undefined {
  const base =
    (keyword === undefined ? builtinType(name) : undefined) ??
    debug?.findType(keyword, name, unit) ??
    (keyword === undefined && Object.hasOwn(fixed, name) ? fixed[name] : undefined);
  if (base === undefined) return undefined;
  let type = base;
  for (let i = 0; i < pointers; i++) type = pointerTo(type);
  for (const length of [...dimensions].reverse()) type = arrayOf(type, length);
  return type;
}
