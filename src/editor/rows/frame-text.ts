/** Number and state of a machine frame; a hypervisor's words for it may begin with the number already. */
export function frameText(mfn: number, state: string | undefined): string {
  const number = `mfn 0x${mfn.toString(16)}`;
  if (state === undefined) return number;
  return state.startsWith('mfn ') ? state : `${number} (${state})`;
}
