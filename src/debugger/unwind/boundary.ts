import type { CrossingView, Target, VcpuRef } from '../../machine/target';
import type { InstructionDecoder } from '../decoder';
import { MAX_INSTRUCTION } from '../decoder';
import type { ReadMemory } from '../memory-cache';
import type { SymbolIndex } from '../symbols';
import type { Frame } from '.';
import { SYSCALL, matches } from './search';

// What the boundaries on a stack are called: the one to the hypervisor, and those where it has entered a handler of
// the guest's kernel.

interface Place {
  readonly target: Target;
  readonly vcpu: VcpuRef;
}

const titles: {
  readonly [K in CrossingView['kind']]: (fault: string, instruction: string) => string | undefined;
} = {
  // Its name is the call with its arguments.
  hypercall: () => undefined,
  syscall: () => 'system call',
  fault: (fault) => fault,
  bounce: (fault) => `${fault} bounce`,
  emulation: (_fault, instruction) => `emulated ${instruction}`,
  'page-table write': (fault) => `${fault}, a store to a page table`,
  'descriptor table': (fault) => `${fault}, in a descriptor table`,
  upcall: () => 'event upcall',
  nmi: () => 'NMI',
  timer: () => 'timer',
};

/** Undefined for a hypercall. */
export async function crossingTitle(
  { kind, fault = 'fault', rip }: CrossingView,
  { target, vcpu }: Place,
  decoder: InstructionDecoder,
): Promise<string | undefined> {
  let instruction = 'instruction';
  if (kind === 'emulation' && rip !== undefined) {
    const code = await target.readMemory({ kind: 'virtual', vcpu }, rip, MAX_INSTRUCTION);
    const [decoded] = decoder.decode(code, rip, 1);
    if (decoded?.valid === true) instruction = decoded.text;
  }
  return titles[kind](fault, instruction);
}

interface Handler {
  readonly title: string;
  readonly symbol: string;
}

/** The handlers that the guest has told the hypervisor of. */
async function handlersOf({ target, vcpu }: Place, symbols: SymbolIndex): Promise<Handler[]> {
  const state = await target.hypervisorState(vcpu);
  const inGroup = (name: string): { readonly name: string; readonly value?: bigint }[] => [
    ...(state.find((group) => group.name === name)?.children ?? []),
  ];
  const callbacks: Readonly<Record<string, string>> = {
    event: 'event upcall',
    syscall: 'system call',
    nmi: 'NMI',
  };
  const named = [
    ...inGroup('trap table').map(({ name, value }) => ({ title: `${name} bounce`, value })),
    ...inGroup('callbacks').map(({ name, value }) => ({
      title: callbacks[name] ?? `${name} callback`,
      value,
    })),
  ];
  return named.flatMap(({ title, value = 0n }) => {
    const at = value === 0n ? undefined : symbols.at(value);
    return at?.offset === 0n ? [{ title, symbol: at.name }] : [];
  });
}

/**
 * How the hypervisor came to enter what is above such a boundary.
 * @param above the outermost frame of it
 * @param from where the guest was
 */
export async function entryTitle(
  place: Place & { readonly symbols: SymbolIndex },
  above: Frame,
  read: ReadMemory,
  from: bigint,
): Promise<string> {
  const inFunction = above.symbol?.name;
  if (inFunction !== undefined) {
    // Linux has stubs before its own entry for each, of the same name: xen_asm_exc_page_fault, asm_exc_page_fault.
    const [best] = (await handlersOf(place, place.symbols))
      .filter(
        ({ symbol }) =>
          inFunction === symbol ||
          inFunction.startsWith(symbol.replace(/^xen_/, '')) ||
          inFunction === symbol.replace(/^(xen_)?asm_/, ''),
      )
      .sort((a, b) => b.symbol.length - a.symbol.length);
    if (best !== undefined) return best.title;
  }
  return matches(await read(from - 2n, 2), SYSCALL) ? 'system call' : 'bounce';
}
