import { EXIT, INT_KIND } from '../exits';
import type { Instruction } from '../instruction';
import { each } from '../instruction';
import type { Ops } from '../ops';
import { UNIMPLEMENTED, VECTOR } from '../ops';

/**
 * System instructions. What only CPL 0 may do is refused with #GP(0) by the generated check; under Xen PV that is all
 * there ever is, and the hypervisor emulates what it wants from there. At CPL 0 such an instruction is not
 * implemented and leaves with EXIT.UNIMPLEMENTED.
 */
const unimplemented = (o: Ops): void => o.raise(UNIMPLEMENTED);

const PRIVILEGED: readonly { readonly name: string; readonly encodings: readonly string[] }[] = [
  { name: 'invd', encodings: ['0f 08 ; ends'] },
  { name: 'wbinvd', encodings: ['0f 09 ; ends'] },
  { name: 'clts', encodings: ['0f 06 ; ends'] },
  { name: 'sysret', encodings: ['0f 07 ; ends w0'] },
  { name: 'sysretq', encodings: ['0f 07 ; ends w64'] },
  { name: 'lgdt', encodings: ['0f 01 /2 m; ends'] },
  { name: 'lidt', encodings: ['0f 01 /3 m; ends'] },
  { name: 'lmsw', encodings: ['0f 01 /6 rm16; ends'] },
  { name: 'invlpg', encodings: ['0f 01 /7 m; ends'] },
  { name: 'swapgs', encodings: ['0f 01 f8 ; ends'] },
  { name: 'lldt', encodings: ['0f 00 /2 rm16; ends'] },
  { name: 'ltr', encodings: ['0f 00 /3 rm16; ends'] },
  { name: 'mov', encodings: ['0f 20 /r rr64,creg; f64 anymod ends', '0f 22 /r creg,rr64; f64 anymod ends', '0f 21 /r rr64,dreg; f64 anymod ends', '0f 23 /r dreg,rr64; f64 anymod ends'] }, // prettier-ignore
  { name: 'wrmsr', encodings: ['0f 30 ; ends'] },
  { name: 'rdmsr', encodings: ['0f 32 ; ends'] },
  // CR4.PCE is never set: #GP(0) at CPL 3.
  { name: 'rdpmc', encodings: ['0f 33 ; ends'] },
];

/** #GP(0) if CPL > IOPL; there is no task-state segment whose bitmap could allow a port (SDM Vol. 1 §19.5.2). */
const PORTS: readonly { readonly name: string; readonly encodings: readonly string[] }[] = [
  { name: 'in', encodings: ['e4 al,imm8; ends', 'e5 imm8; ends v', 'ec al,dx; ends', 'ed dx; ends v'] }, // prettier-ignore
  { name: 'out', encodings: ['e6 imm8,al; ends', 'e7 imm8; ends v', 'ee dx,al; ends', 'ef dx; ends v'] },
  { name: 'insb', encodings: ['6c ; rep aw w8 ends'] },
  { name: 'insw', encodings: ['6d ; rep aw w16 ends'] },
  { name: 'insd', encodings: ['6d ; rep aw w32 ends', '6d ; rep aw w64 ends'] },
  { name: 'outsb', encodings: ['6e ; rep aw w8 ends'] },
  { name: 'outsw', encodings: ['6f ; rep aw w16 ends'] },
  { name: 'outsd', encodings: ['6f ; rep aw w32 ends', '6f ; rep aw w64 ends'] },
];

export const system: readonly Instruction[] = [
  ...each(PRIVILEGED, ({ name, encodings }) => ({
    mnemonic: name,
    doc: `SDM 2 ${name.toUpperCase()}: #GP(0) unless CPL = 0`,
    encodings,
    privileged: true,
    semantics: unimplemented,
  })),
  ...each(PORTS, ({ name, encodings }) => ({
    mnemonic: name,
    doc: `SDM 2 ${name.toUpperCase()}: #GP(0) if CPL > IOPL`,
    encodings,
    privileged: 'iopl' as const,
    semantics: unimplemented,
  })),
  {
    mnemonic: 'hlt',
    doc: 'SDM 2A HLT',
    encodings: ['f4 ; ends'],
    privileged: true,
    semantics: (o) => o.exit(EXIT.HLT),
  },
  {
    mnemonic: 'syscall',
    doc: 'SDM 2B SYSCALL: #UD unless EFER.SCE; everything else is the hypervisor’s (rcx, r11 untouched)',
    encodings: ['0f 05 ; ends'],
    semantics(o) {
      o.if(o.eqz(o.and(o.get('efer'), o.k(1))), () => o.raise(VECTOR.UD));
      o.exit(EXIT.SYSCALL);
    },
  },
  {
    mnemonic: 'int',
    doc: 'SDM 2A INT n',
    encodings: ['cd imm8; ends'],
    semantics(o, _c, n) {
      o.set('exit_vector', n.get());
      o.exit(EXIT.INT, o.k(INT_KIND.INT));
    },
  },
  ...each(
    [
      { name: 'int3', opcode: 'cc', vector: VECTOR.BP, kind: INT_KIND.INT3 },
      { name: 'int1', opcode: 'f1', vector: VECTOR.DB, kind: INT_KIND.INT1 },
    ],
    ({ name, opcode, vector, kind }) => ({
      mnemonic: name,
      doc: 'SDM 2A INT n/INTO/INT3/INT1',
      encodings: [`${opcode} ; ends`],
      semantics(o) {
        o.set('exit_vector', o.k(vector));
        o.exit(EXIT.INT, o.k(kind));
      },
    }),
  ),
  ...each(
    [
      { name: 'ud0', encoding: '0f ff /r ry,rmy' },
      { name: 'ud1', encoding: '0f b9 /r ry,rmy' },
      { name: 'ud2', encoding: '0f 0b' },
    ],
    ({ name, encoding }) => ({
      mnemonic: name,
      doc: 'SDM 2B UD',
      encodings: [encoding],
      semantics: (o) => o.raise(VECTOR.UD),
    }),
  ),
  {
    mnemonic: 'cpuid',
    doc: 'SDM 2A CPUID',
    encodings: ['0f a2 ; ends'],
    semantics(o) {
      o.helper('cpuid');
    },
  },
  ...each(
    [
      { name: 'rdtsc', encoding: '0f 31 ; ends' },
      { name: 'rdtscp', encoding: '0f 01 f9 ; ends' },
    ],
    ({ name, encoding }) => ({
      mnemonic: name,
      doc: `SDM 2B ${name.toUpperCase()}: #GP(0) if CR4.TSD and CPL > 0`,
      encodings: [encoding],
      semantics(o) {
        const TSD = 4;
        o.if(o.and(o.get('cr4'), o.k(TSD)), () => o.if(o.get('cpl'), () => o.raise(VECTOR.GP, o.k(0))));
        const t = o.helper('rdtsc');
        o.set('rax', o.zx(32, t));
        o.set('rdx', o.shr(t, o.k(32)));
        if (name === 'rdtscp') o.set('rcx', o.zx(32, o.get('tsc_aux')));
      },
    }),
  ),
  { mnemonic: 'nop', doc: 'SDM 2B NOP', encodings: ['90 ; nob'], semantics: nothing },
  { mnemonic: 'pause', doc: 'SDM 2B PAUSE', encodings: ['f3 90 ; nob'], semantics: nothing },
  {
    mnemonic: 'nop',
    doc: 'SDM 2B NOP, and the hint space 0F 18–1F: no memory access. ENDBR64 and RDSSP are among them',
    encodings: ['0f 19', '0f 1a', '0f 1b', '0f 1c', '0f 1d', '0f 1e', '0f 1f'].map((b) => `${b} /r rmv,rv`),
    semantics: nothing,
  },
  ...each(
    ['prefetchnta', 'prefetcht0', 'prefetcht1', 'prefetcht2', 'nop', 'nop', 'nop', 'nop'].map((name, n) => ({
      name,
      n,
    })),
    ({ name, n }) => ({
      mnemonic: name,
      doc: 'SDM 2B PREFETCHh: a hint; the register forms are NOPs',
      encodings: [`0f 18 /${n} rmv`],
      semantics: nothing,
    }),
  ),
  {
    mnemonic: 'prefetchw',
    doc: 'APM 3 PREFETCH/W: a hint, announced or not; #UD with a register, as AMD has it (Intel: a NOP)',
    encodings: ['0f 0d /r m,rv'],
    semantics: nothing,
  },
  ...each(
    [
      { name: 'lfence', n: 5 },
      { name: 'mfence', n: 6 },
      { name: 'sfence', n: 7 },
    ],
    ({ name, n }) => ({
      mnemonic: name,
      doc: 'SDM 2 LFENCE, MFENCE, SFENCE: memory is sequentially consistent here',
      encodings: [`np 0f ae /${n} ; reg`],
      semantics: nothing,
    }),
  ),
  {
    mnemonic: 'clflush',
    doc: 'SDM 2A CLFLUSH: faults as a read of one byte does',
    encodings: ['np 0f ae /7 m8'],
    semantics(_o, _c, line) {
      line.get();
    },
  },
];

function nothing(): void {
  // Nothing is what these do.
}
