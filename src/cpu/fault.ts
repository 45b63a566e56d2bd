/**
 * How TypeScript code of the CPU (evaluate, helpers, slow paths) abandons a guest instruction. Whoever runs
 * instructions catches it and turns it into EXIT.EXCEPTION; it never leaves the CPU.
 */
export class GuestFault extends Error {
  constructor(
    readonly vector: number,
    /** Error code, or undefined for vectors without one. */
    readonly code: number | undefined,
    /** The faulting linear address, for #PF (CR2 is the hypervisor's to load). */
    readonly address: bigint = 0n,
  ) {
    super(`exception ${vector}`);
  }
}
