import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { EMULATED } from '../../src/hypervisor/privileged';
import { capabilities, capabilityTable, refusedRequests } from '../../src/dap/capabilities';
import { handlers } from '../../src/dap/requests';
import { MNEMONICS } from '../../src/debugger/breakpoints/function';

/** Names of an interface of the protocol's types. */
function membersOf(name: string): string[] {
  const types = readFileSync(require.resolve('@vscode/debugprotocol/lib/debugProtocol.d.ts'), 'utf8');
  const body = new RegExp(`interface ${name} \\{([\\s\\S]*?)\\n\\t\\}`).exec(types)?.[1] ?? '';
  return [...body.matchAll(/^\t\t(\w+)\??:/gm)].map(([, member = '']) => member);
}

describe('dap: capabilities', () => {
  it('every capability of the protocol has a row, and no other', () => {
    const known = membersOf('Capabilities');
    assert.ok(known.length > 35, `${known.length} capabilities`);
    assert.deepEqual(Object.keys(capabilityTable).sort(), known.sort());
  });

  it('what is on is answered, what is off is not, and says why', () => {
    for (const [name, row] of Object.entries(capabilityTable)) {
      assert.equal(name in capabilities, 'on' in row, name);
      assert.ok('on' in row ? row.by.length > 5 : row.off.length > 20, name);
    }
  });

  it('requests that serve a capability are there', () => {
    for (const row of Object.values(capabilityTable)) {
      if (!('on' in row)) continue;
      const named = [...row.by.matchAll(/`(\w+)`/g)].map(([, one = '']) => one);
      const requests = named.filter((one) => /^(set|read|write|step|goto|data|disassemble|evaluate|modules|loaded|restart|terminate|completions|breakpointL|configuration|exceptionInfo)/.test(one)); // prettier-ignore
      for (const one of requests) assert.ok(handlers.has(one), one);
    }
    for (const request of refusedRequests.keys()) assert.ok(handlers.has(request), request);
  });

  it('every request of the protocol is served, or refused with a reason', () => {
    const types = readFileSync(require.resolve('@vscode/debugprotocol/lib/debugProtocol.d.ts'), 'utf8');
    const commands = [...types.matchAll(/\/\/ command: '(\w+)';/g)].map(([, one = '']) => one);
    assert.ok(commands.length > 40, `${commands.length} requests`);
    // Those the adapter makes of the client, and the one that the session itself serves.
    const others = ['runInTerminal', 'startDebugging', 'cancel'];
    assert.deepEqual(
      commands.filter((one) => !handlers.has(one) && !others.includes(one)),
      [],
    );
  });

  it('instructions that can be named are those that the hypervisor emulates', () => {
    const emulated = Object.values(EMULATED).flatMap((one) => (one === undefined ? [] : [one.mnemonic]));
    assert.deepEqual([...new Set([...emulated, 'cpuid'])].sort(), [...MNEMONICS].sort());
  });
});
