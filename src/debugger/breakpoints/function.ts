import { VECTOR_NAMES } from '../../machine/format';
import type { HypercallInfo } from '../../machine/target';
import { parseAddress } from '../locations';
import { didYouMean } from './closest';
import { TAG } from '../../guest/dwarf';
import { ImageError } from '../../guest/error';
import type { DomainSymbols, Image, SymbolIndex } from '../symbols';
import type { BreakpointSpecs, Environment, Resolution, StopPointSpec } from './types';

// Names of function breakpoints. What is no symbol of the guest and no address is `kind:what`, or `kind:what:how`;
// one row a kind says what that means, what may be completed, and how the reference describes it.

/** At the end of a name: in that domain only. */
const DOMAIN = /:d(\d{1,5})$/;

type Event = Extract<StopPointSpec, { kind: 'event' }>;

/** What names are completed from. */
export type Vocabulary = Pick<Environment, 'hypercalls' | 'devices'>;

interface NameKind {
  /** For the reference. */
  readonly examples: readonly (readonly [name: string, stops: string])[];
  /** What a condition can ask for besides registers and memory. */
  readonly conditions: string;
  /** @param how the part behind the last colon, if it is one of `hows` */
  resolve(what: string, how: string | undefined, known: Vocabulary): Resolution;
  /** What may stand behind the last colon. */
  readonly hows: readonly string[];
  names(known: Vocabulary): readonly string[];
}

const refused = (message: string): Resolution => ({ points: [], message });
const event = (filter: Event['filter'], only: Event['only']): Resolution => ({
  points: [
    { kind: 'event', filter, ...(only === undefined || Object.keys(only).length === 0 ? {} : { only }) },
  ],
});

/** What the hypervisor emulates, as its observer calls it. */
export const MNEMONICS = [
  'in', 'out', 'ins', 'outs', 'cli', 'sti', 'clts', 'wbinvd', 'mov from cr', 'mov to cr', 'mov from dr', 'mov to dr',
  'rdmsr', 'wrmsr', 'rdtsc', 'cpuid',
] as const; // prettier-ignore

const statusNote: Readonly<Record<HypercallInfo['status'], string | undefined>> = {
  implemented: undefined,
  refused: 'this hypervisor refuses it',
  unimplemented: 'this hypervisor answers it with ENOSYS',
};

/** An address of an image's code, in the domains that run it: any, where no domain runs another. */
export const pointsAt = (address: bigint, image: Image, { codes }: DomainSymbols): StopPointSpec[] =>
  codes.length === 1
    ? [{ kind: 'instruction', address }]
    : image.domains.map((domain) => ({ kind: 'instruction', address, domain }));

function vectorOf(what: string): number | undefined {
  const named = VECTOR_NAMES.findIndex((name) => name.toLowerCase().replace('#', '') === what.toLowerCase().replace('#', '')); // prettier-ignore
  if (named >= 0) return named;
  return /^\d{1,3}$/.test(what) && Number(what) < 256 ? Number(what) : undefined;
}

export const nameKinds: Readonly<Record<string, NameKind>> = {
  hypercall: {
    examples: [
      ['hypercall:mmu_update', 'before the hypercall is served'],
      ['hypercall:memory_op.populate_physmap', 'before this sub-operation, inside a multicall too'],
      ['hypercall:*', 'before any'],
      ['hypercall:mmu_update:return', 'after it, with result and reason'],
    ],
    conditions: 'the arguments, `name`, `op`, `nr`; after it `result`, `errno`, `reason`',
    hows: ['entry', 'return'],
    names: ({ hypercalls }) => [
      '*',
      ...hypercalls.flatMap(({ name, ops }) => [name, ...ops.map((op) => `${name}.${op.name}`)]),
    ],
    resolve: (name, how, { hypercalls }) => {
      const found = lookUp(name, hypercalls);
      if ('message' in found) return refused(found.message);
      const note = statusNote[found.status];
      return {
        points: [{ kind: 'hypercall', name, when: how === 'return' ? 'return' : 'entry' }],
        ...(note === undefined ? {} : { message: `${name}: ${note}` }),
      };
    },
  },
  trap: {
    examples: [
      [
        'trap:#PF',
        'before an exception of that vector is bounced to the guest (`PF` and `14` mean the same)',
      ],
      ['trap:*', 'before any'],
    ],
    conditions: '`vector`, `error`, `address`',
    hows: [],
    names: () => ['*', ...VECTOR_NAMES.filter((name) => name.startsWith('#') || name === 'NMI')],
    resolve: (what) => {
      const vector = vectorOf(what);
      if (what === '*') return event('guest-fault', undefined);
      if (vector === undefined)
        return refused(`there is no exception '${what}'${didYouMean(what, VECTOR_NAMES.filter((name) => name.startsWith('#')))}`); // prettier-ignore
      return event('guest-fault', { vector: BigInt(vector) });
    },
  },
  privileged: {
    examples: [
      ['privileged:rdmsr', 'before the hypervisor emulates the instruction'],
      ['privileged:*', 'before it emulates any'],
    ],
    conditions: '`mnemonic`',
    hows: [],
    names: () => ['*', ...MNEMONICS],
    resolve: (what) => {
      if (what === '*') return event('privileged-op', undefined);
      const known: readonly string[] = MNEMONICS;
      if (!known.includes(what))
        return refused(`no instruction '${what}' is emulated${didYouMean(what, MNEMONICS)}`);
      return event('privileged-op', { mnemonic: what });
    },
  },
  event: {
    examples: [
      ['event:3', 'when port 3 becomes pending, before the guest is told'],
      ['event:*', 'when any port does'],
      ['event:upcall', 'before an event upcall is made'],
    ],
    conditions: '`port`, `dom`',
    hows: [],
    names: () => ['*', 'upcall'],
    resolve: (what) => {
      if (what === 'upcall') return event('event-upcall', undefined);
      if (what === '*') return event('event-port', undefined);
      return /^\d{1,6}$/.test(what)
        ? event('event-port', { port: BigInt(what) })
        : refused(`'${what}' is no port: a number, * or upcall`);
    },
  },
  xenstore: {
    examples: [
      ['xenstore:/local/domain/1/device', 'after a request about the node or one below it'],
      ['xenstore:/tool:write', 'after one that writes: a value, a new node, permissions, a removal'],
      ['xenstore:/', 'after any; `:read` and `:watch` are the other two'],
    ],
    conditions: '`path`, `access`, `value` (of a write), `dom`: 0 for the toolstack and the back ends',
    hows: ['read', 'write', 'watch'],
    names: () => ['/', '/local/domain', '@releaseDomain', '@introduceDomain'],
    resolve: (path, how) => {
      if (!/^[/@][A-Za-z0-9\-/_@]*$/.test(path))
        return refused(`'${path}' is no xenstore path: it begins with /, and has A-Z a-z 0-9 - / _ @`);
      return event('xenstore', {
        path: path.length > 1 ? path.replace(/\/+$/, '') : path,
        ...(how === undefined ? {} : { access: how }),
      });
    },
  },
  ring: {
    examples: [
      ['ring:vbd/51712', 'after the back end has served a request of that disk (51712: xvda)'],
      ['ring:vbd/51712:write', 'after a write; also `:read`, `:flush`, `:discard`'],
      ['ring:vif/0:tx', 'after a packet of the guest’s; `:rx` for one that it was given'],
      ['ring:*', 'after any request of any device'],
    ],
    conditions: '`device`, `request`, `sector` (vbd), `length` (vif), `dom`',
    hows: ['read', 'write', 'flush', 'discard', 'tx', 'rx'],
    names: ({ devices = [] }) => ['*', ...devices],
    resolve: (device, how, { devices = [] }) => {
      const only = how === undefined ? {} : { request: how };
      if (device === '*') return event('ring-request', only);
      if (!/^(vbd|vif)\/\d+$/.test(device))
        return refused(`'${device}' is no device: vbd/NUMBER or vif/NUMBER${didYouMean(device, devices)}`);
      const note = devices.length > 0 && !devices.includes(device) ? { message: `no domain has a ${device} now${didYouMean(device, devices)}` } : {}; // prettier-ignore
      return { ...event('ring-request', { ...only, device }), ...note };
    },
  },
};

export function resolveFunction({ name }: BreakpointSpecs['function'], environment: Environment): Resolution {
  const whole = name.trim();
  const suffix = DOMAIN.exec(whole);
  const domain = suffix === null ? undefined : Number(suffix[1]);
  const text = suffix === null ? whole : whole.slice(0, suffix.index);
  const known = environment.symbols.images.flatMap(({ domains }) => domains);
  if (domain !== undefined && known.length > 0 && !known.includes(domain)) {
    const names = known.sort((a, b) => a - b).map((one) => `d${one}`);
    return { points: [], message: `there is no domain d${domain}; there are ${names.join(', ')}` };
  }
  const colon = text.indexOf(':');
  const kind = nameKinds[text.slice(0, Math.max(0, colon))];
  const found =
    kind !== undefined
      ? resolveNamed(kind, text.slice(colon + 1), environment)
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
      ? symbols.codes
      : symbols.codes
          .filter(({ domains }) => domains.includes(domain))
          .map((image) => ({ ...image, domains: [domain] }));
  const points = images.flatMap((image) => {
    const address = image.symbols.find(text);
    return address === undefined ? [] : pointsAt(address, image, symbols);
  });
  const isData = images.some((image) => isVariable(text, image.symbols));
  if (points.length > 0 && isData)
    return refused(`'${text}' is a variable, and no code; a data breakpoint watches it`);
  const [first] = points;
  if (first?.kind === 'instruction') return { points, address: first.address };
  // `a::b` is a name of some languages.
  const colon = text.search(/:(?!:)/);
  if (/^\w+:(?!:)/.test(text))
    return refused(`'${text.slice(0, colon)}:' is no kind of breakpoint${didYouMean(text.slice(0, colon + 1), Object.keys(nameKinds).map((one) => `${one}:`))}`); // prettier-ignore
  const close = images.flatMap((image) => image.symbols.complete(text, 4)).slice(0, 4);
  const hint = close.length > 0 ? `; there are ${[...new Set(close)].join(', ')}` : '';
  return {
    points: [],
    message: images.every((image) => image.symbols.count === 0)
      ? `'${text}': the guest has no symbols; hypercall:NAME and *0xADDRESS work without`
      : `there is no symbol '${text}'${hint}`,
  };
}

/** What the debugging information describes as one. Code has lines, and need not be looked for there. */
function isVariable(name: string, symbols: SymbolIndex): boolean {
  const { debug } = symbols;
  const address = symbols.find(name);
  if (debug === undefined || address === undefined || symbols.line(address) !== undefined) return false;
  try {
    return debug.find(name, undefined)?.tag === TAG.variable;
  } catch (error) {
    if (error instanceof ImageError) return false;
    throw error;
  }
}

function resolveNamed(kind: NameKind, rest: string, environment: Environment): Resolution {
  const colon = rest.lastIndexOf(':');
  const how = colon === -1 ? undefined : rest.slice(colon + 1).trim();
  const what = (colon === -1 ? rest : rest.slice(0, colon)).trim();
  if (how === undefined || kind.hows.includes(how)) return kind.resolve(what, how, environment);
  const hows = kind.hows.map((one) => `:${one}`);
  return refused(`':${how}' is not known${hows.length === 0 ? ' here' : `; it is ${hows.join(', ')}`}`);
}

function lookUp(
  name: string,
  all: readonly HypercallInfo[],
): { status: HypercallInfo['status'] } | { message: string } {
  if (name === '*') return { status: 'implemented' };
  const [call = '', op, ...rest] = name.split('.');
  const declared = all.find((one) => one.name === call);
  if (declared === undefined || rest.length > 0) {
    return { message: `there is no hypercall '${call}'${didYouMean(call, all.map((one) => one.name))}` }; // prettier-ignore
  }
  if (op === undefined) return declared;
  const found = declared.ops.find((one) => one.name === op);
  if (found !== undefined) return found;
  if (declared.ops.length === 0) return { message: `${call} has no sub-operations` };
  return { message: `${call} has no sub-operation '${op}'${didYouMean(op, declared.ops.map((one) => one.name))}` }; // prettier-ignore
}

/** Everything that begins with what was typed so far and can be the name of a function breakpoint; symbols aside. */
export function completeBreakpointName(typed: string, known: Vocabulary): string[] {
  const colon = typed.indexOf(':');
  const kinds = Object.entries(nameKinds);
  if (colon === -1) return kinds.map(([name]) => `${name}:`).filter((one) => one.startsWith(typed));
  return kinds
    .filter(([name]) => name === typed.slice(0, colon))
    .flatMap(([name, kind]) => {
      const names = kind.names(known).map((one) => `${name}:${one}`);
      const last = typed.lastIndexOf(':');
      const base = typed.slice(0, last);
      return last > colon ? kind.hows.map((how) => `${base}:${how}`) : names;
    })
    .filter((one) => one.startsWith(typed));
}
