/**
 * Makes the hypervisor's sources steppable: before each statement of a function body stands a probe that hands over
 * the locals by value, `$at(site, …locals)`, on the line of the statement, so that lines stay what they are.
 *
 * While nobody steps there, it shall cost nothing. So a body is there twice, and `$armed` chooses at its beginning:
 * the copy with the probes is on one line before the other, a function in a branch that is not taken, which keeps the
 * code short that the engine would make a part of its callers. In the other, comments tell the statements for stacks.
 * Bodies of one statement, and of functions that make functions for later, have their probes in place, each behind a
 * question of its own: closures made while somebody stepped would otherwise remain the ones with the probes.
 *
 * A closure over the locals would be simpler than values, and would move every variable it can see from registers to
 * the heap, armed or not.
 */
import ts from 'typescript';
import type { ProbeSite } from '../../src/base/probe-table';
import { functionName, identifiersIn, recursiveIn } from './names';
import { hasTwin, oneLine } from './twin';

export interface Instrumented {
  readonly code: string;
  readonly sites: readonly ProbeSite[];
}

/** How a statement is marked: with a probe behind a question, with a probe where it was asked before, or not to run. */
type Mode = 'asked' | 'armed' | 'plain';

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
  const numbers = new Map<ts.Node, number>();
  let insertions: Insertion[] = [];
  let mode: Mode = 'asked';

  /** Under another mode. */
  const under = (other: Mode, work: () => void): void => {
    const before = mode;
    mode = other;
    work();
    mode = before;
  };

  const siteOf = (node: ts.Node, scope: Scope, locals: readonly string[]): number => {
    const known = numbers.get(node);
    if (known !== undefined) return known;
    const { line, character } = source.getLineAndCharacterOfPosition(node.getStart(source));
    const place = { line: line + 1, column: character + 1, function: scope.name, locals };
    const site = sites.push(recursive.has(scope.name) ? { ...place, recursive: true } : place) - 1;
    numbers.set(node, site);
    return site;
  };

  const call = (node: ts.Node, scope: Scope): string => {
    const names = [...scope.outer, ...scope.own];
    const site = siteOf(node, scope, names);
    const at = (values: readonly string[]): string => `$at(${[site.toString(), ...values].join(',')})`;
    if (scope.hoisted && scope.outer.size > 0) return `try{${at(names)}}catch{${at([])}}`;
    return at(names);
  };
  const marks: Readonly<Record<Mode, (node: ts.Node, scope: Scope) => string>> = {
    asked: (node, scope) => `if($armed){${call(node, scope)}}`,
    armed: (node, scope) => `${call(node, scope)};`,
    plain: (node, scope) => `/*@${siteOf(node, scope, [...scope.outer, ...scope.own]).toString()}*/`,
  };

  /** One statement of a list, in the scope as it is before it. */
  const statement = (node: ts.Statement, scope: Scope, alone: boolean): void => {
    if (!ts.isBlock(node) && stops(node)) {
      const opening = alone ? '{' : '';
      insertions.push({ at: node.getStart(source), text: opening + marks[mode](node, scope) });
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
    const { body: block } = node;
    const nested = mode === 'armed' ? mode : 'asked';
    if (!ts.isBlock(block)) {
      const asked = nested === 'armed' ? '' : '$armed&&';
      insertions.push({ at: block.getStart(source), text: `(${asked}${callExpression(block, inner)},` });
      under(nested, () => {
        visit(block, inner);
      });
      insertions.push({ at: block.getEnd(), text: ')' });
    } else if (nested === 'asked' && hasTwin(node, block)) {
      const names = parameters.join(',');
      insertions.push({
        at: block.getStart(source) + 1,
        text: `if($armed){const $f=(${names})=>{${twin(block, inner)}};"end of it";return $take(${['$f', ...parameters].join(',')});}`,
      });
      under('plain', () => {
        list(block.statements, inner);
      });
    } else
      under(nested, () => {
        list(block.statements, inner);
      });
  };

  /** A body with probes that ask nothing any more, in a line. */
  const twin = (block: ts.Block, scope: Scope): string => {
    const before = insertions;
    insertions = [];
    under('armed', () => {
      list(block.statements, scope);
    });
    const own = insertions;
    insertions = before;
    return oneLine(apply(text, own, block.getStart(source) + 1, block.getEnd() - 1));
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

  const code = apply(text, insertions, 0, text.length);
  return {
    // The mark at the end tells where, in a bundle, code begins that has no probes.
    code:
      sites.length === 0
        ? text
        : `import{probesOf,take as $take}from${JSON.stringify(probeModule)};const $at=probesOf(${JSON.stringify(file)});${code};"end of ${file}";`,
    sites,
  };
}

/** What is from one place of a text to another, with insertions in the order they were asked for where they meet. */
function apply(text: string, insertions: readonly Insertion[], from: number, to: number): string {
  const inOrder = insertions
    .map((one, index) => ({ ...one, index }))
    .sort((a, b) => a.at - b.at || a.index - b.index);
  let code = '';
  let done = from;
  for (const { at, text: added } of inOrder) {
    code += text.slice(done, at) + added;
    done = at;
  }
  return code + text.slice(done, to);
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
