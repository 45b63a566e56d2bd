import * as vscode from 'vscode';
import { setting } from './settings';
import { scrollback } from './scrollback';
import type { Scrollback } from './scrollback';
import type { ConsoleOutput, Owned, Sessions } from './sessions';

export interface GuestConsoles extends Owned {
  /** Brings the consoles of the active session to the front, also those that were closed. */
  show(): void;
}

/** One of a domain's consoles over the sessions of one name. */
interface Console {
  readonly name: string;
  readonly domain: number;
  readonly number: number;
  readonly text: Scrollback;
  session: vscode.DebugSession | undefined;
  /** None when the user closed it. */
  terminal: vscode.Terminal | undefined;
  /** Of the terminal, once it is open. */
  write: ((text: string) => void) | undefined;
}

const dim = (text: string): string => `\r\n\x1b[2m${text}\x1b[0m\r\n`;

/**
 * Each domain's console as a terminal: made at its first output, used again by the next session of that name.
 * A terminal that was closed stays closed for that session, unless it is asked for.
 */
export function guestConsoles(sessions: Sessions): GuestConsoles {
  const consoles = new Map<string, Console>();

  const open = (console: Console, asked: boolean): void => {
    const output = new vscode.EventEmitter<string>();
    const pty: vscode.Pseudoterminal = {
      onDidWrite: output.event,
      open: () => {
        output.fire(console.text.all());
        console.write = (text) => {
          output.fire(text);
        };
      },
      close: () => {
        console.terminal = undefined;
        console.write = undefined;
        output.dispose();
      },
      handleInput: (data) => {
        console.session
          ?.customRequest('hyperstep/consoleInput', { domain: console.domain, console: console.number, data })
          .then(
            () => undefined,
            (error: unknown) => {
              output.fire(
                dim(`the guest did not get this: ${error instanceof Error ? error.message : String(error)}`),
              );
            },
          );
      },
    };
    console.terminal = vscode.window.createTerminal({
      name: console.name,
      pty,
      iconPath: new vscode.ThemeIcon('vm'),
      isTransient: true,
    });
    if (asked || setting('consoles.show')) console.terminal.show(true);
  };

  const print = (console: Console, text: string): void => {
    console.text.add(text);
    console.write?.(text);
  };

  /** The console that this output belongs to; a session that writes to it for the first time takes it over. */
  const consoleOf = ({ session, domain, console: number }: ConsoleOutput): Console => {
    const shared = `${session.name}:${domain}:${number}`;
    const owner = consoles.get(shared)?.session;
    // Two at once of the same name do not share one.
    const key = owner === undefined || owner === session ? shared : `${shared}:${session.id}`;
    const name = `${session.name} · d${domain} console${number === 0 ? '' : ` ${number}`}`;
    const found: Console = consoles.get(key) ?? {
      name,
      domain,
      number,
      text: scrollback(),
      session: undefined,
      terminal: undefined,
      write: undefined,
    };
    consoles.set(key, found);
    if (found.session === session) return found;
    found.session = session;
    if (found.terminal === undefined) {
      found.text.clear();
      open(found, false);
    } else if (setting('consoles.show')) found.terminal.show(true);
    return found;
  };

  const owned = vscode.Disposable.from(
    sessions.onConsole((output) => {
      print(consoleOf(output), output.data);
    }),
    vscode.debug.onDidTerminateDebugSession((session) => {
      for (const console of consoles.values()) {
        if (console.session !== session) continue;
        console.session = undefined;
        print(console, dim('The machine is gone.'));
      }
    }),
  );
  return {
    show: () => {
      const shown = [...consoles.values()].filter(
        ({ session, terminal }) => session === sessions.active || terminal !== undefined,
      );
      for (const console of shown) {
        if (console.terminal === undefined) open(console, true);
        else console.terminal.show();
      }
      if (shown.length === 0)
        void vscode.window.showInformationMessage(
          'No guest has written to its console yet. A console appears with the first output.',
        );
    },
    dispose: () => {
      owned.dispose();
      for (const { terminal } of consoles.values()) terminal?.dispose();
    },
  };
}
