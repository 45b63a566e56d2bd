/**
 * Makes the hypervisor's sources steppable: before each statement of a function body stands a probe,
 * `if ($p.armed) $at(site, …locals);`, on the line of the statement, so that lines stay what they are.
 *
 * Locals go by value, and only when armed. A closure would be simpler, and would move every variable it can see from
 * registers to the heap, armed or not. The engine decides by the size of a function's bytecode whether it becomes a
 * part of its callers: so a probe is as short as can be.
 */
import ts from 'typescript';
import type { ProbeSite } from '../../src/base/probe-table';

export interface Instrumented {
  readonly code: string;
  readonly sites: readonly ProbeSite[];
}

interface Insertion {
  readonly at: number;
  readonly text: string;
}

/** Names in scope whose reading cannot fail, innermost last. */
interface Scope {
  /** Of the function that the place belongs to: parameters and what was declared before. */
  readonly own: ReadonlySet<string>;
  /** Of the functions around it: only what this one mentions anyway is taken from there. */
  readonly outer: ReadonlySet<string>;
  /** Name of the function, for stacks. */
  readonly name: string;
  /** A hoisted function can be called before what is around it has a value. */
  readonly hoisted: boolean;
}

const NOTHING: ReadonlySet<string> = new Set();

/**
 * @param file relative to src/, as the table names it
 * @param probeModule what to import the probe from, as `file` sees it
 */
export function instrument(file: string, text: string, probeModule: string): Instrumented {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.ES2022, true);
  const sites: ProbeSite[] = [];
  const recursive = recursiveIn(source);
  const insertions: Insertion[] = [];

  const call = (node: ts.Node, scope: Scope): string => {
    const { line, character } = source.getLineAndCharacterOfPosition(node.getStart(source));
    const names = [...scope.outer, ...scope.own];
    const place = { line: line + 1, column: character + 1, function: scope.name, locals: names };
    const site = sites.push(recursive.has(scope.name) ? { ...place, recursive: true } : place) - 1;
    const at = (values: readonly string[]): string => `$at(${[site.toString(), ...values].join(',')})`;
    if (scope.hoisted && scope.outer.size > 0) return `try{${at(names)}}catch{${at([])}}`;
    return at(names);
  };

  /** One statement of a list, in the scope as it is before it. */
  const statement = (node: ts.Statement, scope: Scope, alone: boolean): void => {
    if (!ts.isBlock(node) && stops(node)) {
      const opening = alone ? '{' : '';
      insertions.push({ at: node.getStart(source), text: `${opening}if($p.armed){${call(node, scope)}}` });
      inside(node, scope);
      if (alone) insertions.push({ at: node.getEnd(), text: '}' });
      return;
    }
    inside(node, scope);
  };

  const list = (statements: readonly ts.Statement[], scope: Scope): void => {
    const declared = statements.flatMap(blockScoped);
    // What the list itself declares hides the names around it from its beginning, and has no value before its turn.
    let own = without(scope.own, declared);
    const outer = without(scope.outer, declared);
    for (const node of statements) {
      statement(node, { ...scope, own, outer }, false);
      own = new Set([...own, ...declaredBy(node)]);
    }
  };

  const body = (node: ts.Node | undefined, scope: Scope): void => {
    if (node === undefined) return;
    if (ts.isBlock(node)) list(node.statements, scope);
    else statement(node as ts.Statement, scope, true);
  };

  /** What is inside a statement: further statements, and functions in its expressions. */
  const inside = (node: ts.Node, scope: Scope): void => {
    const expressions = (...parts: readonly (ts.Node | undefined)[]): void => {
      for (const part of parts) if (part !== undefined) visit(part, scope);
    };
    if (ts.isBlock(node)) list(node.statements, scope);
    else if (ts.isFunctionDeclaration(node)) enter(node, scope);
    else if (ts.isIfStatement(node)) {
      expressions(node.expression);
      body(node.thenStatement, scope);
      body(node.elseStatement, scope);
    } else if (ts.isForStatement(node) || ts.isForOfStatement(node) || ts.isForInStatement(node)) {
      const { initializer } = node;
      const names =
        initializer !== undefined && ts.isVariableDeclarationList(initializer) ? namesOf(initializer) : [];
      if (ts.isForStatement(node)) expressions(initializer, node.condition, node.incrementor);
      else expressions(node.expression);
      body(node.statement, {
        ...scope,
        own: new Set([...scope.own, ...names]),
        outer: without(scope.outer, names),
      });
    } else if (ts.isWhileStatement(node) || ts.isDoStatement(node)) {
      expressions(node.expression);
      body(node.statement, scope);
    } else if (ts.isTryStatement(node)) {
      list(node.tryBlock.statements, scope);
      if (node.catchClause !== undefined) {
        const caught = node.catchClause.variableDeclaration;
        const names = caught === undefined ? [] : bindingNames(caught.name);
        list(node.catchClause.block.statements, { ...scope, own: new Set([...scope.own, ...names]), outer: without(scope.outer, names) }); // prettier-ignore
      }
      if (node.finallyBlock !== undefined) list(node.finallyBlock.statements, scope);
    } else if (ts.isSwitchStatement(node)) {
      expressions(node.expression);
      // A clause can be entered past the declarations of those before it.
      const declared = node.caseBlock.clauses.flatMap((c) => c.statements.flatMap(blockScoped));
      const own = without(scope.own, declared);
      const outer = without(scope.outer, declared);
      for (const clause of node.caseBlock.clauses) {
        if (ts.isCaseClause(clause)) expressions(clause.expression);
        list(clause.statements, { ...scope, own, outer });
      }
    } else if (ts.isLabeledStatement(node)) inside(node.statement, scope);
    else
      ts.forEachChild(node, (child) => {
        visit(child, scope);
      });
  };

  const enter = (node: ts.FunctionLikeDeclaration, scope: Scope): void => {
    const parameters = node.parameters.flatMap((p) => bindingNames(p.name)).filter((name) => name !== 'this');
    for (const p of node.parameters) if (p.initializer !== undefined) visit(p.initializer, scope);
    if (node.body === undefined) return;
    const mentioned = identifiersIn(node.body);
    const inner: Scope = {
      own: new Set(parameters),
      outer: new Set(
        [...scope.outer, ...scope.own].filter((n) => mentioned.has(n) && !parameters.includes(n)),
      ),
      name: functionName(node, source) ?? `${scope.name}…`,
      hoisted: ts.isFunctionDeclaration(node) || (scope.hoisted && scope.own.size === 0),
    };
    if (ts.isBlock(node.body)) {
      list(node.body.statements, inner);
      return;
    }
    insertions.push({
      at: node.body.getStart(source),
      text: `($p.armed&&${callExpression(node.body, inner)},`,
    });
    visit(node.body, inner);
    insertions.push({ at: node.body.getEnd(), text: ')' });
  };
  const callExpression = (node: ts.Node, scope: Scope): string =>
    call(node, scope.hoisted ? { ...scope, hoisted: false, outer: NOTHING } : scope);

  const visit = (node: ts.Node, scope: Scope): void => {
    if (ts.isTypeNode(node)) return;
    if (ts.isFunctionLike(node) && 'body' in node) enter(node, scope);
    else
      ts.forEachChild(node, (child) => {
        visit(child, scope);
      });
  };

  for (const node of source.statements)
    visit(node, { own: NOTHING, outer: NOTHING, name: '', hoisted: false });

  const code = apply(text, insertions);
  return {
    // The mark at the end tells where, in a bundle, code begins that has no probes.
    code:
      sites.length === 0
        ? text
        : `import{probe as $p,probesOf}from${JSON.stringify(probeModule)};const $at=probesOf(${JSON.stringify(file)});${code};"end of ${file}";`,
    sites,
  };
}

/** Insertions in the order they were asked for, where two are at one place. */
function apply(text: string, insertions: readonly Insertion[]): string {
  const inOrder = insertions
    .map((one, index) => ({ ...one, index }))
    .sort((a, b) => a.at - b.at || a.index - b.index);
  let code = '';
  let from = 0;
  for (const { at, text: added } of inOrder) {
    code += text.slice(from, at) + added;
    from = at;
  }
  return code + text.slice(from);
}

/** Whether a person would want to stand before it. */
function stops(node: ts.Statement): boolean {
  return !(
    ts.isFunctionDeclaration(node) ||
    ts.isInterfaceDeclaration(node) ||
    ts.isTypeAliasDeclaration(node) ||
    ts.isEmptyStatement(node) ||
    (ts.isExpressionStatement(node) && ts.isStringLiteral(node.expression))
  );
}

const without = (names: ReadonlySet<string>, gone: readonly string[]): ReadonlySet<string> =>
  gone.some((name) => names.has(name)) ? new Set([...names].filter((n) => !gone.includes(n))) : names;

function bindingNames(name: ts.BindingName): string[] {
  if (ts.isIdentifier(name)) return [name.text];
  return name.elements.flatMap((e) => (ts.isBindingElement(e) ? bindingNames(e.name) : []));
}
const namesOf = (declarations: ts.VariableDeclarationList): string[] =>
  declarations.declarations.flatMap((d) => bindingNames(d.name));

/** Variables that have a value once the statement is done. */
const declaredBy = (node: ts.Statement): string[] =>
  ts.isVariableStatement(node) ? namesOf(node.declarationList) : [];

/** Names the statement brings into its list, functions and classes too. */
const blockScoped = (node: ts.Statement): string[] =>
  (ts.isFunctionDeclaration(node) || ts.isClassDeclaration(node)) && node.name !== undefined
    ? [node.name.text]
    : declaredBy(node);

function identifiersIn(node: ts.Node): ReadonlySet<string> {
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
function recursiveIn(source: ts.SourceFile): ReadonlySet<string> {
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

function functionName(node: ts.FunctionLikeDeclaration, source: ts.SourceFile): string | undefined {
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
