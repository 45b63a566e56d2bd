/** The command line of the bench: run.ts says what each is. */
import { parseArgs } from 'node:util';

/** In the order in which they are run. */
export const GROUPS = [
  'start', 'cold', 'speed', 'boundary', 'trace', 'probes', 'steps', 'symbols', 'saved', 'disk', 'compile', 'boot', 'kernels',
] as const; // prettier-ignore
export type GroupName = (typeof GROUPS)[number];

/** What `--without` takes. */
const PEERS: readonly string[] = ['xen', 'v86', 'bochs'];

export interface Options {
  readonly groups: readonly GroupName[];
  readonly runs: number;
  readonly without: readonly string[];
  readonly json?: string;
  readonly resume: boolean;
}

const words = (texts: readonly string[]): string[] => texts.flatMap((text) => text.split(',')).filter((word) => word !== ''); // prettier-ignore

/** @throws Error that says what is not understood */
export function optionsOf(args: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: {
      json: { type: 'string' },
      resume: { type: 'boolean', default: false },
      runs: { type: 'string', default: '5' },
      quick: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      without: { type: 'string', default: '' },
    },
    allowPositionals: true,
  });
  const runs = values.quick ? 1 : Number(values.runs);
  const given = words([...positionals, values.only]);
  const without = words([values.without]);
  const unknown = given.find((name) => !(GROUPS as readonly string[]).includes(name));
  if (unknown !== undefined) throw new Error(`there is no group ${unknown}; there are ${GROUPS.join(', ')}`);
  const stranger = without.find((name) => !PEERS.includes(name));
  if (stranger !== undefined) throw new Error(`--without takes of ${PEERS.join(',')}, not ${stranger}`);
  if (!Number.isInteger(runs) || runs < 1) throw new Error('--runs takes a number from 1');
  if (values.resume && values.json === undefined) throw new Error('--resume needs --json F');
  const groups = GROUPS.filter((name) => given.length === 0 || given.includes(name));
  const { json, resume } = values;
  return { groups, runs, without, resume, ...(json === undefined ? {} : { json }) };
}
