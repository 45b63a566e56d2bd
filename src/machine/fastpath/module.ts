/**
 * A WebAssembly function that sees to the most frequent exits where they happen: what the hypervisor does for a
 * SYSCALL of the guest's user, a page fault that is the guest's, and a few hypercalls, when nothing out of the ordinary
 * is the matter. It decides first and changes afterwards: whatever it does not do, it has not begun.
 *
 * This is a second account of what src/hypervisor says, for speed only (docs/decisions/exits-in-place.md): the
 * functions named here are the first, and test/machine/fastpath.test.ts holds the two together.
 */
import { HYPERVISOR_VIRT_END, HYPERVISOR_VIRT_START } from '../../abi/mmu';
import { SEGBASE, VGCF_in_syscall, iret_context } from '../../abi/traps';
import { XENVER } from '../../abi/version';
import { EXIT } from '../../cpu/exits';
import type { Node } from '../../cpu/ir/nodes';
import type { Recorder } from '../../cpu/ir/recorder';
import { VECTOR } from '../../cpu/ops';
import { ModuleBuilder } from '../../cpu/wasm/encoder';
import { Routines, defineFlush } from '../../cpu/wasm/routines';
import { EFLAGS } from '../../hypervisor/bounce';
import { XEN_VERSION } from '../../hypervisor/cpuid';
import { xen_version } from '../../hypervisor/hypercalls/misc';
import {
  RETURNED_FLAGS,
  SET_FLAGS,
  iret,
  set_segment_base,
  stack_switch,
} from '../../hypervisor/hypercalls/traps';
import { FLAT_KERNEL_CS, FLAT_KERNEL_SS } from '../../hypervisor/vcpu';
import { mmu_update, mmuext_op, update_va_mapping } from '../../hypervisor/hypercalls/mmu';
import { ALLOWED } from './annex';
import { bounce, defineUpcall, toggle } from './bounce';
import { privileged } from './ports';
import type { Places } from './frames';
import { tableCalls } from './tables';
import { INFO, done, flagsOf, increment, low, mayStoreInfo, mayUpcall, no, plainCall, reach, reg, setAnnex, setFlags,
  setReg, traceCall, upcall, upcallDue, wide, word,
} from './words'; // prettier-ignore

const IF = Number(EFLAGS.IF);
const FRAME = iret_context.offset;
/** In vcpu_info.arch. */
const INFO_CR2 = INFO.arch;
/** #PF error code, SDM vol. 3 §4.7. */
const PF = { WRITE_PRESENT: 3, USER: 4 } as const;

/** SDM vol. 3 §3.4.5: what ring 3 needs of a 64-bit code segment and of a stack segment, of these bits. */
const [PRESENT, CODE_OR_DATA, EXECUTABLE, WRITABLE, DPL3, LONG] = [
  1n << 47n, 1n << 44n, 1n << 43n, 1n << 41n, 3n << 45n, 1n << 53n,
] as const; // prettier-ignore
const SEGMENT = {
  code: PRESENT | CODE_OR_DATA | EXECUTABLE | DPL3 | LONG,
  stack: PRESENT | CODE_OR_DATA | WRITABLE | DPL3,
};

/** hypervisor.ts systemCall. */
function systemCall(r: Recorder): void {
  const rip = reg(r, 'rip');
  const r11 = r.bool(flagsOf(r));
  bounce(r, 'syscall', r.i32(0), { rcx: rip, r11 }, () => {
    // returnByRegisters
    setReg(r, 'rcx', rip);
    setReg(r, 'r11', r11);
    increment(r, 'syscalls');
  });
  done(r);
}

/** traps.ts decideFault, for a #PF that is not Xen's to repair: deliverFault. */
function pageFault(r: Recorder, tableWrite: () => void): void {
  const address = reg(r, 'exit_address');
  const error = low(r, 'exit_error');
  // ldt.ts fixDescriptorFault: in Xen's part.
  const xens = r.n(
    'i32.and',
    r.n('i64.ge_u', address, r.i64(HYPERVISOR_VIRT_START)),
    r.n('i64.lt_u', address, r.i64(HYPERVISOR_VIRT_END)),
  );
  r.if(xens, () => {
    no(r);
  });
  const kernel = word(r, 'kernelMode');
  // ptwrite.ts emulateTableWrite.
  const barred = r.n('i32.eq', r.n('i32.and', error, r.i32(PF.WRITE_PRESENT)), r.i32(PF.WRITE_PRESENT));
  r.if(r.n('i32.and', barred, kernel), () => {
    tableWrite();
    no(r);
  });
  // asTheGuestSeesIt
  const user = r.n('select', r.i32(0), r.i32(PF.USER), kernel);
  const seen = r.n('i32.or', r.n('i32.and', error, r.i32(~PF.USER)), user);
  bounce(r, 'fault', kernel, { rcx: reg(r, 'rcx'), r11: reg(r, 'r11'), error: seen }, () => {
    // setInfoCr2
    setAnnex(r, 'cr2', address);
    r.store('i64.store', word(r, 'info'), address, INFO_CR2);
    increment(r, 'faults');
  });
  done(r);
}

/** segments.ts descriptorOf: leaves unless the selector's descriptor stands in the GDT's first page. */
function descriptorOf(r: Recorder, selector: Node): Node {
  const offset = r.n('i32.and', selector, r.i32(0xfff8));
  const elsewhere = r.n(
    'i32.or',
    r.n('i32.or', r.n('i32.le_u', selector, r.i32(3)), r.n('i32.and', selector, r.i32(4))),
    r.n('i32.or', r.n('i32.gt_u', offset, r.i32(4088)), r.n('i32.eqz', word(r, 'gdt'))),
  );
  r.if(elsewhere, () => {
    no(r);
  });
  r.if(r.n('i32.gt_u', r.n('i32.add', offset, r.i32(7)), low(r, 'gdt_limit')), () => {
    no(r);
  });
  return r.load('i64.load', r.n('i32.add', word(r, 'gdt'), offset));
}

/** segments.ts codeProblem, stackProblem: leaves unless the selector is the flat one, or good in the GDT's first page. */
function goodSelector(r: Recorder, selector: Node, flat: bigint, kind: keyof typeof SEGMENT): void {
  r.if(r.n('i32.ne', selector, r.i32(Number(flat))), () => {
    const descriptor = descriptorOf(r, selector);
    const looked = SEGMENT[kind] | EXECUTABLE;
    r.if(r.n('i64.ne', r.n('i64.and', descriptor, r.i64(looked)), r.i64(SEGMENT[kind])), () => {
      no(r);
    });
  });
}

/** hypercalls/traps.ts iret, checkReturn. */
function returnFromTrap(r: Recorder): void {
  const frame = reach(r, low(r, 'tlb'), reg(r, 'rsp'), iret_context.size, false);
  const at = (name: keyof typeof FRAME): Node => r.load('i64.load', frame, FRAME[name]);
  const half = (name: keyof typeof FRAME): Node => r.load('i32.load', frame, FRAME[name]);
  const rip = at('rip');
  const selector = (name: 'cs' | 'ss'): Node =>
    r.n('i32.or', r.n('i32.and', half(name), r.i32(0xffff)), r.i32(3));
  const toUser = r.n('i32.eq', r.n('i32.and', half('cs'), r.i32(3)), r.i32(3));
  r.if(r.n('i32.and', toUser, r.n('i64.eqz', wide(r, 'userBase'))), () => {
    no(r);
  });
  const canonical = r.n('i64.shr_s', r.n('i64.shl', rip, r.i64(16)), r.i64(16));
  r.if(r.n('i64.ne', canonical, rip), () => {
    no(r);
  });
  const cs = selector('cs');
  const ss = selector('ss');
  goodSelector(r, cs, FLAT_KERNEL_CS, 'code');
  goodSelector(r, ss, FLAT_KERNEL_SS, 'stack');
  mayStoreInfo(r);
  const rflags = half('rflags');
  const masked = r.n('i32.eqz', r.n('i32.and', rflags, r.i32(IF)));
  const due = upcallDue(r, masked);
  mayUpcall(r, due, r.n('i32.eqz', toUser), at('rsp'));

  const rax = at('rax');
  traceCall(r, iret.nr, rax);
  const flags = r.n('i32.or', r.n('i32.and', rflags, r.i32(RETURNED_FLAGS)), r.i32(SET_FLAGS));
  const fromSyscall = r.n('i32.and', half('flags'), r.i32(Number(VGCF_in_syscall)));
  setReg(r, 'rcx', r.n('select', rip, at('rcx'), fromSyscall));
  setReg(r, 'r11', r.n('select', r.bool(flags), at('r11'), fromSyscall));
  setReg(r, 'rip', rip);
  setReg(r, 'rsp', at('rsp'));
  setReg(r, 'rax', rax);
  setReg(r, 'cs', cs);
  setReg(r, 'ss', ss);
  setFlags(r, flags);
  r.if(toUser, () => {
    toggle(r, false);
  });
  r.store('i32.store8', word(r, 'info'), masked, INFO.evtchn_upcall_mask);
  setAnnex(r, 'nmiMasked', r.i32(0));
  upcall(r, due);
  done(r);
}

const isCanonical = (r: Recorder, va: Node): Node =>
  r.n('i64.eq', r.n('i64.shr_s', r.n('i64.shl', va, r.i64(16)), r.i64(16)), va);

/** hypercalls/traps.ts set_segment_base. */
function segmentBase(r: Recorder): void {
  const which = low(r, 'rdi');
  const base = reg(r, 'rsi');
  const set = (segment: number, good: Node, act: () => void): void => {
    r.if(r.n('i32.eq', which, r.i32(segment)), () => {
      r.if(good, () => {
        plainCall(r, set_segment_base.nr, 0, act);
      });
    });
  };
  const canonical = isCanonical(r, base);
  set(SEGBASE.SEGBASE_FS, canonical, () => {
    setReg(r, 'fs_base', base);
  });
  set(SEGBASE.SEGBASE_GS_USER, canonical, () => {
    setAnnex(r, 'shadowGs', base);
  });
  set(SEGBASE.SEGBASE_GS_KERNEL, canonical, () => {
    setReg(r, 'gs_base', base);
  });
  const selector = r.n('i32.and', r.wrap(base), r.i32(0xffff));
  set(SEGBASE.SEGBASE_GS_USER_SEL, r.n('i32.le_u', selector, r.i32(3)), () => {
    setAnnex(r, 'shadowGs', r.i64(0));
  });
  // segments.ts loadSegmentBase
  r.if(r.n('i32.eq', which, r.i32(SEGBASE.SEGBASE_GS_USER_SEL)), () => {
    const descriptor = descriptorOf(r, selector);
    const kind = PRESENT | CODE_OR_DATA;
    const usable = r.n('i64.eq', r.n('i64.and', descriptor, r.i64(kind)), r.i64(kind));
    const lower = r.n('i64.and', r.n('i64.shr_u', descriptor, r.i64(16)), r.i64(0xffffff));
    const upper = r.n('i64.shl', r.n('i64.shr_u', descriptor, r.i64(56)), r.i64(24));
    const based = r.n('select', r.n('i64.or', lower, upper), r.i64(0), usable);
    plainCall(r, set_segment_base.nr, 0, () => {
      setAnnex(r, 'shadowGs', based);
    });
  });
  no(r);
}

/** By number. Each returns from the function. */
type Calls = readonly (readonly [number, (r: Recorder) => void])[];
const CALLS: Calls = [
  [iret.nr, returnFromTrap],
  [set_segment_base.nr, segmentBase],
  [
    stack_switch.nr,
    (r) => {
      plainCall(r, stack_switch.nr, 0, () => {
        setAnnex(r, 'kernelSs', r.n('i64.or', reg(r, 'rdi'), r.i64(3)));
        setAnnex(r, 'kernelSp', reg(r, 'rsi'));
      });
    },
  ],
  [
    // What a guest calls for to have its events delivered, too: nothing else is as short.
    xen_version.nr,
    (r) => {
      r.if(r.n('i32.eq', low(r, 'rdi'), r.i32(XENVER.XENVER_version)), () => {
        plainCall(r, xen_version.nr, XEN_VERSION, () => undefined);
      });
      no(r);
    },
  ],
];
/** Names of the declarations above, for those who arm. */
export const FAST_CALLS: readonly string[] = [
  iret, set_segment_base, stack_switch, xen_version, mmu_update, mmuext_op, update_va_mapping,
].map(({ name }) => name); // prettier-ignore

/** dispatch.ts enterHypercall; the number is the low half of rax. */
function hypercall(r: Recorder, calls: Calls): void {
  r.if(r.n('i32.eqz', word(r, 'room')), () => {
    no(r);
  });
  const nr = low(r, 'rax');
  for (const [number, call] of calls) {
    r.if(r.n('i32.eq', nr, r.i32(number)), () => {
      call(r);
    });
  }
}

/** The module: exports `crossing(vcpu, reason)`, see InterpretingCpu.setCrossing. */
export function fastPathModule(places: Places): Uint8Array {
  const tables = tableCalls(places);
  const calls: Calls = [
    ...CALLS,
    [mmu_update.nr, tables.update],
    [mmuext_op.nr, tables.extended],
    [update_va_mapping.nr, tables.updateVa],
  ];
  const builder = new ModuleBuilder();
  builder.importMachineMemory();
  const t = new Routines(builder);
  defineFlush(t);
  defineUpcall(t);
  tables.define(t);
  t.define('crossing', ['i32', 'i32'], ['i32'], (r, _cpu, reason) => {
    const allowed = word(r, 'allowed');
    r.if(r.n('i32.eqz', allowed), () => {
      no(r);
    });
    // Who counts turns, timers and input is outside: where the run would end anyway, it ends there with the exit.
    r.if(r.n('i64.ge_s', reg(r, 'icount'), reg(r, 'ilimit')), () => {
      no(r);
    });
    const may = (what: number): Node => r.n('i32.and', allowed, r.i32(what));
    r.if(r.n('i32.eq', reason, r.i32(EXIT.SYSCALL)), () => {
      r.if(
        word(r, 'kernelMode'),
        () => {
          r.if(may(ALLOWED.hypercall), () => {
            hypercall(r, calls);
          });
        },
        () => {
          r.if(may(ALLOWED.syscall), () => {
            systemCall(r);
          });
        },
      );
      no(r);
    });
    r.if(r.n('i32.eq', reason, r.i32(EXIT.EXCEPTION)), () => {
      const vector = low(r, 'exit_vector');
      r.if(r.n('i32.eq', vector, r.i32(VECTOR.GP)), () => {
        privileged(r);
      });
      r.if(r.n('i32.eq', vector, r.i32(VECTOR.PF)), () => {
        r.if(may(ALLOWED.fault), () => {
          pageFault(r, () => {
            r.if(may(ALLOWED.write), () => {
              tables.write(r);
            });
          });
        });
      });
    });
    return r.i32(0);
  });
  const ref = t.functions.get('crossing');
  if (ref !== undefined) builder.export(ref);
  return builder.finish();
}
