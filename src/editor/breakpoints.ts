import * as vscode from 'vscode';
import { BREAKPOINT_PREFIX, RETURN_SUFFIX } from './rows/hypercalls';

const isHypercall = (b: vscode.Breakpoint): b is vscode.FunctionBreakpoint =>
  b instanceof vscode.FunctionBreakpoint && b.functionName.startsWith(BREAKPOINT_PREFIX);

/** Names of the function breakpoints on hypercalls that are enabled: `hypercall:mmu_update` … */
export const hypercallBreakpoints = (): ReadonlySet<string> =>
  new Set(
    vscode.debug.breakpoints
      .filter(isHypercall)
      .filter((b) => b.enabled)
      .map((b) => b.functionName),
  );

/** A check box of the hypercall tree: adds the function breakpoint, or removes all of that name. */
export function setHypercallBreakpoint(name: string, wanted: boolean): void {
  const functionName = BREAKPOINT_PREFIX + name;
  const there = vscode.debug.breakpoints.filter(isHypercall).filter((b) => b.functionName === functionName);
  vscode.debug.removeBreakpoints(wanted ? there.filter((b) => !b.enabled) : there);
  if (wanted && !there.some((b) => b.enabled))
    vscode.debug.addBreakpoints([new vscode.FunctionBreakpoint(functionName)]);
}

/** Break on the hypercall, or no longer. */
export function toggleHypercallBreakpoint(name: string): void {
  setHypercallBreakpoint(name, !hypercallBreakpoints().has(BREAKPOINT_PREFIX + name));
}

/** Break after the hypercall, with its result, or no longer. */
export function toggleReturnBreakpoint(name: string): void {
  const onReturn = name + RETURN_SUFFIX;
  setHypercallBreakpoint(onReturn, !hypercallBreakpoints().has(BREAKPOINT_PREFIX + onReturn));
}
