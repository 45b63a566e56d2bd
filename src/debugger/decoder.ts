/** What stepping and unwinding must know of an instruction; how it reads is for the disassembly. */
export interface DecodedInstruction {
  readonly address: bigint;
  /** Bytes, at least 1. */
  readonly length: number;
  readonly text: string;
  readonly valid: boolean;
  /**
   * `call` comes back to the instruction after it; so does `syscall`, when a guest's user calls its kernel.
   * `repeat` is a string instruction under a REP prefix.
   */
  readonly flow: 'next' | 'jump' | 'branch' | 'call' | 'return' | 'syscall' | 'repeat';
  /** Target of a direct jump, branch or call. */
  readonly target?: bigint;
}

/** Longest x86 instruction, SDM vol. 2A §2.3.11. */
export const MAX_INSTRUCTION = 15;

/** Injected: the debugger itself carries no table of x86 encodings. */
export interface InstructionDecoder {
  /**
   * Decodes from the start of `code`, which lies at `address`, until its end or `limit` instructions. What is not
   * an instruction, or is cut off by the end, comes as one invalid byte.
   * @param symbol name of an address, for operands
   */
  decode(
    code: Uint8Array,
    address: bigint,
    limit: number,
    symbol?: (address: bigint) => string | undefined,
  ): DecodedInstruction[];
}
