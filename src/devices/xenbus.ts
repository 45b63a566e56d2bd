/** What split devices have in common: the states of either end, and numbers as they stand in xenstore. */

/** enum xenbus_state (io/xenbus.h) */
export const XenbusState = {
  Initialising: 1,
  InitWait: 2,
  Initialised: 3,
  Connected: 4,
  Closing: 5,
  Closed: 6,
} as const;
export type XenbusState = (typeof XenbusState)[keyof typeof XenbusState];

/** A decimal number below 2^32 as a front end writes it, else undefined. */
export function decimal(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
  const value = Number(text);
  return value < 2 ** 32 ? value : undefined;
}
