import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { contributes, hyperstep } from './extension';

describe('the installed extension', () => {
  it('is not active until it is needed', async () => {
    const extension = hyperstep();
    assert.equal(extension.isActive, false);
    await extension.activate();
    assert.equal(extension.isActive, true);
  });

  it('has registered every command that it contributes', async () => {
    const registered = new Set(await vscode.commands.getCommands(true));
    const commands = contributes().commands.map(({ command }) => command);
    assert.ok(commands.length > 0);
    assert.deepEqual(
      commands.filter((command) => !registered.has(command)),
      [],
    );
  });

  it('has its settings, each with the default of the manifest', () => {
    const properties = Object.entries(contributes().configuration.properties);
    assert.ok(properties.length > 0);
    const settings = vscode.workspace.getConfiguration();
    for (const [name, { default: given }] of properties) assert.deepEqual(settings.get(name), given, name);
  });
});
