import type { DebugProtocol } from '@vscode/debugprotocol';
import { callName } from '../../debugger/calls';
import { vcpuName } from '../../debugger/locations';
import { frameName } from '../../debugger/unwind';
import type { SymbolIndex } from '../../debugger/symbols';
import type { Frame } from '../../debugger/unwind';
import { tablesOf } from '../../debugger/offence';
import type { HypervisorFrame } from '../../machine/target';
import type { Context } from '../context';
import { needStopped } from '../context';
import { RequestError } from '../errors';
import { exceptionAt } from '../halting';
import { handler } from '../handler';
import { integer, object } from '../shape';

// Why the machine refuses or ends something: the reason, what it was about, where it was checked, who asked.

type Details = DebugProtocol.ExceptionDetails;

/** `path:line:column`, which editors make a link of. */
function checkLine(context: Context, at: HypervisorFrame): string {
  const path = context.host.hypervisorSources.pathOf(at.file) ?? at.file;
  return `${at.function} (${path}:${at.line}:${at.column})`;
}
function guestLine(symbols: SymbolIndex, frame: Frame): string {
  const { line } = frame;
  if (line === undefined || frame.kind === 'boundary') return frameName(frame);
  return `${frameName(frame)} (${symbols.toLocal?.(line.file) ?? line.file}:${line.line})`;
}
const listed = (lines: readonly string[]): string => lines.map((line) => `    at ${line}`).join('\n');

export const exceptionInfo = handler(
  'exceptionInfo',
  object({ threadId: integer }),
  async (context, { threadId }) => {
    const machine = needStopped(context);
    const halt = exceptionAt(machine, threadId);
    if (halt === undefined)
      throw new RequestError(`thread ${threadId} is not stopped at an exception`, { show: false });
    const { target } = machine;
    const { vcpu, at } = halt.stop;
    const symbols = machine.symbols.of(vcpu.domain);
    const [filter = 'exception'] = halt.hits.flatMap(({ spec }) => ('filter' in spec ? [spec.filter] : []));
    const { call, frames, check, tables, title } = await machine.control.still(async () => {
      const inside = machine.isInHypervisor(vcpu) ? await target.hypervisorStack() : [];
      const now = await machine.callAt(vcpu);
      const isFailure = filter === 'domain-crash' || now?.errno !== undefined;
      const frames = await machine.stack(vcpu);
      return {
        call: now,
        frames,
        check: inside.length > 0 || !isFailure ? inside : await target.hypervisorFailure(vcpu),
        tables: await tablesOf(target, vcpu, now, halt.text),
        title: frames.find(({ kind }) => kind === 'boundary')?.title,
      };
    });
    const [failing] = check;
    const site = frames.find(({ kind }) => kind === 'code');
    const inner: Details[] = [
      ...(failing === undefined
        ? []
        : [{ typeName: 'check', message: `the failing check: ${checkLine(context, failing)}`, stackTrace: listed(check.map((one) => checkLine(context, one))) }]), // prettier-ignore
      ...(site === undefined
        ? []
        : [{ typeName: 'guest', message: `the guest: ${guestLine(symbols, site)}` }]),
    ];
    const name =
      call === undefined ? title : `${callName(call)}${call.errno === undefined ? '' : ` ${call.errno}`}`;
    return {
      exceptionId: filter,
      description: halt.text,
      breakMode: 'always',
      details: {
        message: [halt.text, ...tables].join('\n'),
        typeName: name === undefined ? filter : `${filter}: ${name}`,
        fullTypeName: `${vcpuName(vcpu)} after ${at.retired} instructions`,
        stackTrace: listed([
          // All of them are in the details: what a person asks first is which check, and who asked.
          ...check.slice(0, 1).map((one) => `${checkLine(context, one)} in the hypervisor`),
          ...frames.map((frame) => guestLine(symbols, frame)),
        ]),
        ...(inner.length === 0 ? {} : { innerException: inner }),
      },
    };
  },
);
