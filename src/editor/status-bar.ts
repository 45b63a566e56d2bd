import * as vscode from 'vscode';
import type { MachineStatus } from '../dap/protocol';
import { statusText, type Sample } from './rows/status';
import type { Requester } from './rows/row';
import type { Owned, Sessions } from './sessions';
import { setting } from './settings';

/** Between two looks at a machine that runs. */
const EVERY_MS = 1000;

/** Whether the machine runs, its virtual time, and how fast it goes; a click offers what can be done with it. */
export function createStatusBar(sessions: Sessions, requester: Requester): Owned {
  const item = vscode.window.createStatusBarItem('hyperstep.status', vscode.StatusBarAlignment.Left, 50);
  item.name = 'Hyperstep';
  item.command = 'hyperstep.menu';
  let before: Sample | undefined;
  /** Whose that is. */
  let of: vscode.DebugSession | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const look = async (): Promise<void> => {
    const session = sessions.active;
    if (session === undefined || !setting('statusBar.show')) {
      item.hide();
      return;
    }
    try {
      const status = await requester.request<MachineStatus>('hyperstep/status', {});
      if (session !== sessions.active) return;
      const now = { status, wallMs: performance.now() };
      const { text, accessible } = statusText(of === session ? before : undefined, now);
      item.text = text;
      item.accessibilityInformation = { label: accessible, role: 'button' };
      item.tooltip = new vscode.MarkdownString(
        `**${session.name.replaceAll('*', '')}**\n\n${accessible}.\n\n${BigInt(status.retired)} instructions so far.\n\nClick for what can be done.`,
      );
      item.show();
      before = now;
      of = session;
      clearTimeout(timer);
      // It may be about to run: a session begins with a machine that stands still.
      if (sessions.state === 'running') timer = setTimeout(() => void look(), EVERY_MS);
    } catch {
      // There is no machine yet, or none any more.
      item.hide();
      clearTimeout(timer);
      if (sessions.active !== undefined) timer = setTimeout(() => void look(), EVERY_MS);
    }
  };
  const change = sessions.onDidChange(() => {
    if (sessions.active === undefined) of = undefined;
    void look();
  });
  return {
    dispose: () => {
      clearTimeout(timer);
      change.dispose();
      item.dispose();
    },
  };
}
