import { createCpu } from '../src/cpu/cpu';
import { createMemory } from '../src/cpu/memory';
import { interpreterBytes } from './generate-interpreter';
const t=Date.now();
const b = interpreterBytes();
console.log('interp', b.length, Date.now()-t);
export function machine(tier: 'interpret'|'compile', heat=50) {
  const mem = createMemory({ frames: 512, vcpus: 1, records: 65536 * 16 });
  const cpu = createCpu({ memory: mem, interpreter: b, hooks: { cpuid: () => ({eax:0,ebx:0,ecx:0,edx:0}), tsc: (v) => v.get('icount'), cow: () => undefined, watch: () => true }, tier, heat });
  const v = cpu.vcpus[0]!;
  const put = (m: number, x: number[]) => mem.bytes.set(x, mem.framesBase + m);
  const set = (m: number, x: bigint) => mem.view.setBigUint64(mem.framesBase + m, x, true);
  set(0x60000, 0x61007n); set(0x61000, 0x62007n); set(0x62000, 0x63007n);
  for (let i=0;i<0x60;i++) set(0x63000+8*i, BigInt(i)<<12n|7n);
  v.set('cr3', 0x60000n); v.set('cr0', 0x80010033n); v.set('cr4', 0x620n); v.set('efer', 0xd01n); v.setInt('cpl',3); v.set('rsp',0x2ff00n);
  return {cpu, v, put, mem};
}
// loop: mov rax,[rbx]; add rax,rcx; mov [rbx],rax; dec rcx; jnz loop ; mov rcx, 1000; jmp loop
const prog = [0x48,0x8b,0x03, 0x48,0x01,0xc8, 0x48,0x89,0x03, 0x48,0xff,0xc9, 0x75,0xf2, 0x48,0xc7,0xc1,0xe8,3,0,0, 0xeb,0xe9];
const results: string[] = [];
for (const tier of ['interpret','compile'] as const) {
  const m = machine(tier);
  m.put(0x10000, prog);
  m.v.set('rip', 0x10000n); m.v.set('rbx', 0x20000n); m.v.set('rcx', 1000n);
  for (let i=0;i<100;i++) m.v.run(m.v.get('icount')+12345n);
  const a = performance.now();
  const n = 100_000_000n;
  const end = m.v.get('icount')+n;
  while (m.v.get('icount') < end) m.v.run(m.v.get('icount')+50000n);
  const dt = performance.now()-a;
  console.log(tier, (Number(n)/dt/1000).toFixed(0), 'M/s', m.cpu.regions?.statistics);
  results.push([...m.v.saveState()].join());
}
console.log(results[0]===results[1] ? 'same' : 'DIFFERENT');
