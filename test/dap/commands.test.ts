import assert from 'node:assert/strict';
import path from 'node:path';
import { commands } from '../../src/debugger/commands';
import { adapterHost } from '../../src/host/adapter';
import { inProcessTarget } from '../../src/host/machine';
import type { Client } from '../support/dap-client';
import { connect } from '../support/dap-client';

// What people type in the debug console that is no expression, beside two domains that share a page.

const kernel = path.join(__dirname, '..', '..', 'media', 'samples', 'neighbours', 'neighbours.elf');
const neighbour = (role: string, peer: number) => ({
  name: role,
  kernel,
  cmdline: `role=${role} peer=${peer}`,
  memory: '4M',
});

describe('dap: commands of the console', function () {
  this.timeout(60_000);
  let client: Client;
  let frameId = 0;
  // In the taker, with the giver's page mapped. Nothing here runs the machine.
  before(async () => {
    client = await connect(adapterHost({ inProcess: inProcessTarget }));
    await client.launch({ stopOnEntry: true, domains: [neighbour('giver', 2), neighbour('taker', 1)] });
    await client.stopped();
    await client.dc.setFunctionBreakpointsRequest({ breakpoints: [{ name: 'refused' }] });
    await client.dc.continueRequest({ threadId: 1 });
    await client.stopped();
    frameId = (await client.dc.stackTraceRequest({ threadId: 2 })).body.stackFrames[0]?.id ?? 0;
  });
  after(() => client.close());

  const typed = async (expression: string, context = 'repl'): Promise<string> => {
    try {
      return (await client.dc.evaluateRequest({ expression, frameId, context })).body.result;
    } catch (error) {
      return `! ${(error as Error).message}`;
    }
  };
  const check = async (cases: readonly (readonly [string, RegExp])[]): Promise<void> => {
    for (const [line, expected] of cases) assert.match(await typed(line), expected, line);
  };

  it('help names all of them, and says how each is written', async () => {
    const text = await typed('help');
    for (const { name, help, usage, examples = [] } of commands) {
      assert.match(text, new RegExp(`^${name}[ /]`, 'm'));
      const own = await typed(`help ${name}`);
      assert.ok(own.includes(help) && usage.every((form) => own.includes(form)), name);
      // An example that its own table does not know would be no example.
      for (const example of examples) assert.ok(example.startsWith(name), example);
    }
    assert.match(
      await typed('help wlak'),
      /^! help: there is no command 'wlak'; did you mean the command walk\?/,
    );
  });

  it('memory, as gdb has it, in three address spaces', async () => {
    await check([
      ['x/s window', /^0xffffffff80106000 <window>: "a page for both of us"$/],
      ['x/4c window', /<window>: 97 'a' {2}32 ' ' {2}112 'p' {2}97 'a'$/],
      ['x/2wx window', /<window>: 0x61702061 {2}0x66206567$/],
      ['x/hd window', /<window>: 8289$/],
      ['x/3i rip', /^=> 0xffffffff[0-9a-f]+ <refused>: push rbp\n {3}.*<refused\+0x1>: mov rbp, rsp\n/],
      ['x/a rsp', /^0x[0-9a-f]{16}: 0x[0-9a-f]+ <take\+0x[0-9a-f]+>$/],
      ['x/4gx 0x1000', /^0x0000000000001000: not mapped$/],
      ['x/3q rsp', /^! x: x\/3q: 'q' is neither a format \(.*\) nor a size \(b h w g\) \(help x says how\)$/],
      ['x/9999x rsp', /a count goes from 1 to 4096/],
      ['x', /^! x: an address is missing/],
    ]);
    const machine = /machine address (0x[0-9a-f]+)/.exec(await typed('walk window'))?.[1] ?? '';
    assert.match(await typed(`x/s machine:${machine}`), /"a page for both of us"/);
    const pfn =
      /mfn 0x[0-9a-f]+ \(pfn (0x[0-9a-f]+)\)/.exec(await typed(`frame ${machine} >> 12`))?.[1] ?? '';
    // It is the giver's page: at its own place in its own pseudo-physical memory.
    assert.match(await typed(`x/s pseudophysical:d1:${pfn} << 12`), /"a page for both of us"/);
  });

  it('are served to clients that do not say what they evaluate for, and not to watch expressions', async () => {
    const { body } = await client.dc.evaluateRequest({ expression: 'walk rip' });
    assert.match(body.result, /L4 table/);
    await assert.rejects(client.dc.evaluateRequest({ expression: 'walk rip', context: 'watch' }));
  });

  it('page tables, frames and who has them', async () => {
    await check([
      ['walk rip', /L4 table .*\n.*L3 table .*\n.*L2 table .*\n.*L1 table .*\n {2}machine address 0x/],
      ['frame cr3 >> 12', /: owner d2, type L4, type count 2, count \d+, pinned$/],
      ['frame 0xffffffffff', /^! frame: mfn 0xffffffffff is not among the machine's/],
      ['maps', /^0xffffffff80106000-0xffffffff80107000 +1 page .* d1 +window$/m],
      ['maps window + 8', /^0xffffffff80106000-\S+ +1 page .* d1 +window$/],
      ['maps 0x1000', /^! maps: 0x1000 is not mapped/],
      ['who cr3 >> 12', /kernel table of d2v0/],
    ]);
    const mfn = /mfn (0x[0-9a-f]+)/.exec(await typed('maps window'))?.[1] ?? '';
    const uses = await typed(`who ${mfn}`);
    assert.match(uses, /^mfn .*: owner d1, /);
    assert.match(uses, /L1 .* of d2 .* at 0xffffffff80106000/);
    assert.match(uses, /granted by d1 to d2 as 8: mapped by d2/);
  });

  it('domains, event channels, grants, hypercalls', async () => {
    await check([
      [
        'domains',
        /^d1 giver .*\n {2}d1v0 .*\nd2 taker .*\n {2}d2v0 +running, kernel .* <refused>, \d+ instructions$/,
      ],
      ['events', /^d2: 2-level, 3 ports in use\n[^]*^3 +interdomain +v0 +connected to d1 port 3$/m],
      ['events d1', /^3 +interdomain +v0 +connected to d2 port 3$/m],
      ['grants d1', /^ 8 +permit access +to d2 +mfn 0x[0-9a-f]+ +reading writing, mapped by d2$/m],
      ['grants', /mapped of others, by handle\n0 +d1’s 8 +mfn 0x/],
      ['grants d9', /^! grants: there is no domain d9/],
      ['hypercalls', /^\d+ hypercalls of \d+ kinds$/m],
      ['hypercalls grant_table_op', /^ {2}\.copy +5 +implemented +1$/m],
      ['hypercalls grant', /^! hypercalls: there is no hypercall 'grant'; there are grant_table_op/],
      ['trace 2', /^ *\d+ d\dv0 .*\n *\d+ d\dv0 .*$/],
    ]);
  });

  it('xenstore is listed, read, written and removed', async () => {
    await check([
      ['xs ls', /^local = "" {2}\(n0\)\n domain = ""/m],
      ['xs ls device', /^echo = ""/m],
      ['xs read name', /^taker$/],
      ['xs read /local/domain/1/name', /^giver$/],
      ['xs write data/mine "two words"', /^\/local\/domain\/2\/data\/mine = "two words"$/],
      ['xs read data/mine', /^two words$/],
      ['xs rm data/mine', /^\/local\/domain\/2\/data\/mine is gone$/],
      ['xs read data/mine', /^! xs: there is no node \/local\/domain\/2\/data\/mine/],
      ['xs rm /', /the root stays/],
      ['xs dir', /^! xs: xs 'dir'\? There are ls, read, write, rm/],
    ]);
  });

  it('registers, calls, names, and what is set', async () => {
    await check([
      ['regs', /^rip +0x[0-9a-f]{16} +<refused>$/m],
      ['regs sse', /^xmm15 +0x0{32}\nmxcsr +0x00001f80 +IM DM ZM OM UM PM$/m],
      ['regs al', /^al +0x[0-9a-f]+$/],
      ['regs nothing', /^! regs: there is neither a register nor a group/],
      ['bt', /^d2v0\n#0 +0x\S+ +refused +neighbours\.c:\d+ .*\n#1 .* take\+.*\n#2 .* guest_main\+/],
      ['bt 1', /^d2v0\n#0 .*\n3 more$/],
      ['sym guest_main', /^0xffffffff[0-9a-f]{8} {2}guest_main {2}neighbours\.c:\d+$/],
      ['sym rip + 1', / refused\+0x1 /],
      ['sym 0x10', /^! sym: no symbol covers 0x10/],
      ['set var seen = 5', /^seen = 5$/],
      ['p seen + 1', /^6$/],
      ['set seen = 1', /^seen = 1$/],
      ['set var seen', /EXPRESSION = VALUE/],
      ['info registers', /^rax /],
      ['info dogs', /^! info: info 'dogs'\? There are registers/],
    ]);
  });

  it('expressions are what they were; a name of the guest’s comes first, and : makes it a command', async () => {
    assert.equal(await typed('seen * 2 + 1'), '3');
    assert.equal(await typed('peer'), '1');
    assert.match(await typed('bt', 'watch'), /^! there is no 'bt' here/, 'commands are the console’s');
    assert.equal(await typed('print'), 'print', 'a function of the guest’s');
    assert.match(await typed(':print'), /^! p: an expression is missing/);
    assert.equal(await typed('print 1 + 1'), '2', 'which is no expression');
    assert.match(await typed('wlak rip'), /does not belong here; did you mean the command walk\?/);
    assert.match(await typed('mpas'), /^! there is no 'mpas' here; did you mean the command maps\?/);
    assert.match(await typed(':nothing'), /^! there is no command ':nothing'/);
  });

  it('completes commands and what may follow them', async () => {
    const labels = async (text: string): Promise<string[]> => {
      const { body } = await client.dc.completionsRequest({ text, column: text.length + 1, frameId });
      return body.targets.filter(({ type }) => type === 'keyword').map(({ label }) => label);
    };
    assert.deepEqual(await labels('wa'), ['walk']);
    assert.deepEqual(await labels('xs '), ['ls', 'read', 'write', 'rm']);
    assert.deepEqual(await labels('hypercalls grant'), ['grant_table_op']);
    assert.deepEqual(await labels('seen + wa'), []);
  });
});
