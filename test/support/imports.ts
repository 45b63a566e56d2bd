import ts from 'typescript';

export interface Import {
  readonly specifier: string;
  /** Only types come through: `import type`, `export type`, or every name marked `type`. */
  readonly typeOnly: boolean;
  readonly line: number;
}

const parse = (name: string, text: string): ts.SourceFile =>
  ts.createSourceFile(name, text, ts.ScriptTarget.ES2022, true);

const lineOf = (source: ts.SourceFile, node: ts.Node): number =>
  source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;

function visit(node: ts.Node, callback: (node: ts.Node) => void): void {
  callback(node);
  ts.forEachChild(node, (child) => {
    visit(child, callback);
  });
}

function importIsTypeOnly(clause: ts.ImportClause | undefined): boolean {
  if (clause === undefined) return false;
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  const bindings = clause.namedBindings;
  if (clause.name !== undefined || bindings === undefined || !ts.isNamedImports(bindings)) return false;
  return bindings.elements.length > 0 && bindings.elements.every((element) => element.isTypeOnly);
}

function exportIsTypeOnly(declaration: ts.ExportDeclaration): boolean {
  if (declaration.isTypeOnly) return true;
  const clause = declaration.exportClause;
  return (
    clause !== undefined && ts.isNamedExports(clause) && clause.elements.every((name) => name.isTypeOnly)
  );
}

/** Every module a file names: import, export from, import(), require(), and `import('…')` as a type. */
export function importsOf(name: string, text: string): Import[] {
  const source = parse(name, text);
  const found: Import[] = [];
  const add = (node: ts.Node, specifier: ts.Node | undefined, typeOnly: boolean): void => {
    if (specifier !== undefined && ts.isStringLiteralLike(specifier)) {
      found.push({ specifier: specifier.text, typeOnly, line: lineOf(source, node) });
    }
  };
  visit(source, (node) => {
    if (ts.isImportDeclaration(node)) add(node, node.moduleSpecifier, importIsTypeOnly(node.importClause));
    else if (ts.isExportDeclaration(node)) add(node, node.moduleSpecifier, exportIsTypeOnly(node));
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      add(node, node.argument.literal, true);
    } else if (ts.isCallExpression(node)) {
      const callee = node.expression;
      const loads =
        callee.kind === ts.SyntaxKind.ImportKeyword || (ts.isIdentifier(callee) && callee.text === 'require');
      if (loads) add(node, node.arguments[0], false);
    }
  });
  return found;
}

/** Where a file uses one of `names`: a global by itself, `object.member`, or the words async and await. */
export function usesOf(
  name: string,
  text: string,
  names: readonly string[],
): { name: string; line: number }[] {
  const source = parse(name, text);
  const wanted = new Set(names);
  const found: { name: string; line: number }[] = [];
  const add = (node: ts.Node, used: string): void => {
    if (wanted.has(used)) found.push({ name: used, line: lineOf(source, node) });
  };
  visit(source, (node) => {
    if (ts.isPropertyAccessExpression(node) && ts.isIdentifier(node.expression)) {
      add(node, `${node.expression.text}.${node.name.text}`);
    } else if (node.kind === ts.SyntaxKind.AsyncKeyword) add(node, 'async');
    else if (ts.isAwaitExpression(node)) add(node, 'await');
    else if (ts.isIdentifier(node) && !isMemberName(node)) add(node, node.text);
  });
  return found;
}

/** `x.Date`, `{ Date: 1 }` and a member called `Date` are not the global. */
function isMemberName(node: ts.Identifier): boolean {
  const parent = node.parent;
  if (ts.isPropertyAccessExpression(parent) || ts.isPropertyAssignment(parent)) return parent.name === node;
  return (
    (ts.isPropertySignature(parent) ||
      ts.isPropertyDeclaration(parent) ||
      ts.isMethodSignature(parent) ||
      ts.isMethodDeclaration(parent) ||
      ts.isEnumMember(parent)) &&
    parent.name === node
  );
}
