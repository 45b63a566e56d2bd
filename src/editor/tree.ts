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
  /** What was answered last, for each row that was asked about: its name, or '' for the roots. */
  private readonly given = new Map<string, string>();
  /** What has been asked for ahead of the view. */
  private ahead = new Map<string, R[]>();
  private refreshes = 0;

  constructor(private readonly model: () => RowModel<R> | undefined) {}

  /** The view that shows this tree; what is expanded in it is what a person expanded. */
  watch(view: vscode.TreeView<R>): vscode.Disposable {
    return vscode.Disposable.from(
      view.onDidExpandElement(({ element }) => this.expanded.add(element.id)),
      view.onDidCollapseElement(({ element }) => this.expanded.delete(element.id)),
    );
  }

  refresh(): void {
    this.refreshes++;
    this.ahead.clear();
    this.given.clear();
    this.changed.fire(undefined);
  }

  /**
   * Looks at a machine that runs, and shows what is different: a view that is asked to refresh says that it is busy
   * until it has its answer, and it reads to a person again what it had read before.
   */
  async follow(): Promise<void> {
    const { refreshes } = this;
    const now = new Map<string, R[]>();
    const ask = async (row: R | undefined): Promise<void> => {
      const rows = await this.ask(row);
      now.set(row?.id ?? '', rows);
      await Promise.all(rows.filter((one) => one.expandable && this.isOpen(one)).map(ask));
    };
    try {
      await ask(undefined);
    } catch {
      // It stopped, or is gone: then the view is filled anew.
      return;
    }
    if (refreshes !== this.refreshes) return;
    if ([...now].every(([id, rows]) => this.given.get(id) === JSON.stringify(rows))) return;
    this.ahead = now;
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
    const id = row?.id ?? '';
    try {
      const rows = this.ahead.get(id) ?? (await this.ask(row));
      this.ahead.delete(id);
      this.given.set(id, JSON.stringify(rows));
      return rows;
    } catch {
      // The session ended, or went on, while the view asked: the next stop fills it again.
      return [];
    }
  }

  private async ask(row: R | undefined): Promise<R[]> {
    const model = this.model();
    return model === undefined ? [] : this.shown(model, row);
  }

  /** Whether the view shows what is below it. */
  private isOpen(row: R): boolean {
    return this.expanded.has(row.id) || (this.words !== '' && !this.whole.has(row));
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
    const state = !expandable ? None : this.isOpen(row) ? Expanded : Collapsed;
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
