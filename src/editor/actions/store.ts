import * as vscode from 'vscode';
import type { HyperstepRequests } from '../../dap/protocol';
import type { Requester, Row } from '../rows/row';
import { storeText, storeValue } from '../rows/xenstore';
import { setSetting, setting } from '../settings';
import type { Sessions } from '../sessions';
import type { Views } from '../views';

type Written = HyperstepRequests['hyperstep/xenstoreWrite']['body'];

/** What a write can be taken back to: no value, where there was no node. */
interface Change {
  readonly session: string;
  readonly at: string;
  readonly before: string | undefined;
}

export interface Store {
  write(row: Row | undefined): Promise<void>;
  add(row: Row | undefined): Promise<void>;
  remove(row: Row | undefined): Promise<void>;
  /** Takes the last write or removal back. */
  undo(): Promise<void>;
  goTo(row: Row | undefined): Promise<void>;
}

const NAME = /^[A-Za-z0-9\-/_@]+$/;

/** Writes into xenstore as domain 0 does: the guest hears of it where it watches. */
export function createStore(requester: Requester, sessions: Sessions, views: Views): Store {
  const changes: Change[] = [];

  const confirmed = async (what: string, detail: string): Promise<boolean> => {
    if (!setting('xenstore.confirmWrites')) return true;
    const choice = await vscode.window.showWarningMessage(
      what,
      { modal: true, detail },
      'Write',
      'Write and Do Not Ask Again',
    );
    if (choice === 'Write and Do Not Ask Again') await setSetting('xenstore.confirmWrites', false);
    return choice !== undefined;
  };

  const send = async (at: string, value: string | undefined): Promise<Written> => {
    const written = await requester.request<Written>('hyperstep/xenstoreWrite', {
      at,
      ...(value === undefined ? {} : { value }),
    });
    views.refresh();
    return written;
  };

  const undo = async (): Promise<void> => {
    const session = sessions.active?.id;
    const change = changes.filter((one) => one.session === session).at(-1);
    if (change === undefined) throw new Error('nothing was written into xenstore that could be taken back');
    changes.splice(changes.indexOf(change), 1);
    await send(change.at, change.before);
  };

  const change = async (at: string, value: string | undefined): Promise<void> => {
    const { before, done: isDone } = await send(at, value);
    changes.push({ session: sessions.active?.id ?? '', at, before });
    const done = value === undefined ? 'removed' : before === undefined ? 'made' : 'written';
    void vscode.window
      .showInformationMessage(
        `${at} ${isDone ? 'was' : 'will be'} ${done}${isDone ? '' : ' when the hypercall that is under way has ended'}.`,
        'Undo',
      )
      .then((choice) => {
        if (choice === 'Undo') void undo();
      });
  };

  const nodeOf = async (row: Row | undefined): Promise<string | undefined> =>
    row?.node ??
    vscode.window.showInputBox({
      title: 'A node of xenstore',
      prompt: 'Its path, such as /local/domain/1/name',
      value: '/local/domain/1/',
    });

  return {
    undo,
    write: async (row) => {
      const at = await nodeOf(row);
      if (at === undefined || at === '') return;
      const { node } = await requester.request<HyperstepRequests['hyperstep/xenstore']['body']>(
        'hyperstep/xenstore',
        { at },
      );
      const text = await vscode.window.showInputBox({
        title: at,
        prompt: 'The value to be written, as domain 0',
        value: storeText(node?.value ?? ''),
      });
      if (text === undefined || storeValue(text) === node?.value) return;
      if (await confirmed(`Write “${text}” to ${at}?`, 'The guest is told if it watches the node.'))
        await change(at, storeValue(text));
    },
    add: async (row) => {
      const above = row?.node ?? '';
      const path = await vscode.window.showInputBox({
        title: 'A new node of xenstore',
        prompt: 'Its path; what is missing above it is made as well',
        value: `${above}/`,
        validateInput: (value) =>
          value.startsWith('/') && NAME.test(value) && !value.endsWith('/')
            ? undefined
            : 'A path begins with / and has letters, digits, - _ @ in its parts',
      });
      if (path === undefined) return;
      const text = await vscode.window.showInputBox({ title: path, prompt: 'Its value', value: '' });
      if (text === undefined) return;
      if (await confirmed(`Make ${path} with “${text}”?`, 'The guest is told if it watches a node above.'))
        await change(path, storeValue(text));
    },
    remove: async (row) => {
      const at = await nodeOf(row);
      if (at === undefined || at === '') return;
      const detail =
        'All that is below it goes as well, and only the node itself can be brought back by Undo.';
      if (await confirmed(`Remove ${at}?`, detail)) await change(at, undefined);
    },
    goTo: async (row) => {
      const at = await nodeOf(row);
      if (at !== undefined && at !== '') await views.showNode(at);
    },
  };
}
