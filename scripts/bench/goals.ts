/** What the figures are to be: ratios and times that hold on any machine. Also what the bench's summary is made of. */

export interface Goal {
  /** The name in the summary. */
  readonly what: string;
  readonly unit: string;
  /** Whether less is better; otherwise more is. */
  readonly less: boolean;
  readonly milestone: number;
  readonly goal: number;
}

const atMost = (what: string, unit: string, milestone: number, goal: number): Goal => ({ what, unit, less: true, milestone, goal }); // prettier-ignore
const atLeast = (what: string, unit: string, milestone: number, goal: number): Goal => ({ what, unit, less: false, milestone, goal }); // prettier-ignore

export const GOALS = {
  kernels: atMost("kernels in the guest, geometric mean of time in QEMU TCG's", '×', 1, 0.35),
  v86: atLeast("v86's time in ours, the same kernels in 32 bits, geometric mean", '×', 10, 20),
  bootXen: atMost("boot to /init, time in real Xen's under TCG", '×', 1, 0.5),
  bootBare: atMost('boot to /init, time in that without Xen under TCG', '×', 2, 1),
  nullHypercall: atMost('null hypercall', 'ns', 500, 150),
  trace: atMost('what the trace adds to boot and kernels of the system', '%', 5, 2),
  traceNull: atMost('what the trace adds to a null hypercall', '%', 5, 2),
  probes: atMost('what unarmed probes add to a round trip through the hypervisor', '%', 5, 3),
  cold: atMost('cold code, first execution, a guest instruction', 'ns', 2000, 500),
  memory: atMost("memory beyond the guest's RAM", 'MiB', 350, 150),
} as const satisfies Readonly<Record<string, Goal>>;

export type GoalName = keyof typeof GOALS;

const sign = ({ less }: Goal): string => (less ? '≤' : '≥');
export const goalText = (goal: Goal): string => `${sign(goal)} ${goal.goal.toString()} ${goal.unit}`;
const reaches = ({ less }: Goal, value: number, wanted: number): boolean =>
  less ? value <= wanted : value >= wanted;
export const reached = (goal: Goal, value: number): string =>
  reaches(goal, value, goal.goal) ? 'goal' : reaches(goal, value, goal.milestone) ? 'milestone' : 'no';
export const row = (goal: Goal, value: string, samples: string, got: string): string =>
  `| ${[goal.what, value, samples, `${sign(goal)} ${goal.milestone.toString()} ${goal.unit}`, goalText(goal), got].join(' | ')} |`;
