import type { Form } from '../encoding';
import { makeForms } from '../encoding';
import type { Instruction } from '../instruction';
import { alu } from './alu';
import { branch } from './branch';
import { mov } from './mov';
import { shifts } from './shift';
import { stack } from './stack';

/** Every instruction of the machine. Order fixes the Form numbers. */
export const INSTRUCTIONS: readonly Instruction[] = [...alu, ...mov, ...shifts, ...stack, ...branch];

export const FORMS: readonly Form[] = makeForms(INSTRUCTIONS);
