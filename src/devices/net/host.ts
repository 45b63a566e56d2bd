/**
 * What passes between the machine's network and the host: TCP connections that the host's side opened to a port of a
 * domain. Both directions count the bytes of a connection from its beginning, so that either side notices when the
 * other went back in time without it.
 */

interface OfConnection {
  /** Numbers are the host's to give, and not given again. */
  readonly connection: number;
}

/** What the host says. */
export type NetworkInput = OfConnection &
  (
    | { readonly event: 'open'; readonly domain: number; readonly port: number }
    | { readonly event: 'data'; readonly at: number; readonly data: Uint8Array }
    /** There is no more to come from the host. */
    | { readonly event: 'end' }
    | { readonly event: 'abort' }
    /** Bytes that the host has taken, all in all: the guest may send so much more. */
    | { readonly event: 'taken'; readonly bytes: number }
  );

/** What the machine says. */
export type NetworkOutput = OfConnection &
  (
    | { readonly event: 'opened' }
    | { readonly event: 'data'; readonly at: number; readonly data: Uint8Array }
    /** There is no more to come from the guest. */
    | { readonly event: 'end' }
    /** Bytes that the guest has acknowledged, all in all. */
    | { readonly event: 'taken'; readonly bytes: number }
    /** Nothing passes any more. Without a reason, because both sides ended it. */
    | { readonly event: 'closed'; readonly reason?: string }
  );
