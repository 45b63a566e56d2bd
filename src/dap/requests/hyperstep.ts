import { numberAt } from '../../debugger/c/evaluate';
import { parseExpression } from '../../debugger/evaluate';
import { symbolic } from '../../debugger/symbols';
import type { Context } from '../context';
import { needMachine, needThread } from '../context';
import type { Handler, Reply } from '../handler';
import { handler } from '../handler';
import type { Machine } from '../machine';
import type { HyperstepRequest, HyperstepRequests } from '../protocol';
import type { Shape } from '../shape';
import { boolean, count, integer, listOf, maybe, object, oneOf, optional, text } from '../shape';
import { saveToFile } from '../saving';
import { toWire } from '../wire';

/** Records of one answer: enough for a view, little enough for one message. */
const MAX_RECORDS = 10_000;

/** Ties a custom request to its types in protocol.ts; a run in progress is interrupted for it. */
function custom<R extends HyperstepRequest>(
  command: R,
  shape: Shape<HyperstepRequests[R]['arguments']>,
  run: (
    machine: Machine,
    args: HyperstepRequests[R]['arguments'],
    context: Context,
    reply: Reply,
  ) => Promise<HyperstepRequests[R]['body']>,
  options: { readonly urgent?: boolean } = {},
): Handler {
  return handler(
    command,
    shape,
    (context, args, reply) => run(needMachine(context), args, context, reply),
    options,
  );
}

export const hyperstep: readonly Handler[] = [
  custom('hyperstep/domains', maybe({}), async ({ control, target }) => ({
    domains: toWire(await control.still(() => target.domains())),
  })),
  custom(
    'hyperstep/pageTable',
    object({ threadId: optional(integer), path: listOf(count) }),
    async (machine, { threadId, path }) => {
      const vcpu = needThread(machine, threadId);
      return { entries: toWire(await machine.control.still(() => machine.target.tableEntries(vcpu, path))) };
    },
  ),
  custom(
    'hyperstep/walk',
    object({ threadId: optional(integer), address: text }),
    async (machine, { threadId, address }) => {
      const vcpu = needThread(machine, threadId);
      return machine.control.still(async () => {
        const at = await numberAt(parseExpression(address), await machine.contextAt(vcpu));
        return toWire(await machine.target.walk(vcpu, BigInt.asUintN(64, at)));
      });
    },
  ),
  custom('hyperstep/frame', object({ mfn: count }), async ({ control, target }, { mfn }) =>
    toWire(await control.still(() => target.frame(mfn))),
  ),
  custom('hyperstep/frameUses', object({ mfn: count }), async ({ control, target }, { mfn }) =>
    toWire(await control.still(() => target.frameUses(mfn))),
  ),
  custom('hyperstep/mappings', maybe({ threadId: optional(integer) }), async (machine, { threadId }) => {
    const vcpu = needThread(machine, threadId);
    return { ranges: toWire(await machine.control.still(() => machine.target.mappedRanges(vcpu))) };
  }),
  custom('hyperstep/vcpu', object({ domain: count, vcpu: count }), async (machine, vcpu) => {
    const state = await machine.control.still(() => machine.target.hypervisorState(vcpu));
    return { threadId: machine.threadOf(vcpu), state: toWire(state) };
  }),
  custom('hyperstep/channels', maybe({}), async ({ control, target }) => ({
    domains: toWire(await control.still(() => target.channels())),
  })),
  custom('hyperstep/grants', maybe({}), async ({ control, target }) => ({
    domains: toWire(await control.still(() => target.grants())),
  })),
  custom('hyperstep/xenstore', object({ at: text }), async ({ control, target }, { at }) => {
    const node = await control.still(() => target.storeNode(at));
    return node === undefined ? {} : { node: toWire(node) };
  }),
  custom(
    'hyperstep/xenstoreWrite',
    object({ at: text, value: optional(text) }),
    async ({ control, target }, { at, value }) => {
      const [before, after] = await control.still(async () => {
        const old = await target.storeNode(at);
        await target.storeInput(at, value);
        return [old?.value, (await target.storeNode(at))?.value];
      });
      return { ...(before === undefined ? {} : { before }), done: after === value };
    },
  ),
  custom(
    'hyperstep/status',
    maybe({}),
    async ({ control, target }) => {
      const moment = toWire(await target.now());
      const { state } = control;
      return { ...moment, state: state === 'disposed' ? 'ended' : state };
    },
    // The machine answers this between two stretches of a run.
    { urgent: true },
  ),
  custom('hyperstep/hypercalls', maybe({}), ({ hypercalls }) =>
    Promise.resolve({ hypercalls: toWire(hypercalls) }),
  ),
  custom(
    'hyperstep/trace',
    object({ from: count, count }),
    async ({ control, target, symbols }, { from, count: wanted }) => {
      const part = await control.still(() => target.trace(from, Math.min(wanted, MAX_RECORDS)));
      return toWire({
        ...part,
        records: part.records.map((record) => {
          const site = symbolic(symbols.of(record.domain), record.rip);
          return site === undefined ? record : { ...record, site };
        }),
      });
    },
  ),
  custom('hyperstep/traceSummary', maybe({}), async ({ control, target }) =>
    toWire(await control.still(() => target.traceSummary())),
  ),
  custom('hyperstep/devices', maybe({}), async ({ control, target }) =>
    toWire(await control.still(() => target.devices())),
  ),
  custom(
    'hyperstep/consoleInput',
    object({ domain: count, console: optional(count), data: text }),
    async ({ target }, { domain, console, data }) => {
      // The one call that a running machine takes: it logs the moment at which the guest gets the bytes.
      await target.consoleInput(domain, new TextEncoder().encode(data), console);
      return {};
    },
    { urgent: true },
  ),
  custom(
    'hyperstep/disk',
    object({
      domain: count,
      vdev: text,
      change: oneOf('unplug', 'plug', 'resize'),
      sectors: optional(count),
    }),
    async ({ target }, { domain, vdev, change, sectors = 0 }) => {
      await target.diskInput({ domain, vdev, change, sectors });
      return {};
    },
    { urgent: true },
  ),
  custom(
    'hyperstep/ask',
    object({ domain: count, request: oneOf('poweroff', 'reboot', 'halt', 'suspend') }),
    async ({ target }, { domain, request }) => {
      await target.askGuest(domain, request);
      return {};
    },
    { urgent: true },
  ),
  custom(
    'hyperstep/resume',
    object({ domain: count, how: oneOf('cancelled', 'anew') }),
    async ({ control, target }, { domain, how }) => {
      await control.still(() => target.resumeDomain(domain, how));
      return {};
    },
  ),
  custom(
    'hyperstep/save',
    object({ file: text, trace: optional(boolean) }),
    (machine, args, context, reply) => saveToFile(context, machine, args, reply),
    // It may take a while, in which other things are asked; what needs the machine waits for it.
    { urgent: true },
  ),
];
