import type { Target, VcpuRef } from '../../machine/target';
import type { SymbolIndex } from '../symbols';
import { linuxLayout } from './layout';
import type { LayoutResult, LinuxLayout } from './layout';
import { kernelMemory } from './memory';
import type { LinuxModule } from './modules';
import { loadedModules, moduleDebugs, modulesMark, withModules } from './modules';
import type { Task } from './tasks';
import { allTasks, currentTask } from './tasks';

export type { LinuxModule } from './modules';
export type { Task } from './tasks';

// What a Linux kernel in a domain is doing, in its own terms: tasks and modules, read from its memory.

export interface Linux {
  /** Why nothing can be told; undefined where it can. */
  readonly problem: string | undefined;
  /** What the vCPU runs; undefined before the kernel has come so far. */
  current(target: Target, vcpu: VcpuRef): Promise<Task | undefined>;
  tasks(target: Target, vcpu: VcpuRef): Promise<readonly Task[]>;
  /** The modules that are loaded. Their names are in `symbols` from then on. */
  modules(target: Target, vcpu: VcpuRef): Promise<readonly LinuxModule[]>;
}

/**
 * The symbols of a domain. Of one that runs Linux, with those of its modules, as they were when `modules` was last
 * asked. The kernel's types are looked at when somebody asks for the first time.
 */
export function withLinux(symbols: SymbolIndex): SymbolIndex {
  if (symbols.find('init_task') === undefined || symbols.find('__per_cpu_offset') === undefined)
    return symbols;
  let found: LayoutResult | undefined;
  const result = (): LayoutResult => (found ??= linuxLayout(symbols));
  const layout = (): LinuxLayout | undefined => {
    const known = result();
    return 'layout' in known ? known.layout : undefined;
  };
  let modules: readonly LinuxModule[] = [];
  let mark = '';
  const described = moduleDebugs(symbols);
  const linux: Linux = {
    get problem() {
      const known = result();
      return 'problem' in known ? known.problem : undefined;
    },
    current: async (target, vcpu) => {
      const known = layout();
      if (known === undefined) return undefined;
      return currentTask(vcpu, known, kernelMemory(target, vcpu, symbols), symbols);
    },
    tasks: async (target, vcpu) => {
      const known = layout();
      if (known === undefined) return [];
      return allTasks(known, kernelMemory(target, vcpu, symbols), symbols);
    },
    modules: async (target, vcpu) => {
      const known = layout();
      if (known === undefined) return [];
      const memory = kernelMemory(target, vcpu, symbols);
      const now = await modulesMark(memory, symbols);
      if (now !== mark) {
        const fresh = await loadedModules(known, memory, symbols);
        // From user mode the modules' own memory cannot be read: what was known stays.
        if (fresh.length > 0 || modules.length === 0) modules = fresh.map(described);
        // One that comes or goes has other symbols soon.
        mark = fresh.length > 0 && fresh.every(({ state }) => state === 'live') ? now : '';
      }
      return modules;
    },
  };
  return Object.assign(
    withModules(symbols, () => modules),
    { linux },
  );
}
