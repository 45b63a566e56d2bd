import type { Context, Instruction } from '../instruction';
import { each } from '../instruction';
import type { Ops, Value, Width } from '../ops';
import { merge } from '../operands';
import { setSubFlags } from './flags';

/**
 * String instructions (SDM Vol. 2 MOVS, CMPS, SCAS, LODS, STOS, REP; Vol. 1 §7.3.9). With a repeat prefix each
 * iteration commits rsi, rdi and rcx, so that a fault in the middle leaves an instruction that can be resumed;
 * the whole repetition is one retired instruction. The destination segment is ES, whose base is zero.
 */
type Index = 'rsi' | 'rdi';

const cut = (o: Ops, { aw }: Context, v: Value): Value => (aw === 32 ? o.zx(32, v) : v);
const source = (o: Ops, c: Context): Value => o.add(cut(o, c, o.get('rsi')), c.segBase(o));
const destination = (o: Ops, c: Context): Value => cut(o, c, o.get('rdi'));

/** ± bytes of an element by DF. */
function stride(o: Ops, c: Context): Value {
  const n = c.w / 8;
  return o.select(o.and(o.get('rflags'), o.k(0x400)), o.k(-n), o.k(n));
}

function advance(o: Ops, c: Context, by: Value, ...registers: readonly Index[]): void {
  for (const r of registers) o.set(r, cut(o, c, o.add(o.get(r), by)));
}

/**
 * A repetition can be interrupted between elements (SDM Vol. 2B REP); here it is, always after so many, which
 * counts as a retired instruction: no guest can keep the processor inside one instruction for ever.
 */
const INTERRUPT_AFTER = 1 << 20;
/** Bytes of a repetition that is one act: a page's worth, as Linux clears and copies them. */
const AT_ONCE = 4096;
/** A condition as a mask. */
const all = (o: Ops, bit: Value): Value => o.neg(bit);

/**
 * Runs `element` once, or per repetition. It returns nothing, or for CMPS/SCAS a value that is zero when the
 * elements were equal: REPE goes on while it is, REPNE until it is.
 */
function repeat(o: Ops, c: Context, element: () => Value | undefined, many?: (n: Value) => Value): void {
  if (c.rep === 'none') {
    element();
    return;
  }
  const left = (): Value => cut(o, c, o.get('rcx'));
  const up = (): Value => o.eqz(o.and(o.get('rflags'), o.k(0x400)));
  if (many !== undefined && o.only !== undefined) {
    // All at once, or none: nothing can come between.
    const all = left();
    o.only(up());
    o.only(o.cmp('leu', all, o.k(AT_ONCE / (c.w / 8))));
    o.set('rcx', o.sub(o.get('rcx'), many(all)));
    return;
  }
  const more = o.var(all(o, o.cmp('ne', left(), o.k(0))));
  const budget = o.var(o.k(INTERRUPT_AFTER));
  o.while(
    () => o.cmp('ne', o.and(more.get(), budget.get()), o.k(0)),
    () => {
      if (many !== undefined) {
        // Several at once, where nothing can come between: all that is left, or one by one from there.
        const most = o.select(o.cmp('ltu', left(), budget.get()), left(), budget.get());
        const done = o.choose(up(), () => many(most), () => o.k(0)); // prettier-ignore
        o.set('rcx', o.sub(o.get('rcx'), done));
        budget.set(o.sub(budget.get(), done));
        const rest = o.and(o.cmp('ne', left(), o.k(0)), o.cmp('ne', budget.get(), o.k(0)));
        o.if(rest, () => void element());
        o.set('rcx', o.sub(o.get('rcx'), rest));
        budget.set(o.sub(budget.get(), rest));
        more.set(all(o, o.cmp('ne', left(), o.k(0))));
        return;
      }
      const differ = element();
      const count = cut(o, c, o.sub(left(), o.k(1)));
      o.set('rcx', count);
      const again = all(o, o.cmp('ne', count, o.k(0)));
      if (differ === undefined) more.set(again);
      else more.set(o.and(again, all(o, c.rep === 'rep' ? o.eqz(differ) : o.cmp('ne', differ, o.k(0)))));
      budget.set(o.sub(budget.get(), o.k(1)));
    },
  );
  o.if(more.get(), () => o.set('next', o.get('rip')));
}

function compare(o: Ops, w: Width, a: Value, b: Value): Value {
  const r = o.zx(w, o.sub(a, b));
  o.set('cf', o.cmp('ltu', a, b));
  setSubFlags(o, w, a, b, r);
  return r;
}

type Element = (o: Ops, c: Context) => Value | undefined;
/** As many of `n` elements as go at once, with their registers moved on but for rcx; how many. */
type Many = (o: Ops, c: Context, n: Value) => Value;

/** `n` elements further, going up. */
function advanceUp(o: Ops, c: Context, n: Value, ...registers: readonly Index[]): Value {
  advance(o, c, o.mul(n, o.k(c.w / 8)), ...registers);
  return n;
}

const elements: readonly { name: string; byte: string; run: Element; many?: Many }[] = [
  {
    name: 'movs',
    byte: 'a4',
    run(o, c) {
      o.store(c.w, destination(o, c), o.load(c.w, source(o, c)));
      advance(o, c, stride(o, c), 'rsi', 'rdi');
      return undefined;
    },
    many: (o, c, n) => advanceUp(o, c, o.bulkMove(c.w, destination(o, c), source(o, c), n), 'rsi', 'rdi'),
  },
  {
    name: 'cmps',
    byte: 'a6',
    run(o, c) {
      // Where both would fault, the destination does, as mostly on AMD processors (measured).
      const b = o.load(c.w, destination(o, c));
      const r = compare(o, c.w, o.load(c.w, source(o, c)), b);
      advance(o, c, stride(o, c), 'rsi', 'rdi');
      return r;
    },
  },
  {
    name: 'stos',
    byte: 'aa',
    run(o, c) {
      o.store(c.w, destination(o, c), o.zx(c.w, o.get('rax')));
      advance(o, c, stride(o, c), 'rdi');
      return undefined;
    },
    many: (o, c, n) => advanceUp(o, c, o.bulkFill(c.w, destination(o, c), o.zx(c.w, o.get('rax')), n), 'rdi'),
  },
  {
    name: 'lods',
    byte: 'ac',
    run(o, c) {
      const v = o.load(c.w, source(o, c));
      o.set('rax', merge(o, c.w, o.get('rax'), v));
      advance(o, c, stride(o, c), 'rsi');
      return undefined;
    },
  },
  {
    name: 'scas',
    byte: 'ae',
    run(o, c) {
      const r = compare(o, c.w, o.zx(c.w, o.get('rax')), o.load(c.w, destination(o, c)));
      advance(o, c, stride(o, c), 'rdi');
      return r;
    },
  },
];

const WIDTHS = [
  { w: 8, suffix: 'b' },
  { w: 16, suffix: 'w' },
  { w: 32, suffix: 'd' },
  { w: 64, suffix: 'q' },
] as const;

export const string: readonly Instruction[] = elements.flatMap(({ name, byte, run, many }) =>
  each(WIDTHS, ({ w, suffix }) => ({
    mnemonic: name + suffix,
    doc: `SDM 2 ${name.toUpperCase()}`,
    encodings: [`${(parseInt(byte, 16) + (w === 8 ? 0 : 1)).toString(16)} ; rep aw ends w${w}`],
    // Addresses of 32 bits wrap inside what the TLB serves as 64.
    semantics: (o, c) =>
      repeat(o, c, () => run(o, c), many && c.aw === 64 ? (n) => many(o, c, n) : undefined),
  })),
);
