import { formatRecord, formatSummary, formatWalk } from '../../machine/format';
import type { FrameInfo } from '../../machine/target';
import { hex, hex64, vcpuName } from '../locations';
import { symbolic } from '../symbols';
import type { Command } from './command';
import { addressOf, columns, domainOf, fail, mfnOf, numberOf, plural } from './command';

// What the hypervisor knows: address spaces, frames, domains, event channels, grants, hypercalls.

const walk: Command = {
  name: 'walk',
  usage: ['ADDRESS'],
  help: 'The page-table entries that lead to an address, the frames they name, and the machine address.',
  examples: ['walk rip', 'walk 0xffffffff80000000'],
  run: async (given, context) =>
    formatWalk(await context.target.walk(context.vcpu, await addressOf(given, context))),
};

const frameText = ({ mfn, owner, type, typeCount, count, pinned, pfn }: FrameInfo): string =>
  `mfn ${hex(mfn)}${pfn === undefined ? '' : ` (pfn ${hex(pfn)})`}: owner ${owner}, type ${type}, ` +
  `type count ${typeCount}, count ${count}${pinned ? ', pinned' : ''}`;

const frame: Command = {
  name: 'frame',
  usage: ['MFN'],
  help: 'Owner, type and counts of a machine frame.',
  examples: ['frame 0x41', 'frame cr3 >> 12'],
  run: async (given, context) => {
    const mfn = await mfnOf(given, context);
    const info = await context.target.frame(mfn);
    return { text: frameText(info), memory: { space: { kind: 'machine' }, address: BigInt(mfn) << 12n } };
  },
};

const ADDRESSES = 4;

const who: Command = {
  name: 'who',
  usage: ['MFN'],
  help: 'Who maps a machine frame: page-table entries of every domain, vCPUs whose base table it is, grants.',
  examples: ['who 0x41'],
  run: async (given, context) => {
    const {
      frame: info,
      entries,
      more,
      roots,
      grants,
    } = await context.target.frameUses(await mfnOf(given, context));
    const rows = entries.map(({ level, table, owner, index, entry, flags, virtual }) => [
      `  L${level}`,
      `mfn ${hex(table)}[${index}] of ${owner}`,
      hex(entry),
      flags.join(' '),
      virtual.length === 0
        ? ''
        : `at ${virtual.slice(0, ADDRESSES).map(hex).join(', ')}${virtual.length > ADDRESSES ? ', …' : ''}`,
    ]);
    const lines = [
      frameText(info),
      ...(rows.length === 0 ? [] : [columns(rows)]),
      ...(more > 0 ? [`  and ${plural(more, 'entry', 'entries')} more`] : []),
      ...roots.map((root) => `  ${root.as} of ${vcpuName(root)}`),
      ...grants.map(({ domain, ref, to, writable, mappedBy }) => {
        const by = mappedBy.map((one) => `d${one.domain}${one.writable ? '' : ' (read-only)'}`);
        const mapped = by.length === 0 ? 'not mapped' : `mapped by ${by.join(', ')}`;
        return `  granted by d${domain} to d${to} as ${ref}${writable ? '' : ', read-only'}: ${mapped}`;
      }),
    ];
    return lines.length === 1 ? `${lines[0] ?? ''}\n  nobody maps it` : lines.join('\n');
  },
};

const MAX_RANGES = 500;
const PAGE = 4096n;

const maps: Command = {
  name: 'maps',
  usage: ['[ADDRESS]'],
  help: 'What the vCPU’s address space has mapped: ranges, flags, the first frame of each; or the one that holds an address.',
  run: async (given, context) => {
    const at = given === '' ? undefined : await addressOf(given, context);
    const all = await context.target.mappedRanges(context.vcpu, at);
    const chosen = all.filter(
      ({ virtual, pages }) => at === undefined || (virtual <= at && at < virtual + BigInt(pages) * PAGE),
    );
    if (chosen.length === 0) return at === undefined ? 'nothing is mapped' : fail(`${hex(at)} is not mapped`);
    const rows = chosen
      .slice(0, MAX_RANGES)
      .map(({ virtual, pages, flags, mfn, pfn, owner }) => [
        `${hex64(virtual)}-${hex64(virtual + BigInt(pages) * PAGE)}`,
        plural(pages, 'page'),
        flags.join(' '),
        `mfn ${hex(mfn)}${pfn === undefined ? '' : ` pfn ${hex(pfn)}`}`,
        owner,
        symbolic(context.symbols, virtual) ?? '',
      ]);
    const rest = chosen.length - rows.length;
    return `${columns(rows, [1])}${rest > 0 ? `\n${plural(rest, 'range')} more; maps ADDRESS shows one` : ''}`;
  },
};

const domains: Command = {
  name: 'domains',
  also: ['threads'],
  usage: [''],
  help: 'The domains with their vCPUs: what each is doing, and where.',
  run: async (_given, { target, symbols, vcpu }) => {
    const rows = (await target.domains()).flatMap(({ id, name, frames, shutdown, vcpus }) => [
      [`d${id} ${name}`, shutdown ?? '', `${frames} frames`],
      ...vcpus.map(({ ref, state, mode, rip, icount }) => {
        const symbol = ref.domain === vcpu.domain ? symbolic(symbols, rip) : undefined;
        const where = symbol === undefined ? hex64(rip) : `${hex64(rip)} <${symbol}>`;
        return [`  ${vcpuName(ref)}`, `${state}, ${mode}`, `${where}, ${icount} instructions`];
      }),
    ]);
    return columns(rows);
  },
};

const events: Command = {
  name: 'events',
  also: ['channels'],
  usage: ['[DOMAIN]'],
  help: 'Event channels of a domain: what each port is bound to, who is notified, whether it is pending or masked.',
  examples: ['events', 'events d2'],
  run: async (given, context) => {
    const domain = domainOf(given, context);
    const view = (await context.target.channels()).find((one) => one.domain === domain);
    if (view === undefined) return fail(`there is no domain d${domain}`);
    const rows = view.channels.map(({ port, kind, text, vcpu, priority, pending, masked }) => [
      `${port}`,
      kind,
      `v${vcpu}`,
      view.abi === 'FIFO' ? `priority ${priority}` : '',
      [pending ? 'pending' : '', masked ? 'masked' : ''].filter((one) => one !== '').join(' '),
      text,
    ]);
    const ports = plural(view.channels.length, 'port');
    return [`d${domain}: ${view.abi}, ${ports} in use`, columns(rows, [0])].join('\n').trimEnd();
  },
};

const grants: Command = {
  name: 'grants',
  usage: ['[DOMAIN]'],
  help: 'The grant table of a domain: what it grants to whom, who maps it, and what it has mapped of others.',
  examples: ['grants', 'grants d1'],
  run: async (given, context) => {
    const domain = domainOf(given, context);
    const view = (await context.target.grants()).find((one) => one.domain === domain);
    if (view === undefined) return fail(`there is no domain d${domain}`);
    const rows = view.grants.map(({ ref, kind, to, mfn, writable, part, marks, mappedBy }) => [
      `${ref}`,
      kind,
      `to d${to}`,
      `mfn ${hex(mfn)}`,
      writable ? '' : 'read-only',
      [
        part === undefined ? '' : `bytes ${part.offset} to ${part.offset + part.length}`,
        marks.join(' '),
        mappedBy.length === 0 ? '' : `mapped by ${mappedBy.map((one) => `d${one.domain}`).join(', ')}`,
      ]
        .filter((one) => one !== '')
        .join(', '),
    ]);
    const mapped = view.maps.map(({ handle, from, ref, mfn, writable }) => [
      `${handle}`,
      `d${from}’s ${ref}`,
      `mfn ${hex(mfn)}`,
      writable ? '' : 'read-only',
    ]);
    return [
      `d${domain}: version ${view.version}, ${view.frames} of at most ${view.maxFrames} frames, ${plural(view.grants.length, 'grant')}`,
      ...(rows.length === 0 ? [] : [columns(rows, [0])]),
      ...(mapped.length === 0 ? [] : ['mapped of others, by handle', columns(mapped, [0])]),
    ].join('\n');
  },
};

const hypercalls: Command = {
  name: 'hypercalls',
  usage: ['[NAME]'],
  help: 'Hypercalls so far with their counts, what was refused and why, and what was trapped; or what there is to know of one.',
  examples: ['hypercalls', 'hypercalls grant_table_op'],
  words: (context) => context.hypercalls.map(({ name }) => name),
  run: async (given, { target, hypercalls: all }) => {
    const summary = await target.traceSummary();
    if (given === '') return formatSummary(summary);
    const info = all.find(({ name }) => name === given);
    if (info === undefined) {
      const close = all.map(({ name }) => name).filter((name) => name.includes(given)); // prettier-ignore
      return fail(
        `there is no hypercall '${given}'${close.length > 0 ? `; there are ${close.join(', ')}` : ''}`,
      );
    }
    const counted = summary.calls.find(({ name }) => name === given);
    const times = (name: string | undefined): string => {
      const one = name === undefined ? counted : counted?.ops.find((op) => op.name === name);
      return one === undefined ? '' : `${one.count}${one.refused > 0 ? ` (${one.refused} refused)` : ''}`;
    };
    const rows = [
      [`${info.name}(${info.args.join(', ')})`, `${info.nr}`, info.status, times(undefined)],
      ...info.ops.map(({ name, cmd, status }) => [`  .${name}`, `${cmd}`, status, times(name)]),
    ];
    return columns(rows, [1]);
  },
};

const RECORDS = 20;
const MAX_RECORDS = 1000;

const trace: Command = {
  name: 'trace',
  usage: ['[COUNT]'],
  help: `The last hypercalls of all domains, the latest last; ${RECORDS} of them where no count is given.`,
  run: async (given, context) => {
    const asked = given === '' ? RECORDS : Number(await numberOf(given, context, 'a count'));
    const count = Math.min(Math.max(1, asked), MAX_RECORDS);
    const { total } = await context.target.traceSummary();
    const { records } = await context.target.trace(Math.max(0, total - count), count);
    return records.length === 0 ? 'no hypercall has been made yet' : records.map(formatRecord).join('\n');
  },
};

export const machineCommands: readonly Command[] = [
  walk, frame, who, maps, domains, events, grants, hypercalls, trace,
]; // prettier-ignore
