import type { Helper } from './context';

/** CPUID and RDTSC: what they say is the machine's business (types.ts Hooks). Both write whole registers. */
export const identityHelpers: Readonly<Record<string, Helper>> = {
  cpuid(c) {
    const leaf = Number(c.get('rax') & 0xffffffffn);
    const subleaf = Number(c.get('rcx') & 0xffffffffn);
    const r = c.hooks.cpuid(c.vcpu, leaf, subleaf);
    const put = (name: 'rax' | 'rbx' | 'rcx' | 'rdx', v: number): void => c.set(name, BigInt(v >>> 0));
    put('rax', r.eax);
    put('rbx', r.ebx);
    put('rcx', r.ecx);
    put('rdx', r.edx);
  },
  rdtsc: (c) => BigInt.asUintN(64, c.hooks.tsc(c.vcpu)),
};
