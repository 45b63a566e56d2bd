import * as vscode from 'vscode';
import type { HyperstepRequests } from '../../dap/protocol';
import type { Requester } from '../rows/row';
import type { Sessions } from '../sessions';

type Walk = HyperstepRequests['hyperstep/walk']['body'];
type Domains = HyperstepRequests['hyperstep/domains']['body'];

/** VS Code's own memory view; it offers the hex editor where that is not installed. */
const VIEW_MEMORY = 'workbench.debug.viewlet.action.viewMemory';
const ADD_TO_WATCH = 'debug.addToWatchExpressions';

export async function viewMemory(sessions: Sessions, memoryReference: string): Promise<void> {
  const sessionId = sessions.active?.id;
  if (sessionId === undefined) throw new Error('no machine is being debugged');
  await vscode.commands.executeCommand(VIEW_MEMORY, { sessionId, variable: { memoryReference } });
}

export async function watch(expression: string): Promise<void> {
  await vscode.commands.executeCommand(ADD_TO_WATCH, { variable: { evaluateName: expression } });
  await vscode.commands.executeCommand('workbench.debug.action.focusWatchView');
}

/** Asks for one of the three address spaces and an address in it. */
export async function viewMemoryAt(requester: Requester, sessions: Sessions): Promise<void> {
  const { domains } = await requester.request<Domains>('hyperstep/domains', {});
  const spaces = [
    { label: 'Guest-virtual', description: 'as the vCPU that is selected sees it', prefix: '' },
    ...domains.map(({ id, name }) => ({
      label: `Pseudo-physical of d${id}`,
      description: `what ${name} takes for its physical memory`,
      prefix: `pseudophysical:d${id}:`,
    })),
    { label: 'Machine', description: 'the frames themselves', prefix: 'machine:' },
  ];
  const space = await vscode.window.showQuickPick(spaces, { title: 'View memory: which?' });
  if (space === undefined) return;
  const isVirtual = space.prefix === '';
  const given = await vscode.window.showInputBox({
    title: `View memory: ${space.label}`,
    prompt: isVirtual ? 'An address: a number, a register or a symbol' : 'An address: a number',
    value: isVirtual ? 'rsp' : '0x1000',
  });
  if (given === undefined || given.trim() === '') return;
  const address = isVirtual
    ? (
        await requester.request<Walk>('hyperstep/walk', {
          ...(sessions.thread === undefined ? {} : { threadId: sessions.thread }),
          address: given,
        })
      ).address
    : given.trim();
  await viewMemory(sessions, space.prefix + address);
}
