/** Domain identifiers with a meaning of their own (xen.h). */
import type { DomainId } from '../base/branded';

export const DOMID = {
  DOM0: 0 as DomainId,
  FIRST_RESERVED: 0x7ff0 as DomainId,
  SELF: 0x7ff0 as DomainId,
  IO: 0x7ff1 as DomainId,
  XEN: 0x7ff2 as DomainId,
  COW: 0x7ff3 as DomainId,
  INVALID: 0x7ff4 as DomainId,
  IDLE: 0x7fff as DomainId,
} as const;
