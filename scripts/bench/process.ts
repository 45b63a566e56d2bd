/** Machines as processes of their own: timed by the marks that the guest prints on its console. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

export interface Passing {
  /** Seconds since the process was started. */
  readonly wall: number;
  /** Seconds of processor time of all its threads; undefined where /proc does not say. */
  readonly cpu: number | undefined;
}

export interface Watching {
  readonly command: string;
  readonly args: readonly string[];
  /** Console texts to wait for, in their order. */
  readonly marks: readonly string[];
  /** Seconds after which it is given up. */
  readonly limit: number;
  /** Looks at the process when the last mark is passed, before it is ended. */
  readonly atEnd?: (pid: number) => void;
  /** Left to end by itself after the last mark. */
  readonly ownEnd?: boolean;
}

/**
 * Of the threads that are there, in nanoseconds (schedstat, the kernel's scheduler/sched-stats.rst), or of all there
 * ever were, in ticks of 1/100 s (proc(5): utime and stime are the 14th and 15th field of stat); whichever is more.
 */
function processorSeconds(pid: number): number | undefined {
  try {
    const folder = `/proc/${pid.toString()}`;
    const stat = readFileSync(`${folder}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ticks = (Number(fields[11]) + Number(fields[12])) / 100;
    const exact = readdirSync(`${folder}/task`)
      .map((task) => Number(readFileSync(`${folder}/task/${task}/schedstat`, 'latin1').split(' ')[0]) / 1e9)
      .reduce((a, b) => a + b, 0);
    // A tick more or less is within their error.
    return exact > ticks - 0.05 ? exact : ticks;
  } catch {
    return undefined;
  }
}

/** Processor time of all processes that this one started and that have ended (proc(5) stat: cutime, cstime); NaN where it is not said. */
export function endedProcessesSeconds(): number {
  try {
    const stat = readFileSync('/proc/self/stat', 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[13]) + Number(fields[14])) / 100;
  } catch {
    return NaN;
  }
}

/**
 * Resident bytes beside the largest mapping, those of them that are pages of files as they are on disk, which all
 * processes share; the largest mapping's resident bytes, and the peak of all (proc(5) smaps).
 */
export function residentBytes(
  pid: number,
):
  | { readonly others: number; readonly files: number; readonly largest: number; readonly peak: number }
  | undefined {
  try {
    const smaps = readFileSync(`/proc/${pid.toString()}/smaps`, 'latin1');
    // A mapping's first line ends with the file that it is of; a page of it that was written is the process's own.
    const mappings = smaps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
    const kilobytes = (mapping: string, what: string): number =>
      Number(new RegExp(`^${what}: +(\\d+) kB`, 'm').exec(mapping)?.[1] ?? 0) * 1024;
    const sizes = mappings.map((mapping) => kilobytes(mapping, 'Rss'));
    const files = mappings
      .filter((mapping) => / \/\S.*$/.test(mapping.slice(0, mapping.indexOf('\n'))))
      .map((mapping) => kilobytes(mapping, 'Shared_Clean') + kilobytes(mapping, 'Private_Clean'))
      .reduce((a, b) => a + b, 0);
    const largest = Math.max(...sizes);
    const peak = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid.toString()}/status`, 'latin1'));
    const others = sizes.reduce((a, b) => a + b, 0) - largest;
    return { others, files, largest, peak: Number(peak?.[1]) * 1024 };
  } catch {
    return undefined;
  }
}

export interface Passed {
  /** For each mark. */
  readonly marks: readonly Passing[];
  readonly text: string;
}

const seconds = (since: bigint): number => Number(process.hrtime.bigint() - since) / 1e9;

/** Runs a machine past all marks. Rejects with what its console said when it ends or takes too long before. */
export function passMarks(watching: Watching): Promise<Passed> {
  const { command, args, marks, limit } = watching;
  return new Promise((resolve, reject) => {
    const started = process.hrtime.bigint();
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const passed: Passing[] = [];
    let seen = '';
    let from = 0;
    const timer = setTimeout(() => child.kill('SIGKILL'), limit * 1000);
    child.stderr.on('data', (data: Buffer) => (seen += data.toString('latin1')));
    child.stdout.on('data', (data: Buffer) => {
      seen += data.toString('latin1');
      for (let next = marks[passed.length]; next !== undefined; next = marks[passed.length]) {
        const at = seen.indexOf(next, from);
        if (at < 0) return;
        from = at + next.length;
        const wall = seconds(started);
        passed.push({ wall, cpu: child.pid === undefined ? undefined : processorSeconds(child.pid) });
        if (passed.length < marks.length) continue;
        if (child.pid !== undefined) watching.atEnd?.(child.pid);
        if (watching.ownEnd !== true) child.kill('SIGKILL');
      }
    });
    child.on('error', reject);
    child.on('close', () => {
      clearTimeout(timer);
      if (passed.length === marks.length) resolve({ marks: passed, text: seen });
      else {
        const late = seconds(started) >= limit ? ` within ${limit.toString()} s` : '';
        const said = seen.trimEnd().split(/[\r\n]+/).slice(-3).join(' / ').slice(-300); // prettier-ignore
        reject(
          new Error(`'${marks[passed.length] ?? ''}' did not come${late}; the last that it said: ${said}`),
        );
      }
    });
  });
}
