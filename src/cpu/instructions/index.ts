import type { Form } from '../encoding';
import { makeForms } from '../encoding';
import type { Instruction } from '../instruction';
import { alu } from './alu';
import { bits } from './bits';
import { branch } from './branch';
import { flagops } from './flagops';
import { fxsave } from './fxsave';
import { mmx } from './mmx';
import { mov } from './mov';
import { muldiv } from './muldiv';
import { segment } from './segment';
import { shifts } from './shift';
import { sseArithmetic } from './sse-arithmetic';
import { sseConvert } from './sse-convert';
import { sseInteger } from './sse-integer';
import { sseMove } from './sse-move';
import { sseShuffle } from './sse-shuffle';
import { stack } from './stack';
import { string } from './string';
import { system } from './system';
import { x87Instructions } from './x87';
import { x87Control } from './x87-control';

/** Every instruction of the machine. Order fixes the Form numbers. */
export const INSTRUCTIONS: readonly Instruction[] = [
  ...alu,
  ...mov,
  ...shifts,
  ...stack,
  ...branch,
  ...muldiv,
  ...bits,
  ...string,
  ...flagops,
  ...segment,
  ...system,
  ...mmx,
  ...sseMove,
  ...sseArithmetic,
  ...sseConvert,
  ...sseShuffle,
  ...sseInteger,
  ...x87Instructions,
  ...x87Control,
  ...fxsave,
];

export const FORMS: readonly Form[] = makeForms(INSTRUCTIONS);
