import * as vscode from 'vscode';
import type { Owned } from '../sessions';
import type { TraceHost } from './panel';
import { createTracePanels, pickTraceFile } from './panel';

/** The trace's panels and their commands. */
export function registerTrace(host: TraceHost): Owned[] {
  const panels = createTracePanels(host);
  const commands: Readonly<Record<string, (given?: unknown) => unknown>> = {
    'hyperstep.openTrace': () => panels.open(),
    'hyperstep.openTraceFile': async (given) => {
      const uri = given instanceof vscode.Uri ? given : await pickTraceFile('Open a hypercall trace');
      if (uri !== undefined) panels.openFile(uri);
    },
    'hyperstep.exportTrace': () => panels.active?.export(),
    'hyperstep.compareTraces': () => panels.active?.compare(),
    'hyperstep.traceGoToCurrent': () => panels.active?.goToCurrent(),
    'hyperstep.filterTrace': () => panels.active?.focusFilter(),
  };
  return [
    panels,
    ...Object.entries(commands).map(([name, run]) => vscode.commands.registerCommand(name, run)),
  ];
}
