/** Bodies that are there twice: with probes and without. */
import ts from 'typescript';

/**
 * Whether a function's body can be a function of its own, and whether it pays: not for a single statement, and not for
 * a function that makes others for later, which runs once and leaves them in the form it has itself.
 */
export function hasTwin(node: ts.FunctionLikeDeclaration, body: ts.Block): boolean {
  const modifiers = ts.canHaveModifiers(node) ? (ts.getModifiers(node) ?? []) : [];
  return (
    !ts.isConstructorDeclaration(node) &&
    node.asteriskToken === undefined &&
    !modifiers.some(({ kind }) => kind === ts.SyntaxKind.AsyncKeyword) &&
    statementsIn(body) > 1 &&
    !namesItsCall(body) &&
    !makesFunctions(body)
  );
}

/** Those of the function itself. */
function statementsIn(body: ts.Block): number {
  let found = 0;
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node)) return;
    if (ts.isStatement(node) && !ts.isBlock(node)) found++;
    ts.forEachChild(node, visit);
  };
  ts.forEachChild(body, visit);
  return found;
}

const OF_THE_CALL: ReadonlySet<ts.SyntaxKind> = new Set([
  ts.SyntaxKind.ThisKeyword,
  ts.SyntaxKind.SuperKeyword,
  ts.SyntaxKind.MetaProperty,
]);

/** Whether it says `this` or the like: an arrow that did would make it a variable on the heap. */
function namesItsCall(node: ts.Node): boolean {
  if (OF_THE_CALL.has(node.kind) || (ts.isIdentifier(node) && node.text === 'arguments')) return true;
  if (ts.isFunctionLike(node) && !ts.isArrowFunction(node)) return false;
  return ts.forEachChild(node, namesItsCall) ?? false;
}

/** Whether functions in it may be called when it has returned: any but callbacks and what is only called by name. */
function makesFunctions(body: ts.Block): boolean {
  const called = (node: ts.Node): boolean =>
    ts.isCallExpression(node.parent) || (ts.isNewExpression(node.parent) && node.parent.expression !== node);
  const local = new Set<string>();
  const made = (node: ts.Node): boolean => {
    if (ts.isClassLike(node)) return true;
    if (ts.isFunctionLike(node) && 'body' in node) {
      const { parent } = node;
      if (ts.isVariableDeclaration(parent) && ts.isIdentifier(parent.name)) local.add(parent.name.text);
      else if (!called(node)) return true;
    }
    return ts.forEachChild(node, made) ?? false;
  };
  const leaves = (node: ts.Node): boolean =>
    (ts.isIdentifier(node) && local.has(node.text) && !isName(node) && !called(node)) ||
    (ts.forEachChild(node, leaves) ?? false);
  return made(body) || leaves(body);
}

/** Of a declaration, or of a member: not the variable's value. */
const isName = (node: ts.Identifier): boolean =>
  (ts.isVariableDeclaration(node.parent) && node.parent.name === node) ||
  (ts.isPropertyAccessExpression(node.parent) && node.parent.name === node) ||
  (ts.isPropertyAssignment(node.parent) && node.parent.name === node);

/** The same code without comments, in one line: statements have to end with semicolons, as Prettier has them. */
export function oneLine(code: string): string {
  const source = ts.createSourceFile('twin.ts', `()=>{${code}}`, ts.ScriptTarget.ES2022, true);
  const tokens: string[] = [];
  const visit = (node: ts.Node): void => {
    const children = node.getChildren(source).filter((child) => !ts.isJSDoc(child));
    for (const child of children) visit(child);
    // Between backquotes, lines end in the text itself.
    if (children.length === 0) tokens.push(node.getText(source).replaceAll('\n', '\\n'));
  };
  visit(source);
  const line = tokens.filter((token) => token !== '').join(' ');
  return line.slice(line.indexOf('{') + 1, line.lastIndexOf('}'));
}
