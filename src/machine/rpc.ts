import type { NetworkOutput } from '../devices/index';
import type { ConsoleListener, MachineConfig, Target } from './target';

/** Either end of a message channel between the adapter and the machine's worker. */
export interface Port {
  post(message: unknown): void;
  onMessage(listener: (message: unknown) => void): void;
  close(): void;
}

type Method = Exclude<keyof Target, 'onConsole' | 'onNetwork' | 'onLog' | 'onSaving'>;

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
  hypercalls: 'answer',
  currentHypercall: 'answer',
  hypervisorState: 'answer',
  trace: 'answer',
  traceSummary: 'answer',
  consoleInput: 'answer',
  networkInput: 'answer',
  dispose: 'answer',
};

/** Errors cross as name and message, so that a refusal by the loader still reads as one. */
export class RemoteError extends Error {
  constructor(name: string, message: string) {
    super(message);
    this.name = name;
  }
}

/** The worker's side: makes one machine on request and answers calls to it. */
export function serveTarget(port: Port, create: (config: MachineConfig) => Promise<Target>): void {
  let target: Target | undefined;

  const answer = (id: number, work: () => Promise<unknown>): void => {
    work().then(
      (value) => {
        port.post({ kind: 'reply', id, value } satisfies Reply);
      },
      (e: unknown) => {
        const error =
          e instanceof Error ? { name: e.name, message: e.message } : { name: 'Error', message: String(e) };
        port.post({ kind: 'reply', id, error } satisfies Reply);
      },
    );
  };

  port.onMessage((raw) => {
    const message = raw as ToMachine;
    if (message.kind === 'create') {
      answer(message.id, async () => {
        target = await create(message.config);
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
      });
      return;
    }
    const machine = target;
    const methods = machine as unknown as Readonly<
      Record<Method, (...args: readonly unknown[]) => Promise<unknown>>
    >;
    if (METHODS[message.method] === 'no answer') {
      if (machine !== undefined) void methods[message.method]();
      return;
    }
    answer(message.id, async () => {
      if (machine === undefined) throw new Error(`${message.method}: there is no machine yet`);
      const value = await methods[message.method](...message.args);
      if (message.method === 'dispose') target = undefined;
      return value;
    });
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
