import * as vscode from 'vscode';
import type { Row, RowModel } from './rows/row';

const STATE = {
  no: vscode.TreeItemCollapsibleState.None,
  collapsed: vscode.TreeItemCollapsibleState.Collapsed,
  expanded: vscode.TreeItemCollapsibleState.Expanded,
} as const;

/** Draws the rows of a model as a tree view; `undefined` while there is no session. */
export class RowTree<R extends Row> implements vscode.TreeDataProvider<R> {
  private readonly changed = new vscode.EventEmitter<R | undefined>();
  readonly onDidChangeTreeData = this.changed.event;

  constructor(private readonly model: () => RowModel<R> | undefined) {}

  refresh(): void {
    this.changed.fire(undefined);
  }

  async getChildren(row?: R): Promise<R[]> {
    try {
      return [...((await this.model()?.children(row)) ?? [])];
    } catch {
      // The session ended, or went on, while the view asked: the next stop fills it again.
      return [];
    }
  }

  getTreeItem(row: R): vscode.TreeItem {
    const item = new vscode.TreeItem(row.label, STATE[row.expandable]);
    item.id = row.id;
    item.contextValue = row.kind;
    if (row.description !== undefined) item.description = row.description;
    if (row.tooltip !== undefined) item.tooltip = new vscode.MarkdownString(row.tooltip);
    if (row.icon !== undefined) {
      item.iconPath = new vscode.ThemeIcon(
        row.changed === true ? 'diff-modified' : row.icon,
        row.changed === true ? new vscode.ThemeColor('debugView.valueChangedHighlight') : undefined,
      );
    }
    if (row.accessible !== undefined) item.accessibilityInformation = { label: row.accessible };
    if (row.checked !== undefined) {
      item.checkboxState = {
        state: row.checked ? vscode.TreeItemCheckboxState.Checked : vscode.TreeItemCheckboxState.Unchecked,
        tooltip: row.checked ? 'Remove the breakpoint' : 'Break on this hypercall',
      };
    }
    return item;
  }

  dispose(): void {
    this.changed.dispose();
  }
}
