/**
 * mmuext_op where it is short: flushes of this vCPU's translations, and the base tables of a switch from one process to
 * another, where every table stays one.
 */
import { MMUEXT, mmuext_op as mmuextOp } from '../../abi/mmu';
import type { Node } from '../../cpu/ir/nodes';
import type { Recorder } from '../../cpu/ir/recorder';
import { FRAME_TYPE } from '../../hypervisor/frames';
import { mmuext_op } from '../../hypervisor/hypercalls/mmu';
import { M2P_SLOT } from '../../hypervisor/xenslots';
import { ALLOWED } from './annex';
import type { FrameWords } from './frames';
import {
  both, elements, flushAll, flushPage, inGuestsPart, low, no, reg, setAnnex, setReg, tableCall, unless, word,
} from './words'; // prettier-ignore

/** HEAD.names of mmuext_op: one number for each list of names. */
const NAMES = { kernelBase: 2, bothBases: 3, flushPage: 5, flush: 6 } as const;
const { cmd: CMD, arg1: ARG1 } = mmuextOp.offset;

export function baseTables(w: FrameWords): { readonly extended: (r: Recorder) => void } {
  const { count, add, own, hasType, validated, existing, addressOf, baseOf } = w;
  /** A base table that stays one, with a use more. */
  function good(r: Recorder, mfn: Node): void {
    const uses = r.n('i32.ne', count(r, 'typeCount', mfn), r.i32(0));
    unless(
      r,
      both(r, both(r, own(r, mfn), hasType(r, mfn, FRAME_TYPE.l4)), both(r, uses, validated(r, mfn))),
    );
  }
  /** One that stays one with a use less. */
  function spared(r: Recorder, mfn: Node): void {
    const many = (of: 'refs' | 'typeCount'): Node => r.n('i32.gt_u', count(r, of, mfn), r.i32(1));
    unless(r, both(r, many('refs'), many('typeCount')));
  }
  const use = (r: Recorder, mfn: Node, by: 1 | -1): void => {
    add(r, 'refs', mfn, by);
    add(r, 'typeCount', mfn, by);
  };

  /** hypercalls/mmu.ts mmuext_op: INVLPG_LOCAL, TLB_FLUSH_LOCAL, or base tables. */
  function extended(r: Recorder): void {
    r.if(r.n('i32.eq', low(r, 'rsi'), r.i32(1)), () => {
      const host = elements(r, mmuextOp.size);
      const command = r.load('i32.load', host, CMD);
      const address = r.load('i64.load', host, ARG1);
      const captured = { linear: reg(r, 'rdi'), host, bytes: mmuextOp.size };
      r.if(r.n('i32.eq', command, r.i32(MMUEXT.MMUEXT_INVLPG_LOCAL)), () => {
        unless(r, inGuestsPart(r, address));
        tableCall(
          r,
          mmuext_op.nr,
          () => {
            flushPage(r, address);
          },
          { ...captured, names: NAMES.flushPage },
        );
      });
      r.if(r.n('i32.eq', command, r.i32(MMUEXT.MMUEXT_TLB_FLUSH_LOCAL)), () => {
        tableCall(
          r,
          mmuext_op.nr,
          () => {
            flushAll(r);
          },
          { ...captured, names: NAMES.flush },
        );
      });
    });
    bases(r);
  }

  /** basetables.ts newKernelBase, and behind it newUserBase. */
  function bases(r: Recorder): void {
    unless(r, r.n('i32.and', word(r, 'allowed'), r.i32(ALLOWED.bases)));
    const elementCount = low(r, 'rsi');
    const command = (host: Node, i: number): Node => r.load('i32.load', host, i * mmuextOp.size + CMD);
    const frame = (host: Node, i: number): Node =>
      existing(r, r.load('i64.load', host, i * mmuextOp.size + ARG1));
    const withBoth = (many: 1 | 2): void => {
      const host = elements(r, many * mmuextOp.size);
      unless(r, r.n('i32.eq', command(host, 0), r.i32(MMUEXT.MMUEXT_NEW_BASEPTR)));
      const to = frame(host, 0);
      const from = baseOf(r, 'kernelBase');
      const isNew = r.n('i32.ne', to, from);
      r.if(isNew, () => {
        good(r, to);
        // What showM2p would write stands there.
        unless(r, r.condition(r.load('i64.load', addressOf(r, to), 8 * M2P_SLOT)));
        spared(r, from);
      });
      const user = many === 1 ? undefined : { to: frame(host, 1), from: baseOf(r, 'userBase') };
      if (user !== undefined) {
        unless(r, r.n('i32.eq', command(host, 1), r.i32(MMUEXT.MMUEXT_NEW_USER_BASEPTR)));
        unless(r, r.n('i32.ne', user.from, from));
        r.if(r.n('i32.ne', user.to, user.from), () => {
          r.if(user.to, () => {
            good(r, user.to);
          });
          r.if(user.from, () => {
            spared(r, user.from);
          });
        });
      }
      const act = (): void => {
        const base = (mfn: Node): Node => r.n('i64.shl', r.bool(mfn), r.i64(12));
        r.if(isNew, () => {
          use(r, to, 1);
          use(r, from, -1);
          setAnnex(r, 'kernelBase', base(to));
          setReg(r, 'cr3', base(to));
        });
        if (user !== undefined) {
          r.if(r.n('i32.ne', user.to, user.from), () => {
            // 0: none.
            r.if(user.to, () => {
              use(r, user.to, 1);
            });
            r.if(user.from, () => {
              use(r, user.from, -1);
            });
            setAnnex(r, 'userBase', base(user.to));
          });
        }
        flushAll(r);
      };
      tableCall(r, mmuext_op.nr, act, {
        linear: reg(r, 'rdi'),
        host,
        bytes: many * mmuextOp.size,
        names: many === 1 ? NAMES.kernelBase : NAMES.bothBases,
      });
    };
    r.if(r.n('i32.eq', elementCount, r.i32(1)), () => {
      withBoth(1);
    });
    r.if(r.n('i32.eq', elementCount, r.i32(2)), () => {
      withBoth(2);
    });
    no(r);
  }

  return { extended };
}
