import assert from 'node:assert/strict';
import * as vscode from 'vscode';

/** The part of package.json that these tests compare with. */
interface Manifest {
  readonly contributes: {
    readonly commands: readonly { readonly command: string }[];
    readonly configuration: {
      readonly properties: Readonly<Record<string, { readonly default: unknown }>>;
    };
    readonly debuggers: readonly {
      readonly configurationSnippets: readonly {
        readonly label: string;
        readonly body: vscode.DebugConfiguration;
      }[];
    }[];
  };
}

/** Hyperstep as it is installed. */
export function hyperstep(): vscode.Extension<unknown> {
  const extension = vscode.extensions.getExtension('hyperstep.hyperstep');
  assert.ok(extension, 'Hyperstep is not installed');
  return extension;
}

export const contributes = (): Manifest['contributes'] => (hyperstep().packageJSON as Manifest).contributes;
