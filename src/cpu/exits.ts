/**
 * How control leaves the CPU. `run()` returns one of EXIT; details are in state fields
 * `exit_vector`, `exit_error` (−1: none), `exit_info`, `exit_address`. The privilege model lives behind this: under Xen PV
 * everything runs at CPL 3, and privileged instructions simply raise #GP(0) as the manual says, which the
 * hypervisor emulates or bounces.
 */
export const EXIT = {
  /** Nothing: icount reached ilimit. */
  LIMIT: 0,
  /** An exception: exit_vector, exit_error, exit_address (= faulting linear address for #PF). Not retired; rip is at the instruction. */
  EXCEPTION: 1,
  /** SYSCALL: retired; rip is after the instruction; rcx/r11 untouched. */
  SYSCALL: 2,
  /** INT n / INT3 / INT1: exit_vector = n, exit_info = kind (see INT_KIND); retired, rip is after it. */
  INT: 3,
  /** HLT at CPL 0 (never under PV). */
  HLT: 4,
  /** Instruction breakpoint at rip, not yet executed. */
  BREAK: 5,
  /** A data watchpoint was hit by the instruction before rip; exit_address, exit_info = bytes | write << 8. */
  WATCH: 6,
  /** Another side asked to stop at the next block boundary (Atomics flag, see cpu.ts). */
  KICK: 7,
  /** Something declared but not implemented was executed (at CPL 0, or a far transfer that changes the mode). Not
   *  retired; rip is at it. */
  UNIMPLEMENTED: 8,
} as const;
export type Exit = (typeof EXIT)[keyof typeof EXIT];

export const INT_KIND = { INT: 0, INT3: 1, INT1: 2 } as const;
