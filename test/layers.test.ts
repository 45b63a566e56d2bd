import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { importsOf, usesOf, type Import } from './support/imports';
import { asynchronous, entries, layers, nondeterministic, type Layer } from './support/layers';

const root = path.join(__dirname, '..');
const src = path.join(root, 'src');

/** 'machine/clock' for src/machine/clock.ts; '' before the slash for a file directly in src/. */
const within = (file: string): string => path.relative(src, file).split(path.sep).join('/');
const layerOf = (file: string): string =>
  within(file).includes('/') ? (within(file).split('/')[0] ?? '') : '';

const sources = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((name) => /\.tsx?$/.test(name))
  .map((name) => ({ file: path.join(src, name), text: readFileSync(path.join(src, name), 'utf8') }));

const covers = (allowed: readonly string[] | undefined, module: string): boolean =>
  (allowed ?? []).some((prefix) => module === prefix || module.startsWith(`${prefix}/`));

const packageOf = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');

/** @returns why `file` may not have this import, or undefined if it may */
function objection(file: string, wanted: Import): string | undefined {
  const own = layerOf(file);
  const layer: Layer | undefined = layers[own];
  const { specifier, typeOnly } = wanted;
  if (!specifier.startsWith('.')) {
    if (specifier.startsWith('node:')) return layer?.core ? `${own} is host-free` : undefined;
    const packages = layer === undefined ? entries[within(file)]?.packages : layer.packages;
    if (packages?.includes(packageOf(specifier))) return undefined;
    return `package ${packageOf(specifier)} is not listed for ${own === '' ? within(file) : own}`;
  }
  const target = path.resolve(path.dirname(file), specifier);
  if (!target.startsWith(src + path.sep)) return 'it leaves src/';
  const other = layerOf(target);
  if (other === '') return 'the files directly in src/ are wiring: nobody imports them';
  if (layer === undefined || other === own) return undefined;
  if (covers(layer.values, within(target))) return undefined;
  if (covers(layer.types, within(target)))
    return typeOnly ? undefined : `${own} may import only types from ${other}`;
  return `the table has no edge ${own} → ${within(target)}`;
}

const complaints = (file: string, text: string): string[] =>
  importsOf(file, text).flatMap((wanted) => {
    const why = objection(file, wanted);
    return why === undefined
      ? []
      : [`src/${within(file)}:${wanted.line} imports '${wanted.specifier}': ${why}`];
  });

function forbiddenUses(file: string, text: string): string[] {
  const { deterministic } = layers[layerOf(file)] ?? {};
  if (deterministic === undefined) return [];
  const names = deterministic === 'sync' ? [...nondeterministic, ...asynchronous] : nondeterministic;
  return usesOf(file, text, names).map(({ name, line }) => `src/${within(file)}:${line} uses ${name}`);
}

describe('layers', () => {
  it('every folder and file of src/ stands in the table', () => {
    const strangers = sources
      .map(({ file }) => file)
      .filter((file) => (layerOf(file) === '' ? !(within(file) in entries) : !(layerOf(file) in layers)));
    assert.deepEqual(strangers.map(within), []);
  });

  it('imports follow the edges of the table', () => {
    assert.deepEqual(
      sources.flatMap(({ file, text }) => complaints(file, text)),
      [],
    );
  });

  it('nothing in or below machine/ reads a clock or chance, or hangs on the order of promises', () => {
    assert.deepEqual(
      sources.flatMap(({ file, text }) => forbiddenUses(file, text)),
      [],
    );
  });

  it('tsconfig.core.json compiles exactly the host-free layers, without types of a host', () => {
    const file = path.join(root, 'tsconfig.core.json');
    const { config } = ts.readConfigFile(file, (name) => readFileSync(name, 'utf8')) as {
      config: { include: string[]; compilerOptions: { types: string[]; lib: string[] } };
    };
    const core = Object.keys(layers).filter((name) => layers[name]?.core);
    assert.deepEqual(
      config.include,
      core.map((name) => `src/${name}`),
    );
    assert.deepEqual(config.compilerOptions.types, []);
    assert.deepEqual(config.compilerOptions.lib, ['ES2022']);
  });

  it('the table has no cycle', () => {
    const names = Object.keys(layers);
    for (const [index, name] of names.entries()) {
      const { values = [], types = [] } = layers[name] ?? {};
      for (const edge of [...values, ...types]) {
        assert.ok(names.indexOf(edge.split('/')[0] ?? '') < index, `${name} → ${edge} points upward`);
      }
    }
  });
});

describe('layers: the check itself', () => {
  const inLayer = (file: string, text: string): string[] => complaints(path.join(src, file), text);
  const cases: [file: string, text: string, complaint: RegExp | undefined][] = [
    ['abi/x.ts', "import { mfn } from '../base/branded';", undefined],
    ['base/x.ts', "import { E } from '../abi/errno';", /no edge base → abi\/errno/],
    ['hypervisor/x.ts', "import type { Cpu } from '../cpu/cpu';", undefined],
    ['hypervisor/x.ts', "import { type Cpu } from '../cpu/cpu';", undefined],
    ['hypervisor/x.ts', "import { type Cpu, run } from '../cpu/cpu';", /only types from cpu/],
    ['hypervisor/x.ts', "export * from '../cpu/cpu';", /only types from cpu/],
    ['hypervisor/x.ts', "let e: import('../cpu/cpu').Cpu;", undefined],
    ['debugger/x.ts', "import type { Target } from '../machine/target';", undefined],
    [
      'debugger/x.ts',
      "import type { Machine } from '../machine/machine';",
      /no edge debugger → machine\/machine/,
    ],
    ['cpu/x.ts', "import 'node:fs';", /host-free/],
    ['cpu/x.ts', "const fs = require('fs');", /package fs is not listed/],
    ['dap/x.ts', "import * as vscode from 'vscode';", /vscode is not listed for dap/],
    ['dap/x.ts', "await import('../editor/view');", /no edge dap → editor\/view/],
    ['editor/x.ts', "import * as vscode from 'vscode';", undefined],
    ['editor/x.ts', "import { serve } from '../dap/server';", /only types from dap/],
    ['extension.ts', "import { commands } from 'vscode';", undefined],
    ['adapter.ts', "import { commands } from 'vscode';", /vscode is not listed for adapter.ts/],
    ['cli/x.ts', "import { main } from '../cli';", /are wiring/],
    ['cpu/x.ts', "import { x } from '../../test/support/x';", /leaves src/],
  ];
  for (const [file, text, complaint] of cases) {
    it(`${complaint === undefined ? 'allows' : 'refuses'} ${text} in ${file}`, () => {
      const found = inLayer(file, text);
      if (complaint === undefined) assert.deepEqual(found, []);
      else assert.match(found.join('\n'), complaint);
    });
  }

  it('tells a clock from a member that is called like one', () => {
    const lines = (text: string): number[] =>
      usesOf('x.ts', text, [...nondeterministic, ...asynchronous]).map(({ line }) => line);
    assert.deepEqual(
      lines('Date.now();\nnew Date();\nMath.random();\nawait x;\nsetTimeout(f);'),
      [1, 2, 3, 4, 5],
    );
    assert.deepEqual(lines('guest.Date; ({ performance: 1 }); Math.floor(1); // Date.now()'), []);
  });
});
