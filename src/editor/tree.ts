import * as vscode from 'vscode';
import { matches } from './rows/filter';
import { contextOf, type Row, type RowModel } from './rows/row';

const { None, Collapsed, Expanded } = vscode.TreeItemCollapsibleState;

/** Draws the rows of a model as a tree view; `undefined` while there is nothing to show. */
export class RowTree<R extends Row> implements vscode.TreeDataProvider<R> {
  private readonly changed = new vscode.EventEmitter<R | undefined>();
  readonly onDidChangeTreeData = this.changed.event;
  /** Kept here, since VS Code forgets it with the rows, which go when a session ends or is restarted. */
  private readonly expanded = new Set<string>();
  private readonly parents = new WeakMap<R, R>();
  /** Rows below one of these are shown whatever they are called: it is what was looked for. */
  private whole = new WeakSet<R>();
  private words = '';

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

  get filter(): string {
    return this.words;
  }

  /** Only rows that hold these words, with what leads to them; all where there are none. */
  set filter(words: string) {
    this.words = words.trim();
    this.whole = new WeakSet();
    this.refresh();
  }

  async getChildren(row?: R): Promise<R[]> {
    try {
      const model = this.model();
      return model === undefined ? [] : await this.shown(model, row);
    } catch {
      // The session ended, or went on, while the view asked: the next stop fills it again.
      return [];
    }
  }

  getParent(row: R): R | undefined {
    return this.parents.get(row);
  }

  /** Follows a way from the roots down, a test a level, as far as there are such rows. */
  async find(way: readonly ((row: R) => boolean)[]): Promise<R | undefined> {
    let at: R | undefined;
    for (const isNext of way) {
      const next = (await this.getChildren(at)).find(isNext);
      if (next === undefined) break;
      at = next;
    }
    return at;
  }

  private async shown(model: RowModel<R>, row: R | undefined): Promise<R[]> {
    const rows = [...(await model.children(row))];
    if (row !== undefined) for (const one of rows) this.parents.set(one, row);
    if (this.words === '') return rows;
    if (row !== undefined && this.whole.has(row)) {
      for (const one of rows) this.whole.add(one);
      return rows;
    }
    const kept = await Promise.all(rows.map((one) => this.keeps(model, one)));
    return rows.filter((_, index) => kept[index]);
  }

  private async keeps(model: RowModel<R>, row: R): Promise<boolean> {
    if (matches(row, this.words)) {
      this.whole.add(row);
      return true;
    }
    if (!row.expandable) return false;
    return model.searchable !== true || (await this.shown(model, row)).length > 0;
  }

  getTreeItem(row: R): vscode.TreeItem {
    const { id, label, description, tooltip, icon, accessible, expandable, checked } = row;
    const changed = row.changed === true;
    const open = this.expanded.has(id) || (this.words !== '' && !this.whole.has(row));
    const state = !expandable ? None : open ? Expanded : Collapsed;
    const item = new vscode.TreeItem(changed ? { label, highlights: [[0, label.length]] } : label, state);
    // Another name for what a filter opened: VS Code keeps what it knows of a row by its name.
    item.id = this.words === '' ? id : `${id} ? ${this.words}`;
    item.contextValue = contextOf(row);
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
