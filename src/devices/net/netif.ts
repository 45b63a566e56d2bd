/** The network protocol (io/netif.h): numbers, and what takes turns in the slots of its two rings. */
import { array, enumOf, flagsOf, gref, i16, struct, u16, u32, u8 } from '../../abi/layout';

/** Flags of transmit requests: what the front end says of a packet that it sends. */
export const NETTXF = { csum_blank: 1, data_validated: 2, more_data: 4, extra_info: 8 } as const;
/** Flags of receive responses: what the back end says of a packet that it delivers. */
export const NETRXF = { data_validated: 1, csum_blank: 2, more_data: 4, extra_info: 8 } as const;

export const NETIF_RSP = { OKAY: 0, ERROR: -1, DROPPED: -2, NULL: 1 } as const;

export const EXTRA_TYPE = { GSO: 1, MCAST_ADD: 2, MCAST_DEL: 3, HASH: 4 } as const;
export const EXTRA_FLAG_MORE = 1;
export const GSO_TYPE = { TCPV4: 1, TCPV6: 2 } as const;

/** XEN_NETIF_NR_SLOTS_MIN: slots that any back end must take for one packet. */
export const SLOTS_MIN = 18;
/** As many multicast addresses as Linux's back end takes. */
export const MCAST_MAX = 64;

export const netif_tx_request = struct('netif_tx_request', {
  gref,
  offset: u16,
  flags: flagsOf(u16, NETTXF),
  id: u16,
  /** Of the whole packet in its first request, of this part of it in the others. */
  size: u16,
});

export const netif_tx_response = struct('netif_tx_response', { id: u16, status: i16 });

export const netif_rx_request = struct('netif_rx_request', { id: u16, pad: u16, gref: u32 });

export const netif_rx_response = struct('netif_rx_response', {
  id: u16,
  offset: u16,
  flags: flagsOf(u16, NETRXF),
  /** Bytes of this part of the packet, or a NETIF_RSP_*. */
  status: i16,
});

/** struct netif_extra_info as it stands for segmentation offload. */
export const netif_extra_gso = struct('netif_extra_info', {
  type: enumOf(u8, EXTRA_TYPE, 'extra_type'),
  flags: u8,
  size: u16,
  gso_type: u8,
  _pad: u8,
  features: u16,
});

/** … and for the list of multicast addresses. */
export const netif_extra_mcast = struct('netif_extra_info', {
  type: enumOf(u8, EXTRA_TYPE, 'extra_type'),
  flags: u8,
  addr: array(u8, 6),
});

/** A slot holds a request, a response or extra information. */
export const TX_SLOT = Math.max(netif_tx_request.size, netif_tx_response.size);
export const RX_SLOT = Math.max(netif_rx_request.size, netif_rx_response.size);
