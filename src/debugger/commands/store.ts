import type { StoreNode, Target } from '../../machine/target';
import type { Command, CommandContext, CommandResult } from './command';
import { fail } from './command';

// `xs`: xenstore as xenstore-ls, -read, -write and -rm show it.

/** A path that does not begin at the root begins at the domain's own. */
const pathOf = (text: string, { vcpu }: CommandContext): string => {
  const home = `/local/domain/${vcpu.domain}`;
  const path = text.startsWith('/') ? text : text === '' ? '/' : `${home}/${text}`;
  return path.length > 1 ? path.replace(/\/+$/, '') : path;
};

async function need(target: Target, path: string): Promise<StoreNode> {
  const node = await target.storeNode(path).catch((error: unknown) => fail(error instanceof Error ? error.message : String(error))); // prettier-ignore
  return node ?? fail(`there is no node ${path}`);
}

const MAX_NODES = 2000;

async function list(target: Target, path: string): Promise<string> {
  const lines: string[] = [];
  const visit = async ({ path: at, children }: StoreNode, depth: number): Promise<void> => {
    for (const { name, value, permissions, below } of children) {
      if (lines.length >= MAX_NODES) return;
      const owner = permissions.join(',');
      lines.push(`${' '.repeat(depth)}${name} = ${JSON.stringify(value)}  (${owner})`);
      if (below === 0) continue;
      const node = await target.storeNode(at === '/' ? `/${name}` : `${at}/${name}`);
      if (node !== undefined) await visit(node, depth + 1);
    }
  };
  const root = await need(target, path);
  await visit(root, 0);
  if (lines.length >= MAX_NODES) lines.push('…');
  return lines.length === 0
    ? `${path} = ${JSON.stringify(root.value)}, and nothing below it`
    : lines.join('\n');
}

type Action = (given: string, context: CommandContext) => Promise<CommandResult | string>;

const actions: Readonly<Record<string, Action>> = {
  ls: (given, context) => list(context.target, pathOf(given, context)),
  read: async (given, context) =>
    given === '' ? fail('xs read: which node?') : (await need(context.target, pathOf(given, context))).value,
  write: async (given, context) => {
    const [, path = '', value] = /^(\S+)(?:\s+(.*))?$/s.exec(given) ?? [];
    if (value === undefined) return fail('xs write: a path and a value are needed');
    const at = pathOf(path, context);
    await context.target.storeInput(at, value.replace(/^"(.*)"$/s, '$1'));
    return { text: `${at} = ${JSON.stringify((await need(context.target, at)).value)}`, changed: true };
  },
  rm: async (given, context) => {
    const at = pathOf(given, context);
    if (at === '/') return fail('xs rm: the root stays');
    await need(context.target, at);
    await context.target.storeInput(at, undefined);
    return { text: `${at} is gone`, changed: true };
  },
};

export const xs: Command = {
  name: 'xs',
  usage: ['ls [PATH]', 'read PATH', 'write PATH VALUE', 'rm PATH'],
  help:
    'xenstore, as domain 0 sees it. A path that does not begin with / begins at /local/domain/N of the domain. What is ' +
    'written is input of the machine, as what is typed at a console: the guest’s watches fire when it runs.',
  examples: ['xs ls', 'xs ls device', 'xs read /local/domain/1/name', 'xs write control/sysrq s'],
  words: () => Object.keys(actions),
  run: (given, context) => {
    const [, action = '', rest = ''] = /^(\S*)\s*(.*)$/s.exec(given) ?? [];
    const found = Object.hasOwn(actions, action) ? actions[action] : undefined;
    return found === undefined
      ? fail(`xs ${action === '' ? 'what' : `'${action}'`}? There are ${Object.keys(actions).join(', ')}`)
      : found(rest.trim(), context);
  },
};
