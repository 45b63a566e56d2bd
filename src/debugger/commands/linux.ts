import { taskName } from '../linux/rows';
import type { Linux } from '../linux';
import { hex, hex64, vcpuName } from '../locations';
import type { Command, CommandContext } from './command';
import { columns, fail, plural } from './command';

// What a Linux kernel runs and has loaded.

function linuxIn({ symbols, vcpu }: CommandContext): Linux {
  const { linux } = symbols;
  if (linux === undefined) return fail(`d${vcpu.domain} is no Linux, as far as its symbols tell`);
  return linux.problem === undefined ? linux : fail(linux.problem);
}

const tasks: Command = {
  name: 'tasks',
  also: ['ps'],
  usage: ['[TEXT]'],
  help:
    'The processes and threads of a Linux domain: pid, process, state as ps(1) has it, name, struct task_struct; what ' +
    'each vCPU runs; or those whose name has TEXT in it. Needs the kernel’s BTF or its debugging information.',
  run: async (given, context) => {
    const linux = linuxIn(context);
    const { target, vcpu } = context;
    const all = await linux.tasks(target, vcpu);
    if (all.length === 0) return fail('the kernel has no tasks yet');
    const running = new Map<bigint, string>();
    for (const domain of await target.domains()) {
      if (domain.id !== vcpu.domain) continue;
      for (const { ref } of domain.vcpus) {
        const task = await linux.current(target, ref);
        if (task === undefined) continue;
        running.set(task.address, `on ${vcpuName(ref)}`);
        // The idle tasks of the other CPUs are in no list.
        if (!all.some(({ address }) => address === task.address)) running.set(task.address, `on ${vcpuName(ref)}: ${taskName(task)}`);
      }
    }
    const chosen = all.filter(({ comm }) => comm.includes(given));
    const rows = chosen.map(({ pid, tgid, state, comm, kernel, address }) => [
      `${pid}`,
      pid === tgid ? '' : `of ${tgid}`,
      state,
      kernel ? `[${comm}]` : comm,
      hex64(address),
      running.get(address) ?? '',
    ]);
    const others = [...running].filter(([address]) => !all.some((one) => one.address === address));
    return [
      columns(rows, [0]),
      ...(given === '' ? others.map(([, text]) => text) : []),
      plural(chosen.length, 'task'),
    ].join('\n');
  },
}; // prettier-ignore

const modules: Command = {
  name: 'lsmod',
  also: ['modules'],
  usage: [''],
  help: 'The modules that a Linux domain has loaded, where, and how many symbols each brought, and whether a debug file of it was found; their names are known from then on.',
  run: async (_given, context) => {
    const all = await linuxIn(context).modules(context.target, context.vcpu);
    if (all.length === 0)
      return 'no module is loaded, or none can be read from here: the vCPU may be in user mode';
    return columns(
      all.map(({ name, base, size, state, symbols, debug }) => [
        name,
        hex(base),
        `${size} bytes`,
        state,
        plural(symbols.length, 'symbol') + (typeof debug === 'object' ? ', source lines' : ''),
        typeof debug === 'string' ? debug : '',
      ]),
      [2],
    );
  },
};

export const linuxCommands: readonly Command[] = [tasks, modules];
