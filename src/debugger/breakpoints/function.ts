import type { HypercallInfo } from '../../machine/target';
import { parseAddress } from '../locations';
import type { BreakpointSpecs, Environment, Resolution } from './types';
import { isForDebugger } from './types';

const HYPERCALL = 'hypercall:';
const RETURN = ':return';

const statusNote: Readonly<Record<HypercallInfo['status'], string | undefined>> = {
  implemented: undefined,
  refused: 'this hypervisor refuses it',
  unimplemented: 'this hypervisor answers it with ENOSYS',
};

export function resolveFunction(
  { name, condition }: BreakpointSpecs['function'],
  environment: Environment,
): Resolution {
  const text = name.trim();
  if (text.startsWith(HYPERCALL))
    return resolveHypercall(text.slice(HYPERCALL.length), condition, environment);
  if (text.startsWith('*')) {
    const address = parseAddress(text.slice(1).trim());
    if (address === undefined) return { points: [], message: `'${text}' is not *0xADDRESS` };
    return { points: [{ kind: 'instruction', address }], address };
  }
  const address = environment.symbols.find(text);
  if (address !== undefined) return { points: [{ kind: 'instruction', address }], address };
  const close = environment.symbols.complete(text, 4);
  const hint = close.length > 0 ? `; there are ${close.join(', ')}` : '';
  return {
    points: [],
    message:
      environment.symbols.count === 0
        ? `'${text}': the guest has no symbols; hypercall:NAME and *0xADDRESS work without`
        : `there is no symbol '${text}'${hint}`,
  };
}

function resolveHypercall(
  text: string,
  condition: string | undefined,
  { hypercalls }: Environment,
): Resolution {
  const atReturn = text.endsWith(RETURN);
  const name = (atReturn ? text.slice(0, -RETURN.length) : text).trim();
  if (name.includes(':'))
    return { points: [], message: `'${name.slice(name.indexOf(':'))}' is not known; it is ${RETURN}` };
  const found = lookUp(name, hypercalls);
  if ('message' in found) return { points: [], message: found.message };
  const when = atReturn ? 'return' : 'entry';
  const note = statusNote[found.status];
  return {
    points: [
      {
        kind: 'hypercall',
        name,
        when,
        ...(condition === undefined || isForDebugger(condition) ? {} : { condition }),
      },
    ],
    ...(note === undefined ? {} : { message: `${name}: ${note}` }),
  };
}

function lookUp(
  name: string,
  all: readonly HypercallInfo[],
): { status: HypercallInfo['status'] } | { message: string } {
  if (name === '*') return { status: 'implemented' };
  const [call = '', op, ...rest] = name.split('.');
  const declared = all.find((one) => one.name === call);
  if (declared === undefined || rest.length > 0) {
    return { message: `there is no hypercall '${call}'${near(call, all.map((one) => one.name))}` }; // prettier-ignore
  }
  if (op === undefined) return declared;
  const found = declared.ops.find((one) => one.name === op);
  if (found !== undefined) return found;
  if (declared.ops.length === 0) return { message: `${call} has no sub-operations` };
  return { message: `${call} has no sub-operation '${op}'${near(op, declared.ops.map((one) => one.name))}` }; // prettier-ignore
}

/** Names that share a piece with the one that was not found; where none does, all. */
function near(name: string, names: readonly string[]): string {
  const wanted = name.toLowerCase();
  const pieces = wanted.split('_').filter((piece) => piece.length > 2 && piece !== 'op');
  const close =
    wanted === ''
      ? []
      : names.filter((other) => other.startsWith(wanted) || pieces.some((piece) => other.includes(piece)));
  return `; there are ${(close.length === 0 ? names : close.slice(0, 5)).join(', ')}`;
}

/** Everything that can be typed as the name of a function breakpoint on a hypercall. */
export const hypercallBreakpointNames = (all: readonly HypercallInfo[]): string[] => [
  `${HYPERCALL}*`,
  ...all.flatMap(({ name, ops }) => [
    `${HYPERCALL}${name}`,
    ...ops.map((op) => `${HYPERCALL}${name}.${op.name}`),
  ]),
];
