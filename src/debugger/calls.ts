export { callName, formatCall } from '../machine/format';
