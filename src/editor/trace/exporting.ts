import { open, rm } from 'node:fs/promises';
import * as vscode from 'vscode';
import type { ExportFormat, TraceAccess } from '../../dap/protocol';
import { exportRecords } from '../../machine/records/export';

const FORMATS: readonly (vscode.QuickPickItem & {
  readonly format: ExportFormat;
  readonly extension: string;
})[] = [
  {
    format: 'ndjson',
    extension: 'ndjson',
    label: 'NDJSON',
    detail: 'A line of JSON for each record, with everything that is known of it; can be opened here again',
  },
  {
    format: 'perfetto',
    extension: 'json',
    label: 'Perfetto / Chrome trace',
    detail:
      'For ui.perfetto.dev and chrome://tracing: domains as processes, vCPUs as threads; can be opened here again',
  },
  { format: 'csv', extension: 'csv', label: 'CSV', detail: 'A table for spreadsheets and notebooks' },
];

/** Asks for a format and a file, and writes what the filter finds, a batch at a time. */
export async function exportTrace(trace: TraceAccess, filter: string, name: string): Promise<void> {
  const chosen = await vscode.window.showQuickPick(FORMATS, {
    title: filter === '' ? 'Export the trace' : `Export what matches ${filter}`,
  });
  if (chosen === undefined) return;
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
  const file = `${name.replaceAll(/[^\w.-]+/g, '-').replace(/\.(ndjson|json)$/, '')}-trace.${chosen.extension}`;
  const uri = await vscode.window.showSaveDialog({
    title: 'Export the trace',
    filters: { [chosen.label]: [chosen.extension] },
    ...(folder === undefined ? {} : { defaultUri: vscode.Uri.joinPath(folder, file) }),
  });
  if (uri === undefined) return;
  const written = await vscode.window.withProgress(
    {
      location: vscode.ProgressLocation.Notification,
      title: `Exporting to ${uri.fsPath}`,
      cancellable: true,
    },
    (progress, token) =>
      writeTrace(trace, filter, chosen.format, uri.fsPath, token, (message) => progress.report({ message })),
  );
  if (written !== undefined)
    void vscode.window.showInformationMessage(`${written} records are in ${uri.fsPath}.`);
}

/** @returns how many; undefined when it was given up, and then there is no file */
async function writeTrace(
  trace: TraceAccess,
  filter: string,
  format: ExportFormat,
  path: string,
  token: vscode.CancellationToken,
  say: (text: string) => void,
): Promise<number | undefined> {
  const file = await open(path, 'w');
  let written: number | undefined;
  try {
    written = await exportRecords(
      trace,
      filter,
      format,
      (text) => file.write(text),
      (step, records) => {
        say(`${records} records ${step}`);
        return !token.isCancellationRequested;
      },
    );
    return written;
  } finally {
    await file.close();
    if (written === undefined) await rm(path);
  }
}
