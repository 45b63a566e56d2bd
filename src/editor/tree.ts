import * as vscode from 'vscode';
import type { Row, RowModel } from './rows/row';

const { None, Collapsed, Expanded } = vscode.TreeItemCollapsibleState;

/** Draws the rows of a model as a tree view; `undefined` while there is nothing to show. */
export class RowTree<R extends Row> implements vscode.TreeDataProvider<R> {
  private readonly changed = new vscode.EventEmitter<R | undefined>();
  readonly onDidChangeTreeData = this.changed.event;
  /** Kept here, since VS Code forgets it with the rows, which go when a session ends or is restarted. */
  private readonly expanded = new Set<string>();

  constructor(private readonly model: () => RowModel<R> | undefined) {}

  /** The view that shows this tree; what is expanded in it is what a person expanded. */
  watch(view: vscode.TreeView<R>): vscode.Disposable {
    return vscode.Disposable.from(
      view.onDidExpandElement(({ element }) => this.expanded.add(element.id)),
      view.onDidCollapseElement(({ element }) => this.expanded.delete(element.id)),
    );
  }

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
    const { id, label, description, tooltip, icon, accessible, kind, expandable, checked } = row;
    const changed = row.changed === true;
    const state = !expandable ? None : this.expanded.has(id) ? Expanded : Collapsed;
    const item = new vscode.TreeItem(changed ? { label, highlights: [[0, label.length]] } : label, state);
    item.id = id;
    item.contextValue = kind;
    if (description !== undefined) item.description = description;
    if (tooltip !== undefined) item.tooltip = new vscode.MarkdownString(tooltip);
    if (icon !== undefined) {
      const color = changed ? new vscode.ThemeColor('debugView.valueChangedHighlight') : undefined;
      item.iconPath = new vscode.ThemeIcon(icon, color);
    }
    if (accessible !== undefined) item.accessibilityInformation = { label: accessible };
    if (checked !== undefined) {
      item.checkboxState = {
        state: checked ? vscode.TreeItemCheckboxState.Checked : vscode.TreeItemCheckboxState.Unchecked,
        tooltip: checked ? 'Remove the breakpoint' : 'Break on this hypercall',
      };
    }
    return item;
  }

  dispose(): void {
    this.changed.dispose();
  }
}
