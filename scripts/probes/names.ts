/** What functions of a source are called, and which of them call themselves. */
import ts from 'typescript';

export function identifiersIn(node: ts.Node): ReadonlySet<string> {
  const found = new Set<string>();
  const visit = (n: ts.Node): void => {
    if (ts.isIdentifier(n) && !(ts.isPropertyAccessExpression(n.parent) && n.parent.name === n))
      found.add(n.text);
    ts.forEachChild(n, visit);
  };
  visit(node);
  return found;
}

/** Names of functions that call themselves, by way of others of the file perhaps. */
export function recursiveIn(source: ts.SourceFile): ReadonlySet<string> {
  const calls = new Map<string, ReadonlySet<string>>();
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body !== undefined) {
      const name = functionName(node, source);
      if (name !== undefined) calls.set(name, identifiersIn(node.body));
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  const reaches = (from: string): boolean => {
    const seen = new Set<string>();
    const left = [...(calls.get(from) ?? [])];
    for (let name = left.pop(); name !== undefined; name = left.pop()) {
      if (name === from) return true;
      if (seen.has(name)) continue;
      seen.add(name);
      left.push(...(calls.get(name) ?? []));
    }
    return false;
  };
  return new Set([...calls.keys()].filter(reaches));
}

/** `name` or `mnemonic` of the object literal a function stands in: what a declared operation is called. */
function literalName(node: ts.ObjectLiteralExpression): string | undefined {
  for (const p of node.properties)
    if (ts.isPropertyAssignment(p) && NAMING.test(p.name.getText()) && ts.isStringLiteral(p.initializer))
      return p.initializer.text;
  return undefined;
}

const NAMING = /^(name|mnemonic)$/;

/** Names in quotes are written without them. */
const nameText = (name: ts.Node, source: ts.SourceFile): string =>
  ts.isStringLiteral(name) ? name.text : name.getText(source);

export function functionName(node: ts.FunctionLikeDeclaration, source: ts.SourceFile): string | undefined {
  if (ts.isConstructorDeclaration(node)) return `new ${node.parent.name?.text ?? 'class'}`;
  const { parent } = node;
  const own =
    node.name !== undefined
      ? nameText(node.name, source)
      : (ts.isVariableDeclaration(parent) || ts.isPropertyAssignment(parent)) && parent.initializer === node
        ? nameText(parent.name, source)
        : undefined;
  if (own === undefined) return undefined;
  const literal = ts.isMethodDeclaration(node)
    ? parent
    : ts.isPropertyAssignment(parent)
      ? parent.parent
      : undefined;
  const operation =
    literal !== undefined && ts.isObjectLiteralExpression(literal) ? literalName(literal) : undefined;
  return operation === undefined ? own : `${operation}.${own}`;
}
