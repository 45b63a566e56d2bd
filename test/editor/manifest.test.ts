import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { LaunchArguments } from '../../src/dap/protocol';

interface Manifest {
  readonly engines: { readonly vscode: string };
  readonly icon: string;
  readonly main: string;
  readonly license: string;
  readonly categories: readonly string[];
  readonly keywords: readonly string[];
  readonly galleryBanner: { readonly color: string };
  readonly contributes: {
    readonly debuggers: readonly {
      readonly configurationAttributes: { readonly launch: { readonly properties: object } };
      readonly configurationSnippets: readonly { readonly body: object }[];
    }[];
    readonly commands: readonly { readonly command: string }[];
    readonly views: Readonly<Record<string, readonly { readonly id: string }[]>>;
    readonly walkthroughs: readonly {
      readonly icon: string;
      readonly steps: readonly {
        readonly description: string;
        readonly media: { readonly image: string; readonly altText: string };
        readonly completionEvents: readonly string[];
      }[];
    }[];
    readonly viewsWelcome: readonly { readonly view: string; readonly contents: string }[];
    readonly keybindings: readonly {
      readonly command: string;
      readonly key: string;
      readonly when: string;
    }[];
    readonly configuration: {
      readonly properties: Readonly<
        Record<
          string,
          {
            readonly type: string;
            readonly default: unknown;
            readonly description?: string;
            readonly markdownDescription?: string;
          }
        >
      >;
    };
    readonly menus: Readonly<Record<string, readonly { readonly command: string; readonly when: string }[]>>;
  };
}

const root = path.join(__dirname, '..', '..');
const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as Manifest;
const { icon, contributes } = manifest;
const [debuggerType] = contributes.debuggers;
const commands = contributes.commands.map(({ command }) => command);
const views = Object.values(contributes.views).flatMap((list) => list.map(({ id }) => id));

/** What VS Code adds to every configuration. */
const generic = ['type', 'request', 'name'];

// A record, so that the compiler sees to it that none is missing.
const launchArguments: Readonly<Record<keyof LaunchArguments, 'in launch.json' | 'set by the client'>> = {
  kernel: 'in launch.json',
  ramdisk: 'in launch.json',
  cmdline: 'in launch.json',
  memory: 'in launch.json',
  tier: 'in launch.json',
  traceRecords: 'in launch.json',
  history: 'in launch.json',
  keepUnpacked: 'in launch.json',
  vcpus: 'in launch.json',
  onPoweroff: 'in launch.json',
  onReboot: 'in launch.json',
  onCrash: 'in launch.json',
  onWatchdog: 'in launch.json',
  config: 'in launch.json',
  domains: 'in launch.json',
  disks: 'in launch.json',
  symbols: 'in launch.json',
  sourceMap: 'in launch.json',
  channels: 'in launch.json',
  restore: 'in launch.json',
  vifs: 'in launch.json',
  ports: 'in launch.json',
  stopOnEntry: 'in launch.json',
  stepIntoHypervisor: 'in launch.json',
  stepIntoDeliveries: 'in launch.json',
  noDebug: 'set by the client',
};
const written = Object.entries(launchArguments)
  .filter(([, where]) => where === 'in launch.json')
  .map(([name]) => name);

describe('the manifest', () => {
  it('has a schema for every launch argument, and for nothing else', () => {
    const { properties } = debuggerType?.configurationAttributes.launch ?? { properties: {} };
    assert.deepEqual(Object.keys(properties).sort(), [...written].sort());
  });

  it('offers snippets of what the schema knows', () => {
    const names = debuggerType?.configurationSnippets.flatMap(({ body }) => Object.keys(body)) ?? [];
    assert.ok(names.length > 0);
    assert.deepEqual(
      names.filter((name) => !generic.includes(name) && !written.includes(name)),
      [],
    );
  });

  it('refers only to commands and views that it declares', () => {
    const linked = contributes.viewsWelcome.flatMap(({ contents }) =>
      [...contents.matchAll(/\(command:(hyperstep\.[\w.]+)\)/g)].map(([, command]) => command ?? ''),
    );
    const inMenus = Object.values(contributes.menus)
      .flat()
      .map(({ command }) => command);
    assert.deepEqual(
      [...linked, ...inMenus].filter((command) => !commands.includes(command)),
      [],
    );
    const shown = contributes.viewsWelcome.map(({ view }) => view).filter((view) => view !== 'debug');
    const conditions = Object.values(contributes.menus)
      .flat()
      .flatMap(({ when }) => [...when.matchAll(/view == ([\w.]+)/g)].map(([, view]) => view ?? ''));
    assert.deepEqual(
      [...shown, ...conditions].filter((view) => !views.includes(view)),
      [],
    );
  });

  it('has a walkthrough whose pictures are there, and whose links and events name what there is', () => {
    const steps = contributes.walkthroughs.flatMap((one) => one.steps);
    assert.ok(steps.length > 0);
    for (const { media, description, completionEvents } of steps) {
      assert.ok(existsSync(path.join(root, media.image)), media.image);
      assert.ok(media.altText.length > 20, media.image);
      const named = [description, ...completionEvents].flatMap((text) =>
        [...text.matchAll(/ommand:(hyperstep\.[\w.]+)/g)].map(([, command]) => command ?? ''),
      );
      // Each view has a command that shows it.
      const known = [...commands, ...views.map((view) => `${view}.focus`)];
      assert.deepEqual(
        named.filter((command) => !known.includes(command)),
        [],
      );
    }
  });

  it('binds keys to commands that it declares, in its own views and in empty windows only', () => {
    const keys = contributes.keybindings;
    assert.deepEqual(
      keys.map(({ command }) => command).filter((command) => !commands.includes(command)),
      [],
    );
    // F5 belongs to VS Code as soon as there is anything that it could debug.
    const emptyWindow =
      /!inDebugMode && workspaceFolderCount == 0 && (!editorIsOpen|activeEditor == 'gettingStartedPage')$/;
    for (const { command, key, when } of keys)
      assert.match(when, key === 'f5' ? emptyWindow : /focusedView (==|=~)/, command);
  });

  it('is compiled against the oldest VS Code that it says it runs in', () => {
    const { version } = JSON.parse(
      readFileSync(path.join(root, 'node_modules', '@types', 'vscode', 'package.json'), 'utf8'),
    ) as { readonly version: string };
    // A newer declaration would let through what that does not have.
    assert.equal(version.replace(/\.\d+$/, ''), /^\^(\d+\.\d+)\.0$/.exec(manifest.engines.vscode)?.[1]);
  });

  it('leaves nothing to the mouse: what the menu of a row has, a key or the palette has, too', () => {
    const bound = contributes.keybindings.map(({ command }) => command);
    const hidden = (contributes.menus['commandPalette'] ?? [])
      .filter(({ when }) => when === 'false')
      .map(({ command }) => command);
    const inRows = (contributes.menus['view/item/context'] ?? []).map(({ command }) => command);
    assert.ok(inRows.length > 0);
    assert.deepEqual(
      inRows.filter((command) => hidden.includes(command) && !bound.includes(command)),
      [],
    );
  });

  it('needs nothing that only some builds of VS Code have: VSCodium and code-server do', () => {
    const names = Object.keys(manifest);
    for (const name of ['enabledApiProposals', 'extensionDependencies', 'extensionPack', 'extensionAffinity'])
      assert.ok(!names.includes(name), name);
    const folder = path.join(root, 'src', 'editor');
    const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => readFileSync(path.join(folder, name), 'utf8'))
      .join('\n');
    // Built into the workbench, or our own.
    const run = [...sources.matchAll(/executeCommand\(\s*'([^']+)'/g)].map(([, command]) => command ?? '');
    assert.ok(run.length > 5);
    assert.deepEqual(
      run.filter(
        (command) => !/^(setContext$|vscode\.(diff|open)$|workbench\.|debug\.|hyperstep\.)/.test(command),
      ),
      [],
    );
    // Other extensions, models, and who makes the editor.
    for (const word of [
      /extensions\.getExtension/,
      /vscode\.(lm|chat|proposed)\b/,
      /env\.(appName|uriScheme)/,
    ])
      assert.doesNotMatch(sources, word);
  });

  it('describes every setting, and the extension reads those and no others', () => {
    const { properties } = contributes.configuration;
    for (const [name, { description, markdownDescription, type }] of Object.entries(properties)) {
      assert.ok((description ?? markdownDescription ?? '').length > 20, name);
      assert.ok(type === 'boolean' || type === 'integer', name);
    }
    const source = readFileSync(path.join(root, 'src', 'editor', 'settings.ts'), 'utf8');
    const read = [...source.matchAll(/^ {2}'([\w.]+)': (\w+),$/gm)];
    assert.deepEqual(
      Object.fromEntries(read.map(([, name = '', value = '']) => [`hyperstep.${name}`, value])),
      Object.fromEntries(Object.entries(properties).map(([name, one]) => [name, String(one.default)])),
    );
  });

  it('says to the Marketplace what it is', () => {
    assert.deepEqual(manifest.categories, ['Debuggers', 'Education']);
    assert.ok(manifest.keywords.length >= 5 && manifest.keywords.length <= 30);
    assert.match(manifest.galleryBanner.color, /^#[0-9a-f]{6}$/);
    assert.equal(manifest.license, 'MIT');
    for (const file of ['README.md', 'CHANGELOG.md', 'LICENSE'])
      assert.ok(existsSync(path.join(root, file)), file);
  });

  it('names an icon that is a PNG of 128 by 128', () => {
    const file = path.join(root, icon);
    assert.ok(existsSync(file));
    const png = readFileSync(file);
    // IHDR comes first, with width and height (PNG specification, 11.2.2).
    assert.equal(png.toString('latin1', 12, 16), 'IHDR');
    assert.deepEqual([png.readUInt32BE(16), png.readUInt32BE(20)], [128, 128]);
  });
});
