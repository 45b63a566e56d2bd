/**
 * Privileged instructions that kernels of PV guests execute by the ten thousand while they boot: IN and OUT, where nothing
 * is but PCI's address register, and CLI and STI, which do nothing. privileged.ts emulatePrivileged.
 */
import type { Node } from '../../cpu/ir/nodes';
import type { Recorder } from '../../cpu/ir/recorder';
import { EFLAGS } from '../../hypervisor/bounce';
import { PCI_ADDRESS } from '../../hypervisor/privileged';
import { ALLOWED, type CountName } from './annex';
import {
  INFO,
  codeAt,
  done,
  increment,
  infoByte,
  low,
  no,
  noUpcall,
  reg,
  retires,
  setAnnex,
  setReg,
  word,
} from './words';

/** SDM vol. 2 §2.1: what is read to find an instruction. */
const MAX_INSTRUCTION = 15;
const OPERAND_SIZE = 0x66;
const [CLI, STI] = [0xfa, 0xfb] as const;
/** IN and OUT of all sizes, by an immediate byte (E4 to E7) or DX (EC to EF), and what the other bits say. */
const PORTS = { mask: 0xf4, opcode: 0xe4, wide: 1, out: 2, dx: 8 } as const;

export function privileged(r: Recorder): void {
  const when = (condition: Node): void => {
    r.if(r.n('i32.eqz', condition), () => {
      no(r);
    });
  };
  const has = (v: Node, bit: number): Node => r.n('i32.ne', r.n('i32.and', v, r.i32(bit)), r.i32(0));
  const is = (v: Node, value: number): Node => r.n('i32.eq', v, r.i32(value));

  // exceptionOf: a negative one is none.
  when(r.n('i32.le_s', low(r, 'exit_error'), r.i32(0)));
  when(word(r, 'kernelMode'));
  when(r.n('i32.eqz', r.n('i32.and', low(r, 'rflags'), r.i32(Number(EFLAGS.RF)))));
  retires(r);
  noUpcall(r, infoByte(r, INFO.evtchn_upcall_mask));
  const rip = reg(r, 'rip');
  const bytes = r.load('i32.load', codeAt(r, rip, MAX_INSTRUCTION));
  const prefixed = is(r.n('i32.and', bytes, r.i32(0xff)), OPERAND_SIZE);
  const code = r.n('i32.shr_u', bytes, r.n('i32.shl', prefixed, r.i32(3)));
  const opcode = r.n('i32.and', code, r.i32(0xff));
  const finish = (counted: CountName, length: Node): void => {
    setReg(r, 'rip', r.n('i64.add', rip, r.bool(length)));
    setReg(r, 'icount', r.n('i64.add', reg(r, 'icount'), r.i64(1)));
    increment(r, counted);
    done(r);
  };
  const may = (what: number): void => {
    when(r.n('i32.and', word(r, 'allowed'), r.i32(what)));
  };

  r.if(is(r.n('i32.and', opcode, r.i32(PORTS.mask)), PORTS.opcode), () => {
    const byDx = has(opcode, PORTS.dx);
    const port = r.n(
      'select',
      r.n('i32.and', low(r, 'rdx'), r.i32(0xffff)),
      r.n('i32.and', r.n('i32.shr_u', code, r.i32(8)), r.i32(0xff)),
      byDx,
    );
    const length = r.n('i32.sub', r.n('i32.add', prefixed, r.i32(2)), byDx);
    const wide = has(opcode, PORTS.wide);
    const full = r.n('i32.and', wide, r.n('i32.eqz', prefixed));
    const address = r.n('i32.and', full, is(port, PCI_ADDRESS));
    r.if(
      has(opcode, PORTS.out),
      () => {
        may(ALLOWED.out);
        r.if(address, () => {
          setAnnex(r, 'pciAddress', low(r, 'rax'));
        });
        finish('outs', length);
      },
      () => {
        may(ALLOWED.in);
        const rax = reg(r, 'rax');
        const part = r.n('i64.or', rax, r.n('select', r.i64(0xffff), r.i64(0xff), wide));
        const all = r.bool(r.n('select', word(r, 'pciAddress'), r.i32(-1), address));
        setReg(r, 'rax', r.n('select', all, part, full));
        finish('ins', length);
      },
    );
  });
  when(r.n('i32.eqz', prefixed));
  for (const [of, allowed, counted] of [
    [CLI, ALLOWED.cli, 'clis'],
    [STI, ALLOWED.sti, 'stis'],
  ] as const)
    r.if(is(opcode, of), () => {
      may(allowed);
      finish(counted, r.i32(1));
    });
  no(r);
}
