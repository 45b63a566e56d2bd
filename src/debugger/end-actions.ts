import type { EventAction } from '../guest/xlcfg';
import type { DomainConfig, EndAction, ShutdownReason } from '../machine/target';

/** Launch arguments, named as xl.cfg(5) names them, and the end that each is about. */
export const END_ARGUMENTS = {
  onPoweroff: 'poweroff',
  onReboot: 'reboot',
  onCrash: 'crash',
  onWatchdog: 'watchdog',
  onSoftReset: 'soft_reset',
} as const satisfies Record<string, ShutdownReason>;
export type EndArguments = Readonly<Partial<Record<keyof typeof END_ARGUMENTS, string>>>;

/** What xl knows beyond what there is here, and what is done instead. */
const INSTEAD: Readonly<Record<EventAction, { readonly action: EndAction; readonly note?: string }>> = {
  destroy: { action: 'destroy' },
  restart: { action: 'restart' },
  preserve: { action: 'preserve' },
  'rename-restart': { action: 'restart', note: 'restarts without keeping the old domain' },
  'coredump-destroy': { action: 'destroy', note: 'destroys; no core is dumped' },
  'coredump-restart': { action: 'restart', note: 'restarts; no core is dumped' },
  'soft-reset': { action: 'destroy', note: 'destroys, as Xen does with PV domains' },
};

const isAction = (word: string): word is EventAction => Object.hasOwn(INSTEAD, word);

/** @throws whatever `refuse` makes of an argument that names no action */
export function endActions(
  given: EndArguments,
  warn: (text: string) => void,
  refuse: (argument: string, problem: string) => Error,
): Pick<DomainConfig, 'onEnd'> {
  const found: Partial<Record<ShutdownReason, EndAction>> = {};
  for (const [argument, reason] of Object.entries(END_ARGUMENTS)) {
    const word = given[argument as keyof EndArguments];
    if (word === undefined) continue;
    if (!isAction(word)) throw refuse(argument, `'${word}' is not one of ${Object.keys(INSTEAD).join(', ')}`);
    const { action, note } = INSTEAD[word];
    if (note !== undefined) warn(`${argument}: ${word} ${note}`);
    found[reason] = action;
  }
  return Object.keys(found).length === 0 ? {} : { onEnd: found };
}
