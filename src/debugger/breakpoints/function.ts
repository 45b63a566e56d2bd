import type { HypercallInfo } from '../../machine/target';
import { parseAddress } from '../locations';
import type { DomainSymbols, Image } from '../symbols';
import type { BreakpointSpecs, Environment, Resolution, StopPointSpec } from './types';
import { isForDebugger } from './types';

const HYPERCALL = 'hypercall:';
const RETURN = ':return';
/** At the end of a name: in that domain only. */
const DOMAIN = /:d(\d{1,5})$/;

const statusNote: Readonly<Record<HypercallInfo['status'], string | undefined>> = {
  implemented: undefined,
  refused: 'this hypervisor refuses it',
  unimplemented: 'this hypervisor answers it with ENOSYS',
};

/** An address of an image's code, in the domains that run it: any, where no domain runs another. */
export const pointsAt = (address: bigint, image: Image, { images }: DomainSymbols): StopPointSpec[] =>
  images.length === 1
    ? [{ kind: 'instruction', address }]
    : image.domains.map((domain) => ({ kind: 'instruction', address, domain }));

export function resolveFunction(
  { name, condition }: BreakpointSpecs['function'],
  environment: Environment,
): Resolution {
  const whole = name.trim();
  const suffix = DOMAIN.exec(whole);
  const domain = suffix === null ? undefined : Number(suffix[1]);
  const text = suffix === null ? whole : whole.slice(0, suffix.index);
  const known = environment.symbols.images.flatMap(({ domains }) => domains);
  if (domain !== undefined && known.length > 0 && !known.includes(domain)) {
    const names = known.sort((a, b) => a - b).map((one) => `d${one}`);
    return { points: [], message: `there is no domain d${domain}; there are ${names.join(', ')}` };
  }
  const found = text.startsWith(HYPERCALL)
    ? resolveHypercall(text.slice(HYPERCALL.length), condition, environment)
    : text.startsWith('*')
      ? resolveAddress(text)
      : resolveSymbol(text, environment.symbols, domain);
  if (domain === undefined) return found;
  return { ...found, points: found.points.map((point) => ({ ...point, domain })) };
}

function resolveAddress(text: string): Resolution {
  const address = parseAddress(text.slice(1).trim());
  if (address === undefined) return { points: [], message: `'${text}' is not *0xADDRESS` };
  return { points: [{ kind: 'instruction', address }], address };
}

function resolveSymbol(text: string, symbols: DomainSymbols, domain: number | undefined): Resolution {
  const images =
    domain === undefined
      ? symbols.images
      : symbols.images
          .filter(({ domains }) => domains.includes(domain))
          .map((image) => ({ ...image, domains: [domain] }));
  const points = images.flatMap((image) => {
    const address = image.symbols.find(text);
    return address === undefined ? [] : pointsAt(address, image, symbols);
  });
  const [first] = points;
  if (first?.kind === 'instruction') return { points, address: first.address };
  const close = images.flatMap((image) => image.symbols.complete(text, 4)).slice(0, 4);
  const hint = close.length > 0 ? `; there are ${[...new Set(close)].join(', ')}` : '';
  return {
    points: [],
    message: images.every((image) => image.symbols.count === 0)
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
