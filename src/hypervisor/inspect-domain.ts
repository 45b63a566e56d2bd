/** What domains share with one another, for people: event channels and grants. */
import { GTF } from '../abi/grant';
import { VIRQ } from '../abi/events';
import type { Core } from './core';
import { describeChannel, isMasked, isPending } from './events';
import { grantCount, readGrant, readMarks } from './grantentries';
import { usesOf } from './grants';
import type { Channel } from './state';
import type { Domain } from './types';

/** A port that is in use. */
export interface ChannelView {
  readonly port: number;
  readonly kind: Channel['kind'];
  /** 'connected to d0 port 3', 'VIRQ_TIMER' … */
  readonly text: string;
  /** Of an interdomain channel, or one that waits for that domain. */
  readonly remote?: number;
  readonly remotePort?: number;
  /** The vCPU that is notified. */
  readonly vcpu: number;
  /** Of the FIFO ABI, 0 is the highest. */
  readonly priority: number;
  readonly pending: boolean;
  readonly masked: boolean;
}

export interface ChannelsView {
  readonly domain: number;
  readonly abi: '2-level' | 'FIFO';
  readonly channels: readonly ChannelView[];
}

const virqName = (virq: number): string =>
  Object.entries(VIRQ).find(([, n]) => n === virq)?.[0] ?? `VIRQ ${virq}`;

export function inspectChannels(core: Core, domain: Domain): ChannelsView {
  const channels = domain.state.ports.flatMap(({ channel, vcpu, priority }, port): ChannelView[] => {
    const { kind } = channel;
    if (kind === 'free' || kind === 'reserved') return [];
    return [
      {
        port,
        kind,
        text: kind === 'virq' ? virqName(channel.virq) : describeChannel(channel),
        ...('remote' in channel ? { remote: channel.remote } : {}),
        ...('remotePort' in channel ? { remotePort: channel.remotePort } : {}),
        vcpu,
        priority,
        pending: isPending(core, domain, port),
        masked: isMasked(core, domain, port),
      },
    ];
  });
  return { domain: domain.id, abi: domain.state.fifoArray === undefined ? '2-level' : 'FIFO', channels };
}

/** An entry of a grant table that is not empty, or one that is still mapped. */
export interface GrantView {
  readonly ref: number;
  readonly kind: 'permit access' | 'accept transfer' | 'transitive' | 'invalid';
  /** To whom. */
  readonly to: number;
  readonly mfn: number;
  readonly writable: boolean;
  /** Of a part of the page only (version 2): where it begins, and its bytes. */
  readonly part?: { readonly offset: number; readonly length: number };
  /** The marks that the hypervisor sets while it is in use. */
  readonly marks: readonly ('reading' | 'writing')[];
  /** Who has it mapped, and how. */
  readonly mappedBy: readonly { readonly domain: number; readonly writable: boolean }[];
}

/** A grant of another domain's that this one has mapped. */
export interface MapTrackView {
  readonly handle: number;
  readonly from: number;
  readonly ref: number;
  readonly mfn: number;
  readonly writable: boolean;
}

export interface GrantTableView {
  readonly domain: number;
  readonly version: 1 | 2;
  readonly frames: number;
  readonly maxFrames: number;
  readonly grants: readonly GrantView[];
  readonly maps: readonly MapTrackView[];
}

const KINDS = ['invalid', 'permit access', 'accept transfer', 'transitive'] as const;

export function inspectGrants(core: Core, domain: Domain): GrantTableView {
  const { state } = domain;
  const grants: GrantView[] = [];
  for (let ref = 0; ref < grantCount(domain); ref++) {
    const entry = readGrant(core, domain, ref);
    if (entry === undefined) continue;
    const mappedBy = usesOf(core, domain, ref).map(({ by, writable }) => ({ domain: by, writable }));
    const kind = KINDS[entry.flags & GTF.type_mask] ?? 'invalid';
    if (kind === 'invalid' && mappedBy.length === 0) continue;
    const marks = readMarks(core, domain, ref);
    const { offset, length } = entry;
    grants.push({
      ref,
      kind,
      to: entry.domid,
      mfn: Number(entry.frame),
      writable: (entry.flags & GTF.readonly) === 0,
      ...((entry.flags & GTF.sub_page) === 0 ? {} : { part: { offset, length } }),
      marks: [
        ...((marks & GTF.reading) === 0 ? [] : (['reading'] as const)),
        ...((marks & GTF.writing) === 0 ? [] : (['writing'] as const)),
      ],
      mappedBy,
    });
  }
  const maps = state.maptrack.flatMap((map, handle): MapTrackView[] =>
    map === undefined
      ? []
      : [{ handle, from: map.domain, ref: map.ref, mfn: map.mfn, writable: map.writable }],
  );
  return {
    domain: domain.id,
    version: state.grantVersion,
    frames: state.grantFrames.length,
    maxFrames: state.grantMaxFrames,
    grants,
    maps,
  };
}
