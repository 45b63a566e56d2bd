import type * as Iced from 'iced-x86';
import type { DecodedInstruction, InstructionDecoder } from '../debugger/decoder';

type Module = typeof Iced;

/** The published disassembler, behind the debugger's interface. Its WebAssembly is loaded on first use. */
export async function loadDecoder(): Promise<InstructionDecoder> {
  return createDecoder(await import('iced-x86'));
}

export function createDecoder(iced: Module): InstructionDecoder {
  const {
    Code,
    Decoder,
    DecoderOptions,
    FlowControl,
    Formatter,
    FormatterSyntax,
    Instruction,
    Mnemonic,
    OpKind,
    Register,
  } = iced;

  const flows: Readonly<Partial<Record<number, DecodedInstruction['flow']>>> = {
    [FlowControl.UnconditionalBranch]: 'jump',
    [FlowControl.IndirectBranch]: 'jump',
    [FlowControl.ConditionalBranch]: 'branch',
    [FlowControl.Return]: 'return',
    [FlowControl.Call]: 'call',
    [FlowControl.IndirectCall]: 'call',
  };
  const flowOf = (instruction: Iced.Instruction): DecodedInstruction['flow'] => {
    if (instruction.mnemonic === Mnemonic.Syscall) return 'syscall';
    if (instruction.isStringInstruction && (instruction.hasRepPrefix || instruction.hasRepnePrefix))
      return 'repeat';
    return flows[instruction.flowControl] ?? 'next';
  };
  const branchTarget = (instruction: Iced.Instruction): bigint | undefined =>
    instruction.op0Kind === OpKind.NearBranch64 ? instruction.nearBranch64 : undefined;
  /** An address that an operand names: a direct branch's target, or RIP-relative memory. */
  const named = (instruction: Iced.Instruction): bigint | undefined =>
    branchTarget(instruction) ??
    (instruction.memoryBase === Register.RIP ? instruction.memoryDisplacement : undefined);

  const formatter = new Formatter(FormatterSyntax.Intel);
  formatter.hexPrefix = '0x';
  formatter.hexSuffix = '';
  formatter.uppercaseHex = false;
  formatter.spaceAfterOperandSeparator = true;
  formatter.branchLeadingZeros = false;
  formatter.showBranchSize = false;
  formatter.ripRelativeAddresses = false;

  return {
    decode: (code, address, limit, symbol) => {
      const decoder = new Decoder(64, code, DecoderOptions.None);
      const instruction = new Instruction();
      const found: DecodedInstruction[] = [];
      try {
        decoder.ip = address;
        while (found.length < limit && decoder.canDecode) {
          const at = decoder.position;
          const ip = BigInt.asUintN(64, address + BigInt(at));
          decoder.ip = ip;
          decoder.decodeOut(instruction);
          if (instruction.code === Code.INVALID) {
            // One byte at a time, so that decoding finds its feet again after data.
            found.push({
              address: ip,
              length: 1,
              text: `db 0x${(code[at] ?? 0).toString(16).padStart(2, '0')}`,
              valid: false,
              flow: 'next',
            });
            decoder.position = at + 1;
            continue;
          }
          const target = branchTarget(instruction);
          const mentioned = symbol === undefined ? undefined : named(instruction);
          const name = mentioned === undefined ? undefined : symbol?.(mentioned);
          const text = formatter.format(instruction);
          found.push({
            address: ip,
            length: instruction.length,
            text: name === undefined ? text : `${text} <${name}>`,
            valid: true,
            flow: flowOf(instruction),
            ...(target === undefined ? {} : { target }),
          });
        }
      } finally {
        instruction.free();
        decoder.free();
      }
      return found;
    },
  };
}
