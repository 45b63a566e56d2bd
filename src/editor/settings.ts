import * as vscode from 'vscode';

/** The settings of package.json below `hyperstep.`, with what holds where one is not a value of its kind. */
const SETTINGS = {
  'views.refreshWhileRunning': 2000,
  'statusBar.show': true,
  'consoles.show': true,
  'symbols.offer': true,
  'xenstore.confirmWrites': true,
} as const;

type Settings = typeof SETTINGS;
type Widened<T> = T extends number ? number : boolean;

export function setting<K extends keyof Settings>(name: K): Widened<Settings[K]> {
  const value: unknown = vscode.workspace.getConfiguration('hyperstep').get(name);
  return (typeof value === typeof SETTINGS[name] ? value : SETTINGS[name]) as Widened<Settings[K]>;
}

export const setSetting = (name: keyof Settings, value: number | boolean): Thenable<void> =>
  vscode.workspace.getConfiguration('hyperstep').update(name, value, vscode.ConfigurationTarget.Global);
