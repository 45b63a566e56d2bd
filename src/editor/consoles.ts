import * as vscode from 'vscode';
import type { Owned, Sessions } from './sessions';

/** Each domain's console as a terminal: made at its first output, given to the next session of that name. */
export function guestConsoles(sessions: Sessions): Owned {
  interface Console {
    readonly terminal: vscode.Terminal;
    readonly output: vscode.EventEmitter<string>;
    session: vscode.DebugSession | undefined;
  }
  const consoles = new Map<string, Console>();

  const open = (key: string, name: string): Console => {
    const output = new vscode.EventEmitter<string>();
    // Output that comes before the terminal is shown would be lost.
    let early: string[] | undefined = [];
    const emit = output.event;
    const pty: vscode.Pseudoterminal = {
      onDidWrite: (listener, that, disposables) => emit(listener, that, disposables),
      open: () => {
        for (const text of early ?? []) output.fire(text);
        early = undefined;
      },
      close: () => {
        consoles.delete(key);
        output.dispose();
      },
      handleInput: (data) => {
        const session = consoles.get(key)?.session;
        void session?.customRequest('hyperstep/consoleInput', { domain: Number(key.split(':')[1]), data });
      },
    };
    const terminal = vscode.window.createTerminal({ name, pty, iconPath: new vscode.ThemeIcon('vm') });
    const fire = output.fire.bind(output);
    output.fire = (text) => {
      if (early !== undefined) early.push(text);
      else fire(text);
    };
    const made: Console = { terminal, output, session: undefined };
    consoles.set(key, made);
    terminal.show(true);
    return made;
  };

  const written = sessions.onConsole(({ session, domain, data }) => {
    const key = `${session.name}:${domain}`;
    const console = consoles.get(key) ?? open(key, `${session.name} · d${domain} console`);
    console.session = session;
    console.output.fire(data);
  });
  const ended = vscode.debug.onDidTerminateDebugSession((session) => {
    for (const console of consoles.values()) {
      if (console.session !== session) continue;
      console.session = undefined;
      console.output.fire('\r\n\x1b[2m— the machine is gone —\x1b[0m\r\n');
    }
  });
  return {
    dispose: () => {
      written.dispose();
      ended.dispose();
      for (const { terminal } of [...consoles.values()]) terminal.dispose();
    },
  };
}
