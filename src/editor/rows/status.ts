import type { MachineStatus } from '../../dap/protocol';

/** Where a machine was when somebody looked, with the time on the wall, in ms. */
export interface Sample {
  readonly status: MachineStatus;
  readonly wallMs: number;
}

const seconds = (ns: bigint): string => {
  const ms = Number(ns / 1000n) / 1000;
  return ms < 1000 ? `${ms.toFixed(3)} ms` : `${(ms / 1000).toFixed(3)} s`;
};

const UNITS = ['', 'k', 'M', 'G'] as const;

/** 1234567 as `1.2 M`. */
export function rounded(n: number): string {
  let value = n;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : value.toFixed(0)} ${UNITS[unit] ?? ''}`.trimEnd();
}

/** Instructions a second between two looks; undefined when they tell nothing. */
export function speed(before: Sample | undefined, now: Sample): number | undefined {
  if (before === undefined || now.status.state !== 'running') return undefined;
  const ms = now.wallMs - before.wallMs;
  const retired = Number(BigInt(now.status.retired) - BigInt(before.status.retired));
  return ms <= 0 || retired < 0 ? undefined : (retired * 1000) / ms;
}

/** For the status bar: an icon, and the text beside it. */
export function statusText(before: Sample | undefined, now: Sample): { text: string; accessible: string } {
  const { state, time } = now.status;
  const virtual = seconds(BigInt(time));
  if (state !== 'running') {
    const word = state === 'stopped' ? 'stopped' : 'ended';
    return {
      text: `$(${state === 'stopped' ? 'debug-pause' : 'debug-disconnect'}) Xen PV ${virtual}`,
      accessible: `The machine has ${word} at ${virtual} of virtual time`,
    };
  }
  const rate = speed(before, now);
  const per = rate === undefined ? '' : rate === 0 ? ' idle' : ` ${rounded(rate)}/s`;
  return {
    text: `$(vm-running) Xen PV ${virtual}${per}`,
    accessible: `The machine runs, at ${virtual} of virtual time${rate === undefined ? '' : `, ${rounded(rate)} instructions a second`}`,
  };
}
