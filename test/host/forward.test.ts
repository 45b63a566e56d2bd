import assert from 'node:assert/strict';
import { createConnection, createServer, type AddressInfo, type Socket } from 'node:net';
import { forwardPorts, type Forwarding } from '../../src/host/forward';
import type { NetworkInput, NetworkOutput } from '../../src/machine/target';

interface Rig {
  readonly inputs: NetworkInput[];
  readonly log: string[];
  readonly forwarding: Forwarding;
  readonly client: Socket;
  readonly received: () => string;
  readonly say: (output: NetworkOutput) => void;
  /** Waits until `holds`, which must happen. */
  readonly until: (holds: () => boolean) => Promise<void>;
}

describe('forwarded ports', () => {
  let open: (() => void)[] = [];
  afterEach(() => {
    for (const close of open) close();
    open = [];
  });

  async function start(first?: number): Promise<Rig> {
    const inputs: NetworkInput[] = [];
    const log: string[] = [];
    let listener: (output: NetworkOutput) => void = () => undefined;
    const forwarding = await forwardPorts(
      {
        networkInput: (input) => Promise.resolve(void inputs.push(input)),
        onNetwork: (l) => {
          listener = l;
          return () => undefined;
        },
      },
      [{ host: '127.0.0.1', port: 0, domain: 3, guestPort: 80 }],
      (line) => log.push(line),
      first,
    );
    const client = createConnection({
      host: '127.0.0.1',
      port: forwarding.ports[0] ?? 0,
      allowHalfOpen: true,
    });
    let received = '';
    client.on('data', (data: Buffer) => (received += data.toString('latin1')));
    client.on('error', () => (received += '!'));
    open.push(
      () => forwarding.dispose(),
      () => client.destroy(),
    );
    const until = async (holds: () => boolean): Promise<void> => {
      while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
    };
    await until(() => inputs.length > 0);
    return { inputs, log, forwarding, client, received: () => received, say: (o) => listener(o), until };
  }

  it('say where they lead, and open a connection for a client, whose bytes wait until the guest has answered', async () => {
    const { inputs, log, forwarding, client, say, until } = await start();
    assert.deepEqual(log, [`127.0.0.1:${forwarding.ports[0] ?? 0} leads to port 80 of domain 3`]);
    assert.deepEqual(inputs.splice(0), [{ connection: 1, event: 'open', domain: 3, port: 80 }]);
    client.write('hello');
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.deepEqual(inputs, []);
    say({ connection: 1, event: 'opened' });
    await until(() => inputs.length > 0);
    assert.deepEqual(inputs.splice(0), [
      { connection: 1, event: 'data', at: 0, data: new Uint8Array(Buffer.from('hello')) },
    ]);
    client.end(' again');
    await until(() => inputs.length > 1);
    assert.deepEqual(inputs, [
      { connection: 1, event: 'data', at: 5, data: new Uint8Array(Buffer.from(' again')) },
      { connection: 1, event: 'end' },
    ]);
  });

  it('bring what the guest says, and drop what it says a second time after the machine went back', async () => {
    const { inputs, received, say, until } = await start();
    say({ connection: 1, event: 'opened' });
    const data = (at: number, text: string): void =>
      say({ connection: 1, event: 'data', at, data: new Uint8Array(Buffer.from(text)) });
    data(0, 'abc');
    data(3, 'def');
    data(0, 'abc');
    data(3, 'defgh');
    say({ connection: 1, event: 'end' });
    say({ connection: 1, event: 'end' });
    await until(() => received() === 'abcdefgh');
    await until(() => inputs.some((i) => i.event === 'taken' && i.bytes === 8));
    say({ connection: 1, event: 'closed' });
    assert.equal(
      inputs.some((i) => i.event === 'abort'),
      false,
    );
  });

  it('cut a connection that lacks bytes, or that the machine closed for a reason, and tell why', async () => {
    const first = await start();
    first.say({ connection: 1, event: 'data', at: 5, data: Uint8Array.of(1) });
    await first.until(() => first.client.closed || first.client.readableEnded);
    assert.match(first.log.join(), /connection 1 is cut/);
    assert.deepEqual(first.inputs.at(-1), { connection: 1, event: 'abort' });
    const second = await start();
    second.say({ connection: 1, event: 'closed', reason: 'the guest refuses connections to port 80' });
    await second.until(() => second.client.closed || second.client.readableEnded);
    assert.match(second.log.join(), /connection 1 is closed: the guest refuses/);
    assert.equal(second.inputs.at(-1)?.event, 'open');
  });

  it('cut the connections that a saved machine had with clients that are gone', async () => {
    const { inputs, say } = await start(100);
    assert.equal(inputs.splice(0)[0]?.connection, 100);
    for (let i = 0; i < 2; i++) say({ connection: 7, event: 'data', at: 0, data: Uint8Array.of(1) });
    assert.deepEqual(inputs, [{ connection: 7, event: 'abort' }]);
  });

  it('tell the machine when a client goes', async () => {
    const { inputs, client, say, until } = await start();
    say({ connection: 1, event: 'opened' });
    client.destroy();
    await until(() => inputs.some((i) => i.event === 'abort' || i.event === 'end'));
  });

  it('keep a client waiting that is faster than the guest', async function () {
    const { inputs, client, say, until } = await start();
    say({ connection: 1, event: 'opened' });
    const sent = 4 * 2 ** 20;
    client.write(new Uint8Array(sent));
    const given = (): number => inputs.reduce((sum, i) => sum + (i.event === 'data' ? i.data.length : 0), 0);
    await until(() => given() > 256 * 1024);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.ok(given() < 2 ** 20, `${given()} bytes were taken`);
    while (given() < sent) {
      say({ connection: 1, event: 'taken', bytes: given() });
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  });

  it('say in words what cannot be listened on, and let go of the others', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    open.push(() => other.close());
    await new Promise((resolve) => other.once('listening', resolve));
    const { port } = other.address() as AddressInfo;
    const target = { networkInput: () => Promise.resolve(), onNetwork: () => () => undefined };
    const at = (p: number): Parameters<typeof forwardPorts>[1][number] => ({
      host: '127.0.0.1',
      port: p,
      domain: 1,
      guestPort: 1,
    });
    const log: string[] = [];
    await assert.rejects(
      forwardPorts(target, [at(0), at(port)], (line) => log.push(line)),
      new RegExp(`cannot listen on 127\\.0\\.0\\.1:${port}: it is in use`),
    );
    const [, freed] = /:(\d+) leads/.exec(log.join()) ?? [];
    const again = createServer().listen(Number(freed), '127.0.0.1');
    open.push(() => again.close());
    await new Promise((resolve, reject) => again.once('listening', resolve).once('error', reject));
  });
});
