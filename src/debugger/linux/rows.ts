import { parseExpression } from '../../machine/expressions';
import { evaluateAt } from '../c/evaluate';
import type { EvaluationContext } from '../expressions';
import { ExpressionError } from '../expressions';
import { hex, virtual } from '../locations';
import { typedRow } from '../values/rows';
import type { Variable, VariableScope } from '../variables';
import type { Linux, Task } from './index';

/** `sh (57)`; a thread with its process: `worker (61 of 57)`. */
export const taskName = ({ comm, pid, tgid }: Task): string =>
  pid === tgid ? `${comm} (${pid})` : `${comm} (${pid} of ${tgid})`;

const shown = (task: Task): string =>
  `${taskName(task)}, ${task.state}${task.kernel ? ', of the kernel' : ''}, ${hex(task.address)}`;

/** With the debugging information's members below it, where there is any. */
async function taskRow(name: string, task: Task, context: EvaluationContext): Promise<Variable> {
  const plain: Variable = { name, value: shown(task), memory: virtual(context.vcpu, task.address) };
  const expression = `(struct task_struct *)${hex(task.address)}`;
  try {
    const { operand } = await evaluateAt(parseExpression(expression), context);
    if (operand.kind !== 'typed') return plain;
    const { children, type } = await typedRow(name, operand.value, context, expression);
    return {
      ...plain,
      expression,
      ...(type === undefined ? {} : { type }),
      ...(children === undefined ? {} : { children }),
    };
  } catch (error) {
    if (error instanceof ExpressionError) return plain;
    throw error;
  }
}

/** What the kernel runs there; the lists are made when they are opened. */
export function linuxScope(linux: Linux, context: EvaluationContext): VariableScope {
  const { target, vcpu } = context;
  const list = async (): Promise<readonly Variable[]> => {
    if (linux.problem !== undefined) return [{ name: 'tasks', value: `<${linux.problem}>` }];
    const current = await linux.current(target, vcpu);
    const tasks = await linux.tasks(target, vcpu);
    const modules = await linux.modules(target, vcpu);
    return [
      ...(current === undefined ? [] : [await taskRow('current', current, context)]),
      {
        name: 'tasks',
        value: `[${tasks.length}]`,
        children: {
          named: 0,
          indexed: tasks.length,
          list: (start = 0, count = tasks.length) =>
            Promise.all(
              tasks.slice(start, start + count).map((task, i) => taskRow(`[${start + i}]`, task, context)),
            ),
        },
      },
      {
        name: 'modules',
        value: `[${modules.length}]`,
        children: {
          named: modules.length,
          indexed: 0,
          list: () =>
            modules.map(({ name, base, size }) => ({
              name,
              value: `${hex(base)}, ${size} bytes`,
              memory: virtual(vcpu, base),
            })),
        },
      },
    ];
  };
  return { name: 'Linux', kind: 'globals', expensive: true, children: { named: 0, indexed: 0, list } };
}
