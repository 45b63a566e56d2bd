import { decode, DECODE, formOf, MAX_LENGTH, newDecoded, type Decoded } from '../decode';
import type { Exit } from '../exits';
import { EXIT } from '../exits';
import { GuestFault } from '../fault';
import { execute, type Source } from '../operands';
import type { Ops, OpsOf } from '../ops';
import { UNIMPLEMENTED, VECTOR } from '../ops';
import type { OperandSource } from '../record';
import { RFLAGS } from '../state';
import type { Vcpu } from '../types';
import { PAGE_SIZE } from '../types';
import { GuestMemory, type Machine } from './memory';
import { evaluateOps, type Outcome } from './ops';
import { decodedSource } from './source';

export type { Machine } from './memory';

/**
 * The oracle: runs the one instruction at rip, straight from its declaration, on the same memory and state as the
 * other tiers. Slow and obvious. Returns EXIT.LIMIT when the instruction simply retired, else why it left, with the
 * exit fields as `Vcpu.run` leaves them. Instruction breakpoints are the caller's.
 */
export function evaluateOne(machine: Machine, vcpu: Vcpu): Exit {
  const { o, memory, outcome, decoded } = evaluatorOf(machine, vcpu);
  memory.begin();
  reset(outcome);
  const rip = vcpu.get('rip');
  const stepping = (vcpu.get('rflags') & RFLAGS.TF) !== 0n;
  try {
    fetch(machine, memory, rip, decoded);
    const form = formOf(decoded);
    const next = BigInt.asUintN(64, rip + BigInt(decoded.length));
    vcpu.set('next', next);
    execute(form, asOps(o), asSource(decodedSource(o, form, decoded, next)));
  } catch (fault) {
    if (fault instanceof GuestFault) return leave(vcpu, fault);
    throw fault;
  }
  vcpu.set('rip', vcpu.get('next'));
  vcpu.set('icount', vcpu.get('icount') + 1n);
  if (outcome.exit) {
    vcpu.setInt('exit_reason', outcome.exit.reason);
    vcpu.set('exit_info', outcome.exit.info);
    return outcome.exit.reason as Exit;
  }
  if (memory.watched) return EXIT.WATCH;
  if (!stepping) return EXIT.LIMIT;
  // A trap after the instruction, which has retired (SDM Vol. 3 §17.3.1.4).
  vcpu.set('dr6', vcpu.get('dr6') | DR6_BS);
  return leave(vcpu, new GuestFault(VECTOR.DB, undefined));
}

const DR6_BS = 1n << 14n;

/** What serves one vCPU, instruction after instruction. */
interface Evaluator {
  readonly machine: Machine;
  readonly o: OpsOf<bigint, bigint>;
  readonly memory: GuestMemory;
  readonly outcome: Outcome;
  readonly decoded: Decoded;
}
const evaluators = new WeakMap<Vcpu, Evaluator>();

function evaluatorOf(machine: Machine, vcpu: Vcpu): Evaluator {
  const known = evaluators.get(vcpu);
  if (known?.machine === machine) return known;
  const decoded = newDecoded();
  const memory = new GuestMemory(machine, vcpu, () => decoded.stack === 1);
  const outcome: Outcome = { exit: undefined };
  const made = { machine, o: evaluateOps(vcpu, machine.hooks, memory, outcome), memory, outcome, decoded };
  evaluators.set(vcpu, made);
  return made;
}

function reset(outcome: Outcome): void {
  outcome.exit = undefined;
}

const NO_ERROR_CODE = 0xffffffff;

function leave(vcpu: Vcpu, fault: GuestFault): Exit {
  if (fault.vector === UNIMPLEMENTED) {
    vcpu.setInt('exit_reason', EXIT.UNIMPLEMENTED);
    return EXIT.UNIMPLEMENTED;
  }
  vcpu.setInt('exit_reason', EXIT.EXCEPTION);
  vcpu.setInt('exit_vector', fault.vector);
  vcpu.setInt('exit_error', fault.code ?? NO_ERROR_CODE);
  vcpu.set('exit_address', fault.address);
  return EXIT.EXCEPTION;
}

/** Decodes at rip; the second page is translated only when the instruction reaches into it. */
function fetch(machine: Machine, memory: GuestMemory, rip: bigint, d: Decoded): void {
  const { mem } = machine;
  const bytesAt = (linear: bigint): Uint8Array => {
    const at = memory.translate(linear, 'fetch');
    const n = Math.min(MAX_LENGTH, PAGE_SIZE - (at % PAGE_SIZE));
    const from = mem.framesBase + at;
    // Beyond the end memory reads as ones.
    return at < mem.frameCount * PAGE_SIZE ? mem.bytes.slice(from, from + n) : new Uint8Array(n).fill(0xff);
  };
  const head = bytesAt(rip);
  let length = decode(head, 0, head.length, d);
  if (length === DECODE.MORE) {
    const tail = bytesAt(BigInt.asUintN(64, rip + BigInt(head.length)));
    const all = new Uint8Array(head.length + tail.length);
    all.set(head);
    all.set(tail, head.length);
    length = decode(all, 0, all.length, d);
  }
  if (length === DECODE.UNDEFINED) throw new GuestFault(VECTOR.UD, undefined);
  if (length < 0) throw new GuestFault(VECTOR.GP, 0);
}

/** The one cast to the opaque values of a semantics text. */
const asOps = (o: OpsOf<bigint, bigint>): Ops => o as unknown as Ops;
const asSource = (s: OperandSource<bigint, bigint>): Source => s as unknown as Source;
