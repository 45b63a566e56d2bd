import * as vscode from 'vscode';
import type { HyperstepRequests } from '../../dap/protocol';
import { frameSummary, frameUses, type Use } from '../rows/frame-uses';
import { frameText } from '../rows/frame-text';
import { mappingText } from '../rows/mappings';
import type { Requester, Row } from '../rows/row';
import type { Owned, Sessions } from '../sessions';
import type { Views } from '../views';
import { askNumber } from './ask';

type Walk = HyperstepRequests['hyperstep/walk']['body'];
type Uses = HyperstepRequests['hyperstep/frameUses']['body'];
type Mappings = HyperstepRequests['hyperstep/mappings']['body'];

/** What `debug/variables/context` gives: a variable as the protocol has it. */
export interface VariableContext {
  readonly variable: {
    readonly value: string;
    readonly memoryReference?: string;
    readonly evaluateName?: string;
  };
}
export const isVariable = (given: unknown): given is VariableContext =>
  typeof given === 'object' && given !== null && 'variable' in given;

/** Where a variable points: its memory reference's address, else the number that it shows. */
const addressOf = ({ variable }: VariableContext): string | undefined =>
  /0x[0-9a-f]+$/i.exec(variable.memoryReference ?? '')?.[0] ?? /^0x[0-9a-f]+/i.exec(variable.value)?.[0];

const pickOf = ({
  level,
  index,
  entry,
  flags,
  mfn,
  frame,
}: Walk['levels'][number]): vscode.QuickPickItem => ({
  label: `L${level}[${index}] ${entry}`,
  description: flags.join(' '),
  detail: mfn === undefined ? 'not present' : frameText(mfn, frame),
});

/** Scheme of the texts that address spaces are compared as. */
const SCHEME = 'hyperstep-mappings';

export interface Tables extends Owned {
  /** Asks for an address (a number, a register, a symbol) and shows its walk, a level a line. */
  walkAddress(): Promise<void>;
  /** Opens the page tables at an address: of a row, of a variable, or one that is asked for. */
  goTo(given: unknown): Promise<void>;
  /** Lists who maps a frame: that of a row, or one that is asked for. */
  whoMaps(row: Row | undefined): Promise<void>;
  keep(): Promise<void>;
  /** What has changed since `keep`, as the difference of two texts. */
  compare(): Promise<void>;
}

export function createTables(requester: Requester, sessions: Sessions, views: Views): Tables {
  const texts = new Map<string, string>();
  const provider = vscode.workspace.registerTextDocumentContentProvider(SCHEME, {
    provideTextDocumentContent: ({ path }) => texts.get(path) ?? '',
  });
  let kept: { readonly path: string; readonly title: string; readonly session: string } | undefined;
  let number = 0;

  const thread = (): { readonly threadId?: number } =>
    sessions.thread === undefined ? {} : { threadId: sessions.thread };
  const walkOf = (address: string): Promise<Walk> =>
    requester.request<Walk>('hyperstep/walk', { ...thread(), address });

  const askAddress = (title: string): Thenable<string | undefined> =>
    vscode.window.showInputBox({
      title,
      prompt: 'A guest-virtual address: a number, a register or a symbol',
      value: 'rip',
    });

  const showAddress = async (address: string): Promise<void> => {
    const { levels, problem } = await walkOf(address);
    if (levels.length === 0) throw new Error(problem ?? `${address} has no entry`);
    await views.showEntry(levels.map(({ index }) => index));
    if (problem !== undefined) void vscode.window.showInformationMessage(`${address}: ${problem}.`);
  };

  /** The address space as it is now, as a text that can be opened. */
  const take = async (): Promise<{ path: string; title: string }> => {
    const { ranges } = await requester.request<Mappings>('hyperstep/mappings', thread());
    const title = `stop ${sessions.stops}`;
    const path = `/${number++}/${title}`;
    texts.set(path, mappingText(ranges));
    return { path, title };
  };

  return {
    walkAddress: async () => {
      const address = await askAddress('Walk an address through the page tables');
      if (address === undefined || address === '') return;
      const walk = await walkOf(address);
      const picked = await vscode.window.showQuickPick(walk.levels.map(pickOf), {
        title: `${walk.address} → ${walk.machineAddress ?? walk.problem ?? 'no translation'}`,
        placeHolder: 'Choose a level to see it in the tree',
      });
      const depth = walk.levels.findIndex((level) => pickOf(level).label === picked?.label);
      if (depth >= 0) await views.showEntry(walk.levels.slice(0, depth + 1).map(({ index }) => index));
    },
    goTo: async (given) => {
      const address = isVariable(given)
        ? addressOf(given)
        : ((given as Row | undefined)?.address ?? (await askAddress('Go to an address in the page tables')));
      if (isVariable(given) && address === undefined)
        throw new Error(`'${given.variable.value}' is no address`);
      if (address !== undefined && address !== '') await showAddress(address);
    },
    whoMaps: async (row) => {
      const mfn = row?.mfn ?? (await askNumber('Who maps this frame?', 'The number of a machine frame'));
      if (mfn === undefined) return;
      const uses = await requester.request<Uses>('hyperstep/frameUses', { mfn });
      const found = frameUses(uses);
      const nobody: Use = {
        icon: 'circle-slash',
        label: 'Nobody',
        description: 'no entry, no base table, no grant',
      };
      const items = (found.length === 0 ? [nobody] : found).map(({ icon, label, description, address }) => ({
        label,
        description,
        iconPath: new vscode.ThemeIcon(icon),
        address,
      }));
      const picked = await vscode.window.showQuickPick(items, {
        title: frameSummary(uses),
        placeHolder: 'Choose an entry to see it in the page tables',
      });
      if (picked?.address !== undefined) await showAddress(picked.address);
    },
    keep: async () => {
      const session = sessions.active?.id ?? '';
      kept = { ...(await take()), session };
      for (const path of texts.keys()) if (path !== kept.path) texts.delete(path);
      void vscode.window.showInformationMessage(
        `The page tables of ${kept.title} are kept. At another stop, “Compare the Page Tables with Those Kept” shows what changed.`,
      );
    },
    compare: async () => {
      if (kept === undefined || kept.session !== sessions.active?.id)
        throw new Error('no page tables of this machine were kept; “Keep the Page Tables” does that first');
      const now = await take();
      const uri = (path: string): vscode.Uri => vscode.Uri.from({ scheme: SCHEME, path });
      await vscode.commands.executeCommand(
        'vscode.diff',
        uri(kept.path),
        uri(now.path),
        `Page tables: ${kept.title} ↔ ${now.title}`,
      );
    },
    dispose: () => {
      provider.dispose();
    },
  };
}
