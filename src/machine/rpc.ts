import type { NetworkOutput } from '../devices/index';
import type { HeldMachine } from './embedded';
import type { ConsoleListener, MachineConfig, RunUntil, Stop, Target } from './target';

/** Either end of a message channel between the adapter and the machine's worker. */
export interface Port {
  post(message: unknown): void;
  onMessage(listener: (message: unknown) => void): void;
  close(): void;
  /** Waits for the next message without giving way to anything else on this thread. */
  receive?(): unknown;
}

type Method = Exclude<keyof Target, 'onConsole' | 'onNetwork' | 'onLog' | 'onSaving' | 'gone'>;

interface Call { readonly kind: 'call'; readonly id: number; readonly method: Method; readonly args: readonly unknown[] } // prettier-ignore
interface Create { readonly kind: 'create'; readonly id: number; readonly config: MachineConfig } // prettier-ignore
interface Reply { readonly kind: 'reply'; readonly id: number; readonly value?: unknown; readonly error?: { name: string; message: string } } // prettier-ignore
interface Console { readonly kind: 'console'; readonly domain: number; readonly data: Uint8Array; readonly console: number } // prettier-ignore
interface Network { readonly kind: 'network'; readonly output: NetworkOutput } // prettier-ignore
interface Log { readonly kind: 'log'; readonly text: string } // prettier-ignore
interface Saving { readonly kind: 'saving'; readonly done: number } // prettier-ignore
type ToMachine = Call | Create;
type FromMachine = Reply | Console | Network | Log | Saving;

/** Every method of `Target` that crosses the channel; some expect no answer. */
const METHODS: Readonly<Record<Method, 'answer' | 'no answer'>> = {
  now: 'answer',
  domains: 'answer',
  setStops: 'answer',
  run: 'answer',
  pause: 'no answer',
  save: 'answer',
  cancelSave: 'no answer',
  askGuest: 'answer',
  resumeDomain: 'answer',
  position: 'answer',
  history: 'answer',
  seekTo: 'answer',
  rewind: 'answer',
  stepBack: 'answer',
  mark: 'answer',
  seek: 'answer',
  dropMark: 'answer',
  restart: 'answer',
  stateHash: 'answer',
  registers: 'answer',
  setRegister: 'answer',
  readMemory: 'answer',
  writeMemory: 'answer',
  walk: 'answer',
  tableEntries: 'answer',
  frame: 'answer',
  frameUses: 'answer',
  mappedRanges: 'answer',
  hypercalls: 'answer',
  currentHypercall: 'answer',
  hypervisorState: 'answer',
  hypervisorStack: 'answer',
  hypervisorValues: 'answer',
  hypervisorEvaluate: 'answer',
  crossing: 'answer',
  hypervisorWatch: 'answer',
  hypervisorFailure: 'answer',
  trace: 'answer',
  traceSummary: 'answer',
  channels: 'answer',
  grants: 'answer',
  storeNode: 'answer',
  traceQuestion: 'answer',
  devices: 'answer',
  consoleInput: 'answer',
  networkInput: 'answer',
  diskInput: 'answer',
  storeInput: 'answer',
  dispose: 'answer',
};

/** Errors cross as name and message, so that a refusal by the loader still reads as one. */
export class RemoteError extends Error {
  constructor(name: string, message: string) {
    super(message);
    this.name = name;
  }
}

/** Why a machine in the middle of the hypervisor does not do what was asked. */
const INSIDE = 'the machine is inside the hypervisor; step out of it first';
/** What is asked for there and can wait until the hypervisor is left. */
const LEAVES: ReadonlySet<Method> = new Set(['restart', 'dispose', 'seekTo', 'rewind', 'stepBack']);
const WAITS: ReadonlySet<Method> = new Set(['consoleInput', 'networkInput', 'diskInput', 'storeInput']);

const errorOf = (e: unknown): { name: string; message: string } =>
  e instanceof Error ? { name: e.name, message: e.message } : { name: 'Error', message: String(e) };

/** The worker's side: makes one machine on request and answers calls to it. */
export function serveTarget(
  port: Port,
  create: (
    config: MachineConfig,
    hold: (stop: Stop, machine: HeldMachine) => RunUntil | undefined,
  ) => Promise<Target>,
): void {
  let target: Target | undefined;
  /** The number of the call of run() that is waiting: another one's, once the machine was held on the way. */
  let run: number | undefined;
  /** Calls that wait for the hypervisor to be left. */
  let later: Call[] = [];

  const reply = (id: number | undefined, value: unknown): void => {
    if (id !== undefined) port.post({ kind: 'reply', id, value } satisfies Reply);
  };
  const refuse = (id: number | undefined, e: unknown): void => {
    if (id !== undefined) port.post({ kind: 'reply', id, error: errorOf(e) } satisfies Reply);
  };
  const answer = (id: () => number | undefined, work: () => Promise<unknown>): void => {
    work().then(
      (value) => {
        reply(id(), value);
      },
      (e: unknown) => {
        refuse(id(), e);
      },
    );
  };

  /** Serves calls from inside the hypervisor until one says how to go on. */
  const hold = (stop: Stop, { reads, setStops }: HeldMachine): RunUntil | undefined => {
    const held = { ...reads, setStops } as unknown as Readonly<
      Record<string, ((...args: readonly unknown[]) => unknown) | undefined>
    >;
    reply(run, stop);
    run = undefined;
    for (;;) {
      const message = port.receive?.() as Call | undefined;
      if (message === undefined) throw new Error('a machine that is held needs a port that can wait');
      const { id, method, args } = message;
      if (method === 'run') {
        run = id;
        return args[0] as RunUntil;
      }
      if (LEAVES.has(method) || WAITS.has(method)) {
        later.push(message);
        if (LEAVES.has(method)) return undefined;
      } else if (METHODS[method] === 'answer') {
        try {
          const serve = held[method];
          if (serve === undefined) throw new Error(INSIDE);
          reply(id, serve(...args));
        } catch (e) {
          refuse(id, e);
        }
      }
    }
  };

  const call = ({ id, method, args }: Call): void => {
    const machine = target;
    const methods = machine as unknown as Readonly<
      Record<Method, (...args: readonly unknown[]) => Promise<unknown>>
    >;
    if (METHODS[method] === 'no answer') {
      if (machine !== undefined) void methods[method]();
      return;
    }
    const work = async (): Promise<unknown> => {
      if (machine === undefined) throw new Error(`${method}: there is no machine yet`);
      const value = await methods[method](...args);
      if (method === 'dispose') target = undefined;
      return value;
    };
    if (method !== 'run') {
      answer(() => id, work);
      return;
    }
    run = id;
    answer(() => {
      const to = run;
      run = undefined;
      const waiting = later;
      later = [];
      // After the answer, and after run() has let go of the machine.
      if (waiting.length > 0) void Promise.resolve().then(() => { waiting.forEach(call); }); // prettier-ignore
      return to;
    }, work);
  };

  port.onMessage((raw) => {
    const message = raw as ToMachine;
    if (message.kind === 'call') {
      call(message);
      return;
    }
    answer(
      () => message.id,
      async () => {
        target = await create(message.config, hold);
        target.onConsole((domain, data, console) => {
          port.post({ kind: 'console', domain, data, console } satisfies Console);
        });
        target.onNetwork((output) => {
          port.post({ kind: 'network', output } satisfies Network);
        });
        target.onLog((text) => {
          port.post({ kind: 'log', text } satisfies Log);
        });
        target.onSaving((done) => {
          port.post({ kind: 'saving', done } satisfies Saving);
        });
      },
    );
  });
}

/** The adapter's side: a `Target` that lives at the other end of `port`. `failed` settles when the worker dies. */
export async function connectTarget(
  port: Port,
  config: MachineConfig,
  failed: Promise<Error>,
): Promise<Target> {
  const waiting = new Map<number, { resolve(value: unknown): void; reject(e: Error): void }>();
  const consoleListeners = new Set<ConsoleListener>();
  const networkListeners = new Set<(output: NetworkOutput) => void>();
  const logListeners = new Set<(text: string) => void>();
  const savingListeners = new Set<(done: number) => void>();
  let nextId = 1;
  let dead: Error | undefined;

  void failed.then((e) => {
    dead = e;
    for (const w of waiting.values()) w.reject(e);
    waiting.clear();
  });

  port.onMessage((raw) => {
    const message = raw as FromMachine;
    if (message.kind === 'console')
      for (const l of consoleListeners) l(message.domain, message.data, message.console);
    else if (message.kind === 'network') for (const l of networkListeners) l(message.output);
    else if (message.kind === 'log') for (const l of logListeners) l(message.text);
    else if (message.kind === 'saving') for (const l of savingListeners) l(message.done);
    else {
      const w = waiting.get(message.id);
      waiting.delete(message.id);
      if (message.error !== undefined) w?.reject(new RemoteError(message.error.name, message.error.message));
      else w?.resolve(message.value);
    }
  });

  const request = (make: (id: number) => ToMachine): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (dead !== undefined) {
        reject(dead);
        return;
      }
      const id = nextId++;
      waiting.set(id, { resolve, reject });
      port.post(make(id));
    });

  const listen = <T>(set: Set<T>, listener: T): (() => void) => {
    set.add(listener);
    return () => set.delete(listener);
  };

  const remote: Record<string, unknown> = {
    gone: failed,
    onConsole: (l: ConsoleListener) => listen(consoleListeners, l),
    onNetwork: (l: (output: NetworkOutput) => void) => listen(networkListeners, l),
    onLog: (l: (text: string) => void) => listen(logListeners, l),
    onSaving: (l: (done: number) => void) => listen(savingListeners, l),
  };
  for (const method of Object.keys(METHODS) as Method[]) {
    remote[method] =
      METHODS[method] === 'no answer'
        ? () => {
            port.post({ kind: 'call', id: 0, method, args: [] } satisfies Call);
          }
        : async (...args: readonly unknown[]) => {
            const value = await request((id) => ({ kind: 'call', id, method, args }));
            if (method === 'dispose') port.close();
            return value;
          };
  }
  await request((id) => ({ kind: 'create', id, config })).catch((error: unknown) => {
    // A machine that cannot be built leaves no worker behind.
    port.close();
    throw error;
  });
  return remote as unknown as Target;
}
