/** The wire protocol of xenstore as data: io/xs_wire.h, docs/misc/xenstore.txt and xenstore-ring.txt of Xen 4.17. */
import { bytes, struct, u32 } from '../../abi/layout';
import type { ByteRing } from '../byte-ring';

/** enum xsd_sockmsg_type */
export const XS = {
  CONTROL: 0, DIRECTORY: 1, READ: 2, GET_PERMS: 3, WATCH: 4, UNWATCH: 5, TRANSACTION_START: 6, TRANSACTION_END: 7,
  INTRODUCE: 8, RELEASE: 9, GET_DOMAIN_PATH: 10, WRITE: 11, MKDIR: 12, RM: 13, SET_PERMS: 14, WATCH_EVENT: 15,
  ERROR: 16, IS_DOMAIN_INTRODUCED: 17, RESUME: 18, SET_TARGET: 19, RESET_WATCHES: 21, DIRECTORY_PART: 22,
} as const; // prettier-ignore

/** The errors that have a name on the wire (xsd_errors). */
export type XsErrno =
  | 'EINVAL'
  | 'EACCES'
  | 'EEXIST'
  | 'ENOENT'
  | 'ENOMEM'
  | 'ENOSPC'
  | 'EIO'
  | 'ENOSYS'
  | 'EBUSY'
  | 'EAGAIN'
  | 'E2BIG'
  | 'EPERM';

/** A request that is refused: the name goes to the client, the reason to the log. */
export class XsError extends Error {
  constructor(
    readonly errno: XsErrno,
    reason: string,
  ) {
    super(reason);
    this.name = 'XsError';
  }
}

export const xsd_sockmsg = struct('xsd_sockmsg', { type: u32, req_id: u32, tx_id: u32, len: u32 });

export interface Header {
  readonly type: number;
  readonly req_id: number;
  readonly tx_id: number;
}

export const XENSTORE_PAYLOAD_MAX = 4096;
export const XENSTORE_ABS_PATH_MAX = 3072;
export const XENSTORE_REL_PATH_MAX = 2048;

export const xenstore_domain_interface = struct('xenstore_domain_interface', {
  req: bytes(1024),
  rsp: bytes(1024),
  req_cons: u32,
  req_prod: u32,
  rsp_cons: u32,
  rsp_prod: u32,
  server_features: u32,
  connection: u32,
  error: u32,
});

const { offset, fields } = xenstore_domain_interface;
export const requestRing: ByteRing = {
  data: offset.req,
  size: fields.req.size,
  cons: offset.req_cons,
  prod: offset.req_prod,
};
export const responseRing: ByteRing = {
  data: offset.rsp,
  size: fields.rsp.size,
  cons: offset.rsp_cons,
  prod: offset.rsp_prod,
};

export const XENSTORE_SERVER_FEATURE = { RECONNECTION: 1, ERROR: 2 } as const;
export const XENSTORE_CONNECTION = { CONNECTED: 0, RECONNECT: 1 } as const;
export const XENSTORE_ERROR = { NONE: 0, COMM: 1, RINGIDX: 2, PROTO: 3 } as const;

/**
 * What an unprivileged domain may use, the defaults of xenstored 4.17 (its options -E -S -W -t -A -M -Q). Two
 * comparisons are one off there, and so here: see the uses.
 */
export const quota = {
  /** Nodes owned. */
  nodes: 1000,
  /** Bytes of a node: a header of 24, 8 a permission, value, names of children. */
  nodeSize: 2048,
  watches: 128,
  transactions: 10,
  /** Nodes read or written in one transaction. */
  accessed: 1024,
  /** Permissions of one node. */
  permissions: 5,
  /** Characters of a path beyond /local/domain/<id>/. */
  path: XENSTORE_REL_PATH_MAX,
  /** Replies not taken from the ring; then no further request is read. */
  outstanding: 20,
  /** Bytes of messages under way, watches and changed nodes of transactions. */
  memory: 2_621_440,
} as const;
