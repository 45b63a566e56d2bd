import type { HyperstepRequests } from '../../dap/protocol';
import type { Changes } from './changes';
import { decodedRows, type Decoded } from './decoded';
import { parts, type Requester, type Row, type RowModel } from './row';

type Devices = HyperstepRequests['hyperstep/devices']['body'];
type Split = Devices['echo'][number];
type Ring = Devices['block'][number]['rings'][number];

export interface DeviceRow extends Row {
  /** Rows below it; made when it is opened. */
  readonly below?: () => readonly DeviceRow[];
}

interface Place {
  readonly domain: number;
  readonly vcpu: number;
}

const rowOf = (id: string, label: string, description: string, more: Partial<DeviceRow> = {}): DeviceRow => ({
  id,
  kind: 'device',
  label,
  description,
  accessible: `${label}, ${description.replaceAll(' · ', ', ')}`,
  expandable: more.below !== undefined,
  copy: description,
  ...more,
});

/** Devices of the back ends in domain 0 with their rings, requests in flight decoded. */
export function devices(session: Requester, changes: Changes): RowModel<DeviceRow> {
  const noted = (container: string, rows: readonly DeviceRow[]): DeviceRow[] => {
    const changed = changes.note(container, new Map(rows.map((row) => [row.id, row.description ?? ''])));
    return rows.map((row) =>
      changed.has(row.id) ? { ...row, changed: true, accessible: `${row.accessible ?? ''}, changed` } : row,
    );
  };

  const decoded = (values: readonly Decoded[], above: string, place: Place): readonly DeviceRow[] =>
    decodedRows(values, above, place, changes).map(({ value, ...row }) => {
      const { children = [] } = value;
      return children.length === 0 ? row : { ...row, below: () => decoded(children, row.id, place) };
    });

  const ringRow = (ring: Ring, id: string, label: string, place: Place): DeviceRow => {
    const { slots, reqProd, reqEvent, rspProd, rspEvent, taken, given, inFlight } = ring;
    const list = (): DeviceRow[] => [
      ...noted(id, [
        rowOf(
          `${id}/req`,
          'requests',
          parts(`produced ${reqProd}`, `taken ${taken}`, `event at ${reqEvent}`),
        ),
        rowOf(
          `${id}/rsp`,
          'responses',
          parts(`produced ${rspProd}`, `given ${given}`, `event at ${rspEvent}`),
        ),
      ]),
      ...inFlight.flatMap(({ index, request }) =>
        decoded([request], `${id}/${index}`, place).map((row) => ({
          ...row,
          label: `slot ${index & (slots - 1)}`,
          description: parts(
            index >= taken ? 'not taken yet' : 'in work',
            (request.children ?? [])
              .filter(({ children = [] }) => children.length === 0)
              .map(({ name, text }) => `${name} ${text}`)
              .join(', '),
          ),
        })),
      ),
    ];
    return rowOf(id, label, `${inFlight.length} of ${slots} in flight`, { icon: 'sync', below: list });
  };

  const splitRows = (split: Split, id: string): DeviceRow[] =>
    noted(`${id}/ends`, [
      rowOf(`${id}/front`, 'front end', parts(split.frontState, split.frontPath), {
        icon: 'vm',
        node: split.frontPath,
      }),
      rowOf(`${id}/back`, 'back end', parts(split.backState, split.backPath), {
        icon: 'server',
        node: split.backPath,
      }),
      ...(split.ports.length === 0
        ? []
        : [rowOf(`${id}/ports`, 'ports of the back end', split.ports.join(', '))]),
      ...(split.ringRefs.length === 0
        ? []
        : [rowOf(`${id}/refs`, 'grants of the rings', split.ringRefs.join(', '))]),
    ]);

  const states = ({ frontState, backState }: Split): string =>
    frontState === backState ? backState : `front ${frontState}, back ${backState}`;
  const ofDomain = (domain: number): Place => ({ domain, vcpu: 0 });

  const all = ({ console, block, net, echo }: Devices): DeviceRow[] => [
    ...console.map((one) => {
      const id = `console/${one.domain}/${one.console}`;
      const { split, output, input, waiting } = one;
      const bytes =
        output === undefined
          ? 'not used by the guest'
          : `${output} out, ${input ?? 0} in, ${waiting} waiting bytes`;
      return rowOf(id, `d${one.domain} console ${one.console}`, parts(one.name, bytes), {
        icon: 'terminal',
        ...(split === undefined ? {} : { below: () => splitRows(split, id) }),
      });
    }),
    ...block.map((disk) => {
      const id = `vbd/${disk.domain}/${disk.id}`;
      const size = `${(disk.sectors / 2048).toFixed(disk.sectors < 20_480 ? 1 : 0)} MiB`;
      const description = parts(states(disk), disk.image, disk.access, size, disk.plugged ? '' : 'unplugged');
      const flying = disk.rings.reduce((sum, ring) => sum + ring.inFlight.length, 0);
      return rowOf(
        id,
        `d${disk.domain} ${disk.vdev}`,
        parts(flying > 0 ? `${flying} in flight` : '', description),
        {
          icon: 'database',
          below: () => [
            ...splitRows(disk, id),
            ...disk.rings.map((ring, n) =>
              ringRow(ring, `${id}/ring${n}`, `ring ${n}`, ofDomain(disk.domain)),
            ),
          ],
        },
      );
    }),
    ...net.vifs.map((vif) => {
      const id = `vif/${vif.domain}/${vif.id}`;
      const { sent, received, dropped } = vif.counters;
      const names = ['transmit', 'receive'];
      return rowOf(
        id,
        `d${vif.domain} vif ${vif.id}`,
        parts(
          states(vif),
          vif.mac,
          vif.bridge,
          `${sent} sent, ${received} received`,
          dropped > 0 ? `${dropped} dropped` : '',
          vif.queued > 0 ? `${vif.queued} queued` : '',
        ),
        {
          icon: 'plug',
          below: () => [
            ...splitRows(vif, id),
            ...vif.rings.map((ring, n) =>
              ringRow(ring, `${id}/ring${n}`, names[n] ?? `ring ${n}`, ofDomain(vif.domain)),
            ),
          ],
        },
      );
    }),
    ...net.bridges.map((bridge) => {
      const id = `bridge/${bridge.name}`;
      return rowOf(
        id,
        `switch ${bridge.name}`,
        parts(`${bridge.ports.length} ports`, `${bridge.leases.length} leases`),
        {
          icon: 'type-hierarchy',
          below: () =>
            noted(id, [
              ...bridge.ports.map((port) => rowOf(`${id}/port/${port}`, 'port', port)),
              ...bridge.leases.map(({ domain, mac, ip }) =>
                rowOf(`${id}/lease/${mac}`, `lease ${ip}`, parts(`d${domain}`, mac)),
              ),
              ...bridge.learned.map(({ mac, port }) => rowOf(`${id}/learned/${mac}`, mac, `behind ${port}`)),
              ...bridge.connections.map((one) =>
                rowOf(
                  `${id}/connection/${one.connection}`,
                  `connection ${one.connection}`,
                  parts(
                    `to d${one.domain} port ${one.port}`,
                    one.phase,
                    `${one.fromHost} bytes in, ${one.fromGuest} out`,
                  ),
                ),
              ),
            ]),
        },
      );
    }),
    ...echo.map((one) => {
      const id = `echo/${one.domain}/${one.id}`;
      return rowOf(id, `d${one.domain} ${one.type} ${one.id}`, states(one), {
        icon: 'comment-discussion',
        below: () => splitRows(one, id),
      });
    }),
  ];

  return {
    async children(row) {
      if (row !== undefined) return row.below?.() ?? [];
      return noted('', all(await session.request<Devices>('hyperstep/devices', {})));
    },
  };
}
