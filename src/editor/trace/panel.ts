import { randomBytes } from 'node:crypto';
import path from 'node:path';
import * as vscode from 'vscode';
import type { HyperstepRequests, TraceAccess } from '../../dap/protocol';
import { FIELDS } from '../../machine/records/fields';
import type { Owned, Sessions } from '../sessions';
import type { OpenTrace } from './access';
import { sessionTrace } from './access';
import { compareTraces } from './comparing';
import { completeFilter } from './completion';
import { exportTrace } from './exporting';
import type { FromPage, PageRequest, PageRequests, PageState, ToPage } from './messages';
import { tracePage } from './page';

/** What the trace's panel needs of the rest. */
export interface TraceHost {
  readonly sessions: Sessions;
  /** Where dist/ and media/ are. */
  readonly extension: vscode.Uri;
  readonly openFile: (path: string) => Promise<OpenTrace>;
}

export interface TracePanels extends Owned {
  /** The machine's trace, in a tab; it is brought to the front if it is there. */
  open(): void;
  /** A file's, in a tab of its own. */
  openFile(uri: vscode.Uri): void;
  /** The one in front, for commands. */
  readonly active: TracePanel | undefined;
}

export interface TracePanel {
  export(): Promise<void>;
  compare(): Promise<void>;
  goToCurrent(): void;
  focusFilter(): void;
}

const TRACE_FILES = { 'Hypercall traces': ['ndjson', 'json', 'csv'] };

/** Asks for a trace file. */
export async function pickTraceFile(title: string): Promise<vscode.Uri | undefined> {
  const [file] =
    (await vscode.window.showOpenDialog({ title, filters: TRACE_FILES, openLabel: 'Open' })) ?? [];
  return file;
}

const say = (error: unknown): void =>
  void vscode.window.showErrorMessage(`Hyperstep: ${error instanceof Error ? error.message : String(error)}`);

type Handlers = {
  readonly [R in PageRequest]: (given: PageRequests[R]['in']) => Promise<PageRequests[R]['out']>;
};

export function createTracePanels(host: TraceHost): TracePanels {
  const panels = new Map<string, Shown>();
  const shown = (key: string, make: () => Shown): Shown => {
    const known = panels.get(key);
    if (known !== undefined) {
      known.panel.reveal();
      return known;
    }
    const made = make();
    panels.set(key, made);
    made.panel.onDidDispose(() => panels.delete(key));
    return made;
  };
  const openFile = (uri: vscode.Uri): void => {
    shown(uri.toString(), () => showTrace(host, uri, openFile));
  };
  return {
    open: () => {
      shown('machine', () => showTrace(host, undefined, openFile));
    },
    openFile,
    get active() {
      return [...panels.values()].find(({ panel }) => panel.active) ?? [...panels.values()].at(-1);
    },
    dispose: () => {
      for (const { panel } of [...panels.values()]) panel.dispose();
    },
  };
}

interface Shown extends TracePanel {
  readonly panel: vscode.WebviewPanel;
}

/** @param file of its own; else whatever machine is being debugged */
function showTrace(
  host: TraceHost,
  file: vscode.Uri | undefined,
  openFile: (uri: vscode.Uri) => void,
): Shown {
  const { sessions, extension } = host;
  const name = file === undefined ? undefined : path.basename(file.fsPath);
  const panel = vscode.window.createWebviewPanel(
    'hyperstep.trace',
    name === undefined ? 'Hypercall Trace' : `Trace: ${name}`,
    vscode.ViewColumn.Active,
    {
      enableScripts: true,
      retainContextWhenHidden: true,
      localResourceRoots: [vscode.Uri.joinPath(extension, 'dist'), vscode.Uri.joinPath(extension, 'media')],
    },
  );
  let own: OpenTrace | undefined;
  let other: OpenTrace | undefined;
  let session = sessions.active?.id;
  let filter = '';

  const post = (message: ToPage): void => {
    void panel.webview.postMessage(message);
  };
  const needSession = (): vscode.DebugSession => {
    if (sessions.active === undefined)
      throw new Error('no machine is being debugged; start one, or open the file of a trace');
    return sessions.active;
  };
  const left = (): TraceAccess => {
    if (file === undefined) return sessionTrace(needSession());
    if (own === undefined) throw new Error(`${name ?? 'the file'} is not open`);
    return own.access;
  };
  const title = (): string => name ?? sessions.active?.name ?? 'no machine';
  const state = (): PageState => ({
    title: title(),
    kind: file !== undefined ? 'file' : sessions.active === undefined ? 'none' : 'machine',
    running: file === undefined && sessions.state === 'running',
    machine: sessions.active !== undefined,
  });

  /** The last record of the vCPU that is selected. */
  const sayCurrent = async (): Promise<void> => {
    const { active, thread } = sessions;
    if (file !== undefined || active === undefined || sessions.state !== 'stopped') return;
    const reply = (await active.customRequest('threads')) as {
      readonly threads: readonly { readonly id: number; readonly name: string }[];
    };
    const [, domain, vcpu] =
      /^d(\d+) .* v(\d+)/.exec(reply.threads.find(({ id }) => id === thread)?.name ?? '') ?? [];
    const { at } = await sessionTrace(active).ask('moment', {
      retired: Number.MAX_SAFE_INTEGER - 1,
      ...(domain === undefined || vcpu === undefined ? {} : { domain: Number(domain), vcpu: Number(vcpu) }),
    });
    post({ type: 'current', at: at ?? null });
  };
  const update = (): void => {
    const fresh = file === undefined && sessions.active !== undefined && sessions.active.id !== session;
    if (sessions.active !== undefined) session = sessions.active.id;
    post({ type: 'state', state: state(), fresh });
    // The session may end while it is asked; then there is nothing to say.
    sayCurrent().catch(() => undefined);
  };

  const compare = async (
    likeness: PageRequests['compare']['in']['likeness'],
  ): Promise<PageRequests['compare']['out']> => {
    const uri = await pickTraceFile(`Compare ${title()} with`);
    if (uri === undefined) return null;
    other?.close();
    other = await host.openFile(uri.fsPath);
    return compareTraces(left(), own?.loaded, other, likeness);
  };

  const handlers: Handlers = {
    ask: async ({ which, question }) => {
      const { kind, ...ask } = question;
      if ('filter' in ask && which === 'left') ({ filter } = ask);
      const access = which === 'left' ? left() : other?.access;
      if (access === undefined) throw new Error('there is no other trace');
      return access.ask(kind, ask);
    },
    complete: async ({ text, cursor }) => {
      const info = await left().ask('info', {});
      const { active } = sessions;
      const declared =
        file === undefined && active !== undefined
          ? (
              (await active.customRequest(
                'hyperstep/hypercalls',
              )) as HyperstepRequests['hyperstep/hypercalls']['body']
            ).hypercalls
          : [];
      const calls = declared.flatMap(({ name: call, ops }) => [
        call,
        ...ops.map((op) => `${call}.${op.name}`),
      ]);
      return completeFilter(text, cursor, {
        fields: FIELDS,
        // What was called comes first.
        calls: [...new Set([...info.names, ...calls])],
        errnos: info.errnos,
        arguments: [...new Set(declared.flatMap(({ args }) => args))],
        functions: async (prefix) => {
          if (active === undefined) return [];
          const reply = (await active.customRequest('hyperstep/functions', {
            prefix,
          })) as HyperstepRequests['hyperstep/functions']['body'];
          return reply.names;
        },
      });
    },
    source: async ({ row }) => {
      const {
        path: where,
        line,
        name: site,
      } = (await needSession().customRequest('hyperstep/sourceAt', {
        address: row.caller ?? row.rip,
        domain: row.domain,
      })) as HyperstepRequests['hyperstep/sourceAt']['body'];
      if (where === undefined || line === undefined)
        throw new Error(`${site ?? row.rip}: the guest's symbols have no line for it`);
      const at = new vscode.Position(line - 1, 0);
      await vscode.window.showTextDocument(vscode.Uri.file(where), {
        viewColumn: vscode.ViewColumn.Beside,
        selection: new vscode.Range(at, at),
      });
      return null;
    },
    break: async ({ row: { retired, domain, vcpu, rip } }) => {
      await needSession().customRequest('hyperstep/runToRecord', { retired, domain, vcpu, rip });
      return null;
    },
    memory: async ({ row, space, address }) => {
      const reference =
        space === 'virtual'
          ? `virtual:d${row.domain}v${row.vcpu}:${address}`
          : space === 'machine'
            ? `machine:${address}`
            : `pseudophysical:d${row.domain}:${address}`;
      await vscode.env.clipboard.writeText(reference);
      void vscode.window.setStatusBarMessage(`${reference} copied: watch it, or view it as memory`, 5000);
      return Promise.resolve(null);
    },
    export: async ({ filter: wanted }) => {
      await exportTrace(left(), wanted, title());
      return null;
    },
    open: async () => {
      const uri = await pickTraceFile('Open a hypercall trace');
      if (uri !== undefined) openFile(uri);
      return null;
    },
    compare: ({ likeness }) => compare(likeness),
  };
  const answer = async ({
    id,
    name: request,
    args,
  }: Extract<FromPage, { type: 'request' }>): Promise<void> => {
    try {
      const handle = handlers[request] as (given: unknown) => Promise<unknown>;
      post({ type: 'reply', id, value: await handle(args) });
    } catch (error) {
      post({ type: 'reply', id, error: error instanceof Error ? error.message : String(error) });
    }
  };

  const owned = vscode.Disposable.from(
    sessions.onDidChange(update),
    panel.webview.onDidReceiveMessage((message: FromPage) => {
      if (message.type === 'ready') update();
      else void answer(message);
    }),
  );
  panel.onDidDispose(() => {
    owned.dispose();
    own?.close();
    other?.close();
  });
  if (file !== undefined) {
    host.openFile(file.fsPath).then((opened) => {
      own = opened;
      own.loaded.catch(say);
      post({ type: 'state', state: state(), fresh: true });
    }, say);
  }
  const { webview } = panel;
  const at = (...parts: string[]): string =>
    webview.asWebviewUri(vscode.Uri.joinPath(extension, ...parts)).toString();
  webview.html = tracePage({
    nonce: randomBytes(16).toString('hex'),
    source: webview.cspSource,
    script: at('dist', 'trace-page.js'),
    style: at('media', 'trace', 'trace.css'),
  });
  return {
    panel,
    export: () => exportTrace(left(), filter, title()).catch(say),
    compare: async () => {
      panel.reveal();
      post({ type: 'compare' });
      return Promise.resolve();
    },
    goToCurrent: () => {
      panel.reveal();
      post({ type: 'goToCurrent' });
    },
    focusFilter: () => {
      panel.reveal();
      post({ type: 'focusFilter' });
    },
  };
}
