/**
 * Debian's own kernel with its own network front end: two domains on one bridge talk to the gateway and to each other,
 * and a client of this computer's talks to a server in one of them. Two boots, in one machine.
 */
import assert from 'node:assert/strict';
import { createConnection } from 'node:net';
import { get } from 'node:http';
import { makeInitramfs, md5, sampleBytes } from '../../scripts/make-initramfs';
import { forwardPorts } from '../../src/host/forward';
import type { DomainConfig } from '../../src/machine/target';
import { guestPath } from '../support/guests';
import { domain, plain, watch } from '../support/machines';

const MIB = 2 ** 20;
const SAMPLE = sampleBytes(700_000);

const LEASE = `#!/bin/sh
[ "$1" = bound ] && ifconfig $interface $ip netmask $subnet && route add default gw $router
true
`;

/** The one that serves. */
const SERVER = `
ifconfig lo 127.0.0.1 up
ifconfig eth0 up
cat /sys/class/net/eth0/address
udhcpc -i eth0 -n -q -s /bin/lease > /tmp/lease 2>&1 && echo "LEASE $(grep obtained /tmp/lease)"
ping -c 3 -s 1000 10.0.2.2 | grep 'packets transmitted' | sed 's/^/PING /'
ping -c 1 -W 1 198.51.100.1 > /tmp/out 2>&1 || echo "OUTSIDE refused"
wget -O /dev/null http://10.0.2.2/ 2>&1 | sed 's/^/GATEWAY /'
# Opened once: what comes while nobody has a terminal open is lost.
exec 3<>/dev/hvc1
echo 'hello by the channel' >&3
read -t 60 line <&3; echo "CHANNEL $line"
mkdir /tmp/www; cp /bin/sample /tmp/www/sample
httpd -p 80 -h /tmp/www
# nc ends its side of a connection at the end of its input, and its peer's when that sees it.
mkfifo /tmp/open; sleep 100000 > /tmp/open &
nc -l -p 5000 < /tmp/open > /tmp/peer & PEER=$!
nc -l -p 5001 < /tmp/open > /tmp/host & HOST=$!
echo "READY $(wc -c < /tmp/www/sample)"
wait $PEER; echo "FROM-PEER $(md5sum < /tmp/peer)"
wait $HOST; echo "FROM-HOST $(md5sum < /tmp/host)"
grep eth0 /proc/net/dev | sed 's/^/COUNTERS/'
`;

/** The one that asks. */
const CLIENT = `
ifconfig eth0 10.0.2.16 netmask 255.255.255.0 up
until wget -q -O /tmp/got http://10.0.2.15/sample; do sleep 1; done
echo "FETCHED $(md5sum < /tmp/got)"
ping -c 2 10.0.2.15 | grep 'packets transmitted' | sed 's/^/PEER /'
until nc -w 5 10.0.2.15 5000 < /bin/sample; do sleep 1; done
`;

/** The rest of the line that begins with `word`. */
const said = (text: string, word: string): string | undefined =>
  new RegExp(`^${word} (.*)$`, 'm').exec(text)?.[1];

function fetchBytes(port: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path: '/sample' }, (answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => parts.push(part));
      answer.on('end', () => resolve(Buffer.concat(parts)));
    }).on('error', reject);
  });
}

function sendBytes(port: number, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: '127.0.0.1', port }, () => socket.end(bytes));
    socket.on('close', () => resolve());
    socket.on('error', reject);
    socket.resume();
  });
}

describe('Debian’s kernel on a PV network', function () {
  // A minute on two idle cores; other work beside it makes that several.
  this.timeout(900_000);

  it('reaches the gateway, another domain and a client of this computer’s, every byte', async function () {
    const kernel = guestPath('linux', this);
    guestPath('busybox', this);
    const programs = { sample: SAMPLE, lease: Buffer.from(LEASE) };
    const guest = (name: string, commands: string, channels: readonly string[]): DomainConfig =>
      domain(kernel, {
        name,
        ramdisk: {
          name: 'initrd',
          bytes: makeInitramfs(commands, { disk: false, modules: ['drivers/net/xen-netfront'], programs }),
        },
        cmdline: 'console=hvc0 quiet',
        memory: 192 * MIB,
        vifs: [{}],
        channels,
      });
    const { target } = await watch(guest('server', SERVER, ['agent']), guest('client', CLIENT, []));
    const texts = new Map<number, string>();
    let channel = '';
    target.onConsole((id, data, number) => {
      const piece = Buffer.from(data).toString('latin1');
      if (number === 0) texts.set(id, (texts.get(id) ?? '') + piece);
      else if (channel === '') void target.consoleInput(id, Buffer.from('typed there\n'), number);
      if (number !== 0) channel += piece;
    });
    if (process.env['SHOW'] !== undefined)
      target.onConsole((id, data) => process.stderr.write(`${id}: ${Buffer.from(data).toString('latin1')}`));
    const text = (id: number): string => plain(texts.get(id) ?? '');
    const log: string[] = [];
    const forwarding = await forwardPorts(
      target,
      [80, 5001].map((guestPort) => ({ host: '127.0.0.1', port: 0, domain: 1, guestPort })),
      (line) => log.push(line),
    );
    const [web = 0, upload = 0] = forwarding.ports;
    try {
      let clients: Promise<Buffer> | undefined;
      const heard = target.onConsole(() => {
        if (clients !== undefined || !text(1).includes('READY')) return;
        clients = (async () => {
          const got = await fetchBytes(web);
          await sendBytes(upload, SAMPLE);
          return got;
        })();
      });
      let ended = await target.run({});
      if (ended.reason.kind === 'shutdown') ended = await target.run({});
      heard();
      const seen = `${text(1)}\n----\n${text(2)}\n${log.join('\n')}`;
      assert.ok(clients !== undefined, seen);
      assert.equal(md5(await clients), md5(SAMPLE), seen);
      assert.match(text(1), /^00:16:3e:00:01:00$/m, seen);
      assert.match(said(text(1), 'LEASE') ?? '', /lease of 10\.0\.2\.15 obtained/, seen);
      assert.match(said(text(1), 'PING') ?? '', /^3 packets transmitted, 3 packets received/, seen);
      assert.match(channel, /^hello by the channel\r\n/);
      assert.equal(said(text(1), 'CHANNEL'), 'typed there', seen);
      assert.equal(said(text(1), 'OUTSIDE'), 'refused', seen);
      assert.match(text(1), /^GATEWAY .*Connection refused/m, seen);
      assert.equal(said(text(1), 'FROM-PEER')?.split(' ')[0], md5(SAMPLE), seen);
      assert.equal(said(text(1), 'FROM-HOST')?.split(' ')[0], md5(SAMPLE), seen);
      assert.equal(said(text(2), 'FETCHED')?.split(' ')[0], md5(SAMPLE), seen);
      assert.match(said(text(2), 'PEER') ?? '', /^2 packets transmitted, 2 packets received/, seen);
      if (process.env['SHOW'] !== undefined) console.log(seen);
    } finally {
      forwarding.dispose();
      await target.dispose();
    }
  });
});
