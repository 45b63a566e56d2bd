import assert from 'node:assert/strict';
import { quota, XS } from '../../../src/devices/xenstore/wire';
import { createBench, createGuest, type Bench, type Guest } from '../../support/fake-backend';

function start(): Bench & { guest: Guest; other: Guest } {
  const bench = createBench();
  bench.backend.addDomain(1);
  bench.backend.addDomain(2);
  return { ...bench, guest: createGuest(bench.backend, 1), other: createGuest(bench.backend, 2) };
}

const begin = (guest: Guest): number => Number.parseInt(guest.ask(XS.TRANSACTION_START, '\0'), 10);

describe('devices: xenstore requests', () => {
  it('has what xl writes about a domain, with its permissions', () => {
    const { guest, devices } = start();
    assert.equal(guest.ask(XS.READ, 'name\0'), 'guest-1');
    assert.equal(guest.ask(XS.READ, 'vm\0'), '/vm/00000000-0000-0000-0000-000000000001');
    assert.equal(guest.ask(XS.READ, 'domid\0'), '1');
    assert.equal(guest.ask(XS.READ, '/local/domain/1/memory/target\0'), '16384');
    assert.equal(guest.ask(XS.READ, 'cpu/1/availability\0'), 'online');
    assert.equal(guest.ask(XS.READ, 'console/type\0'), 'xenconsoled');
    assert.equal(guest.ask(XS.READ, 'console/ring-ref\0'), '17');
    assert.equal(guest.ask(XS.READ, 'store/port\0'), '1');
    assert.equal(guest.ask(XS.READ, `${guest.ask(XS.READ, 'vm\0')}/name\0`), 'guest-1');
    assert.equal(guest.ask(XS.GET_PERMS, 'memory\0'), 'n0\0r1\0');
    assert.equal(guest.ask(XS.GET_PERMS, 'control/shutdown\0'), 'n1\0');
    assert.equal(guest.ask(XS.DIRECTORY, 'cpu\0'), '0\x001\0');
    assert.equal(devices.xenstore.read('/local/domain/0/domid'), '0');
    assert.deepEqual(devices.xenstore.entry('/local/domain/1/name')?.permissions, ['n0', 'r1']);
    assert.equal(devices.xenstore.tree('/local/domain/1/control').length, 8);
  });

  it('writes, reads bytes as they are, and makes what is missing above', () => {
    const { guest, devices } = start();
    const value = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i));
    assert.equal(guest.ask(XS.WRITE, `data/a/b\0${value}`), 'OK\0');
    assert.equal(guest.ask(XS.READ, 'data/a/b\0'), value);
    assert.equal(guest.ask(XS.READ, 'data/a\0'), '');
    assert.equal(guest.ask(XS.WRITE, 'data/a/b\0'), 'OK\0');
    assert.equal(guest.ask(XS.READ, '/local/domain/1/data/a/b\0'), '');
    assert.deepEqual(devices.xenstore.entry('/local/domain/1/data/a/b')?.permissions, ['n1']);
    assert.equal(guest.ask(XS.MKDIR, 'data/c\0'), 'OK\0');
    assert.equal(guest.ask(XS.MKDIR, 'data/a/b\0'), 'OK\0');
    assert.equal(guest.ask(XS.DIRECTORY, 'data\0'), 'a\0c\0');
    assert.equal(guest.ask(XS.RM, 'data/a\0'), 'OK\0');
    assert.equal(guest.ask(XS.RM, 'data/a\0'), 'OK\0');
    assert.equal(guest.ask(XS.RM, 'data/a/b/c\0'), '!ENOENT');
    assert.equal(guest.ask(XS.READ, 'data/a/b\0'), '!ENOENT');
    assert.equal(guest.ask(XS.DIRECTORY, 'data\0'), 'c\0');
  });

  it('tells nobody about nodes that he may not see', () => {
    const { guest, other } = start();
    guest.ask(XS.WRITE, 'data/secret\0value');
    for (const path of [
      '/local/domain/1/data/secret',
      '/local/domain/1/data/no-such',
      '/',
      '/tool',
      '/nowhere',
    ]) {
      assert.equal(other.ask(XS.READ, `${path}\0`), '!EACCES', path);
      assert.equal(other.ask(XS.WRITE, `${path}\0x`), '!EACCES', path);
      assert.equal(other.ask(XS.RM, `${path}\0`), '!EACCES', path);
      assert.equal(other.ask(XS.GET_PERMS, `${path}\0`), '!EACCES', path);
      assert.equal(other.ask(XS.SET_PERMS, `${path}\0b2\0`), '!EACCES', path);
    }
    assert.equal(guest.ask(XS.WRITE, 'name\0mine'), '!EACCES');
    assert.equal(guest.ask(XS.WRITE, 'device/mine\0x'), '!EACCES');
    assert.equal(guest.ask(XS.RM, 'device\0'), '!EACCES');
  });

  it('lets an owner set permissions, and inherit', () => {
    const { guest, other } = start();
    const shared = '/local/domain/1/data/shared';
    guest.ask(XS.WRITE, 'data/shared\0one');
    assert.equal(guest.ask(XS.SET_PERMS, 'data/shared\0n1\0r2\0'), 'OK\0');
    assert.equal(other.ask(XS.READ, `${shared}\0`), 'one');
    assert.equal(other.ask(XS.READ, `${shared}/none\0`), '!ENOENT');
    assert.equal(other.ask(XS.WRITE, `${shared}\0two`), '!EACCES');
    assert.equal(guest.ask(XS.SET_PERMS, 'data/shared\0n1\0b2\0'), 'OK\0');
    assert.equal(other.ask(XS.WRITE, `${shared}/theirs\0x`), 'OK\0');
    assert.equal(other.ask(XS.GET_PERMS, `${shared}/theirs\0`), 'n2\0b2\0');
    // Being able to write is not being its owner.
    assert.equal(other.ask(XS.SET_PERMS, `${shared}\0b1\0`), '!EACCES');
    assert.equal(guest.ask(XS.SET_PERMS, 'data/shared\0n2\0'), '!EPERM');
    assert.equal(guest.ask(XS.SET_PERMS, 'data/shared\0n9\0'), '!ENOENT');
    assert.equal(guest.ask(XS.SET_PERMS, 'data/shared\0q1\0'), '!EINVAL');
    assert.equal(guest.ask(XS.SET_PERMS, 'data/shared\0n1x\0'), '!EINVAL');
    assert.equal(guest.ask(XS.SET_PERMS, 'data/shared\0'), '!EINVAL');
    // Everybody, by the owner's own entry.
    assert.equal(guest.ask(XS.SET_PERMS, 'data/shared\0w1\0'), 'OK\0');
    assert.equal(other.ask(XS.READ, `${shared}\0`), '!EACCES');
    assert.equal(other.ask(XS.WRITE, `${shared}\0three`), 'OK\0');
    assert.equal(guest.ask(XS.READ, 'data/shared\0'), 'three');
  });

  it('does not keep permissions of a domain that does not exist for one that comes later', () => {
    const { guest, backend } = start();
    guest.ask(XS.WRITE, 'data/x\0v');
    assert.equal(guest.ask(XS.SET_PERMS, 'data/x\0n1\0r3\0'), 'OK\0');
    backend.addDomain(3);
    assert.equal(createGuest(backend, 3).ask(XS.READ, '/local/domain/1/data/x\0'), '!EACCES');
  });

  const refused: readonly (readonly [string, keyof typeof XS | number, string, string])[] = [
    ['an empty path', 'READ', '\0', 'EINVAL'],
    ['no terminator', 'READ', 'name', 'EINVAL'],
    ['no payload', 'READ', '', 'EINVAL'],
    ['more than one string', 'READ', 'name\0x\0', 'EINVAL'],
    ['a doubled slash', 'READ', '/local//domain\0', 'EINVAL'],
    ['a trailing slash', 'READ', 'data/\0', 'EINVAL'],
    ['a bad character', 'READ', 'data/a.b\0', 'EINVAL'],
    ['a special path', 'READ', '@releaseDomain\0', 'EINVAL'],
    ['a long relative path', 'READ', `data/${'x'.repeat(2044)}\0`, 'EINVAL'],
    ['a long absolute path', 'READ', `/${'x'.repeat(3072)}\0`, 'EINVAL'],
    ['a WRITE without its path’s end', 'WRITE', 'data', 'EINVAL'],
    ['a watch without token', 'WATCH', 'data\0', 'EINVAL'],
    ['a watch with three strings', 'WATCH', 'data\0t\0u\0', 'EINVAL'],
    ['UNWATCH of what is not watched', 'UNWATCH', 'data\0t\0', 'ENOENT'],
    ['an END without transaction', 'TRANSACTION_END', 'T\0', 'ENOENT'],
    ['an END of neither kind', 'TRANSACTION_END', 'X\0', 'EINVAL'],
    ['DIRECTORY_PART without offset', 'DIRECTORY_PART', 'cpu\0', 'EINVAL'],
    ['CONTROL', 'CONTROL', 'check\0', 'EACCES'],
    ['INTRODUCE', 'INTRODUCE', '3\x005\x001\0', 'EACCES'],
    ['RELEASE', 'RELEASE', '2\0', 'EACCES'],
    ['RESUME', 'RESUME', '2\0', 'EACCES'],
    ['SET_TARGET', 'SET_TARGET', '1\x002\0', 'EACCES'],
    ['IS_DOMAIN_INTRODUCED', 'IS_DOMAIN_INTRODUCED', '2\0', 'EACCES'],
    ['a WATCH_EVENT', 'WATCH_EVENT', 'a\0b\0', 'ENOSYS'],
    ['an ERROR', 'ERROR', 'EINVAL\0', 'ENOSYS'],
    ['the removed RESTRICT', 20, '1\0', 'ENOSYS'],
    ['an unknown type', 0xffff, '', 'ENOSYS'],
  ];
  for (const [what, type, payload, errno] of refused) {
    it(`refuses ${what}: ${errno}`, () => {
      const { guest } = start();
      assert.equal(guest.ask(typeof type === 'number' ? type : XS[type], payload), `!${errno}`);
      assert.equal(guest.ask(XS.READ, 'domid\0'), '1');
    });
  }

  it('knows every domain’s path', () => {
    const { guest } = start();
    assert.equal(guest.ask(XS.GET_DOMAIN_PATH, '7\0'), '/local/domain/7\0');
  });

  it('takes a domain’s number as C’s atoi does, and nothing else for one', () => {
    const { guest } = start();
    for (const [payload, reply] of [
      ['12abc\0', '/local/domain/12\0'],
      ['abc\0', '/local/domain/0\0'],
      ['-1\0', '/local/domain/4294967295\0'],
      ['', '!EINVAL'],
      ['7', '!EINVAL'],
      ['7\x008\0', '!EINVAL'],
    ] as const) {
      assert.equal(guest.ask(XS.GET_DOMAIN_PATH, payload), reply, JSON.stringify(payload));
    }
  });

  it('a part of a listing tells by its generation that the listing changed meanwhile', () => {
    const { guest } = start();
    const generation = (): string => guest.ask(XS.DIRECTORY_PART, 'data\x000\0').split('\0')[0] ?? '';
    guest.ask(XS.MKDIR, 'data/a\0');
    const first = generation();
    assert.equal(generation(), first);
    guest.ask(XS.MKDIR, 'data/b\0');
    const second = generation();
    assert.notEqual(second, first);
    // What happens below a child is no change of the list.
    guest.ask(XS.WRITE, 'data/b\0value');
    assert.equal(generation(), second);
    assert.equal(guest.ask(XS.DIRECTORY_PART, 'data\x000\0'), `${second}\0a\0b\0\0`);
  });

  it('lists what does not fit into one reply in parts of whole names', () => {
    const { guest, devices } = start();
    const names = Array.from({ length: 300 }, (_, i) => `child-with-a-long-name-${i}`);
    for (const name of names) devices.xenstore.write(`/local/domain/1/cpu/${name}`, '');
    assert.equal(guest.ask(XS.DIRECTORY, 'cpu\0'), '!E2BIG');
    let all = '';
    let parts = 0;
    for (let generation: string | undefined; !all.endsWith('\0\0'); parts++) {
      const reply = guest.ask(XS.DIRECTORY_PART, `cpu\0${all.length}\0`);
      assert.ok(reply.length <= 4096);
      const end = reply.indexOf('\0');
      generation ??= reply.slice(0, end);
      assert.equal(reply.slice(0, end), generation);
      all += reply.slice(end + 1);
    }
    assert.deepEqual(all.split('\0').slice(0, -2), ['0', '1', ...names]);
    assert.equal(parts, 2);
    assert.match(guest.ask(XS.DIRECTORY_PART, `cpu\x00100000\0`), /^\d+\0\0$/);
    assert.match(guest.ask(XS.DIRECTORY_PART, `cpu\0-1\0`), /^\d+\0\0$/);
  });

  describe('transactions', () => {
    it('keep changes to themselves until the end', () => {
      const { guest, devices } = start();
      const tx = begin(guest);
      assert.equal(tx, 1);
      guest.ask(XS.WRITE, 'data/a\0inside', tx);
      assert.equal(guest.ask(XS.READ, 'data/a\0', tx), 'inside');
      assert.equal(guest.ask(XS.READ, 'data/a\0'), '!ENOENT');
      assert.deepEqual(devices.xenstore.transactions(), [{ domain: 1, id: 1, nodes: 2 }]);
      assert.equal(guest.ask(XS.TRANSACTION_END, 'T\0', tx), 'OK\0');
      assert.equal(guest.ask(XS.READ, 'data/a\0'), 'inside');
      assert.equal(guest.ask(XS.READ, 'data/a\0', tx), '!ENOENT');
      assert.deepEqual(devices.xenstore.transactions(), []);
    });

    it('can be given up', () => {
      const { guest } = start();
      const tx = begin(guest);
      guest.ask(XS.WRITE, 'data/a\0inside', tx);
      guest.ask(XS.RM, 'control/sysrq\0', tx);
      assert.equal(guest.ask(XS.TRANSACTION_END, 'F\0', tx), 'OK\0');
      assert.equal(guest.ask(XS.READ, 'data/a\0'), '!ENOENT');
      assert.equal(guest.ask(XS.READ, 'control/sysrq\0'), '');
    });

    it('fail with EAGAIN when something they read was changed, made or removed', () => {
      const { guest } = start();
      guest.ask(XS.WRITE, 'data/a\x001');
      const interventions: (() => void)[] = [
        () => guest.ask(XS.WRITE, 'data/a\x002'),
        () => guest.ask(XS.RM, 'data/a\0'),
        () => guest.ask(XS.MKDIR, 'data/a\0'),
        () => guest.ask(XS.SET_PERMS, 'data/a\0n1\0r2\0'),
      ];
      for (const intervene of interventions) {
        const tx = begin(guest);
        guest.ask(XS.READ, 'data/a\0', tx);
        intervene();
        guest.ask(XS.WRITE, 'data/b\0x', tx);
        assert.equal(guest.ask(XS.TRANSACTION_END, 'T\0', tx), '!EAGAIN');
        assert.equal(guest.ask(XS.READ, 'data/b\0'), '!ENOENT');
        assert.equal(guest.ask(XS.TRANSACTION_END, 'T\0', tx), '!ENOENT');
      }
    });

    it('do not mind changes of what they have nothing to do with', () => {
      const { guest, other } = start();
      guest.ask(XS.WRITE, 'data/a\x001');
      const tx = begin(guest);
      const theirs = begin(other);
      guest.ask(XS.WRITE, 'data/a\x002', tx);
      other.ask(XS.WRITE, 'data/a\0theirs', theirs);
      assert.equal(other.ask(XS.TRANSACTION_END, 'T\0', theirs), 'OK\0');
      guest.ask(XS.WRITE, 'attr/z\0x');
      assert.equal(guest.ask(XS.TRANSACTION_END, 'T\0', tx), 'OK\0');
      assert.equal(guest.ask(XS.READ, 'data/a\0'), '2');
    });

    it('of two that read what the other writes, only one', () => {
      const { guest } = start();
      guest.ask(XS.WRITE, 'data/a\x000');
      guest.ask(XS.WRITE, 'attr/b\x000');
      const [one, two] = [begin(guest), begin(guest)];
      guest.ask(XS.READ, 'data/a\0', one);
      guest.ask(XS.READ, 'attr/b\0', two);
      guest.ask(XS.WRITE, 'attr/b\x001', one);
      guest.ask(XS.WRITE, 'data/a\x002', two);
      assert.equal(guest.ask(XS.TRANSACTION_END, 'T\0', one), 'OK\0');
      assert.equal(guest.ask(XS.TRANSACTION_END, 'T\0', two), '!EAGAIN');
      assert.equal(guest.ask(XS.READ, 'data/a\0'), '0');
      assert.equal(guest.ask(XS.READ, 'attr/b\0'), '1');
    });

    it('end with RESET_WATCHES, and their numbers with them', () => {
      const { guest, devices } = start();
      const tx = begin(guest);
      guest.ask(XS.WRITE, 'data/a\0inside', tx);
      guest.ask(XS.WATCH, 'data\0t\0');
      assert.equal(guest.ask(XS.RESET_WATCHES, '\0'), 'OK\0');
      assert.deepEqual([devices.xenstore.watches(), devices.xenstore.transactions()], [[], []]);
      assert.equal(guest.ask(XS.TRANSACTION_END, 'T\0', tx), '!ENOENT');
      assert.equal(guest.ask(XS.READ, 'data/a\0'), '!ENOENT');
    });

    it('may be many at a time, each with what it saw', () => {
      const { guest } = start();
      guest.ask(XS.WRITE, 'data/n\x000');
      const all = Array.from({ length: quota.transactions }, () => begin(guest));
      for (const tx of all) {
        const value = Number(guest.ask(XS.READ, 'data/n\0', tx));
        guest.ask(XS.WRITE, `data/n\0${value + 1}`, tx);
      }
      const ends = all.map((tx) => guest.ask(XS.TRANSACTION_END, 'T\0', tx));
      assert.deepEqual(ends, ['OK\0', ...all.slice(1).map(() => '!EAGAIN')]);
      assert.equal(guest.ask(XS.READ, 'data/n\0'), '1');
    });

    it('do not nest, and are the domain’s own', () => {
      const { guest, other } = start();
      const tx = begin(guest);
      assert.equal(guest.ask(XS.TRANSACTION_START, '\0', tx), '!EBUSY');
      assert.equal(other.ask(XS.READ, 'domid\0', tx), '!ENOENT');
      assert.equal(guest.ask(XS.READ, 'domid\0', 77), '!ENOENT');
    });

    it('remove, and make again, in one', () => {
      const { guest, devices } = start();
      guest.ask(XS.WRITE, 'data/a/b\x001');
      const tx = begin(guest);
      guest.ask(XS.RM, 'data/a\0', tx);
      assert.equal(guest.ask(XS.READ, 'data/a/b\0', tx), '!ENOENT');
      guest.ask(XS.WRITE, 'data/a/c\x002', tx);
      assert.equal(guest.ask(XS.DIRECTORY, 'data/a\0', tx), 'c\0');
      assert.equal(guest.ask(XS.TRANSACTION_END, 'T\0', tx), 'OK\0');
      assert.deepEqual(
        devices.xenstore.tree('/local/domain/1/data').map((e) => e.path.slice(15)),
        ['/data', '/data/a', '/data/a/c'],
      );
    });
  });

  describe('quotas', () => {
    const fill = (guest: Guest, tx = 0): { made: number; end: string } => {
      for (let made = 0; ; made++) {
        const reply = guest.ask(XS.WRITE, `data/${made >> 5}/${made}\0`, tx);
        if (reply !== 'OK\0' || made > 3000) return { made, end: reply };
      }
    };

    it('nodes', () => {
      const { guest, devices } = start();
      const before = devices.xenstore.tree().filter((e) => e.permissions[0] === 'n1').length;
      const { end } = fill(guest);
      assert.equal(end, '!ENOSPC');
      const owned = (): number => devices.xenstore.tree().filter((e) => e.permissions[0] === 'n1').length;
      assert.ok(before > 0);
      assert.equal(owned(), quota.nodes);
      assert.equal(guest.ask(XS.RM, 'data/0\0'), 'OK\0');
      assert.equal(guest.ask(XS.MKDIR, 'data/again\0'), 'OK\0');
      assert.ok(owned() < quota.nodes);
    });

    it('nodes of a transaction, which must leave one free', () => {
      const { guest, devices } = start();
      fill(guest);
      guest.ask(XS.RM, 'data/0/0\0');
      const tx = begin(guest);
      assert.equal(guest.ask(XS.MKDIR, 'data/0/x\0', tx), 'OK\0');
      assert.equal(guest.ask(XS.TRANSACTION_END, 'T\0', tx), '!ENOSPC');
      assert.equal(devices.xenstore.read('/local/domain/1/data/0/x'), undefined);
    });

    it('nodes that a transaction sees', () => {
      const { guest, devices } = start();
      for (let i = 0; i < 1100; i++) devices.xenstore.write(`/local/domain/1/cpu/n${i}`, '');
      const tx = begin(guest);
      let seen = 0;
      while (guest.ask(XS.READ, `cpu/n${seen}\0`, tx) === '') seen++;
      assert.equal(seen, quota.accessed);
      assert.equal(guest.ask(XS.READ, `cpu/n${seen}\0`, tx), '!ENOSPC');
      assert.equal(guest.ask(XS.TRANSACTION_END, 'T\0', tx), '!ENOMEM');
    });

    it('size of a node', () => {
      const { guest } = start();
      const most = quota.nodeSize - 24 - 8 - 1;
      assert.equal(guest.ask(XS.WRITE, `data/a\0${'v'.repeat(most)}`), 'OK\0');
      assert.equal(guest.ask(XS.WRITE, `data/a\0${'v'.repeat(most + 1)}`), '!ENOSPC');
      assert.equal(guest.ask(XS.WRITE, `data/b\0${'v'.repeat(most + 1)}`), '!ENOSPC');
      assert.equal(guest.ask(XS.READ, 'data/b\0'), '!ENOENT');
      assert.equal(guest.ask(XS.DIRECTORY, 'data\0'), 'a\0');
    });

    it('permissions of a node', () => {
      const { guest } = start();
      assert.equal(guest.ask(XS.SET_PERMS, `data\0${'n1\0'.repeat(5)}`), 'OK\0');
      assert.equal(guest.ask(XS.SET_PERMS, `data\0${'n1\0'.repeat(6)}`), '!ENOSPC');
    });

    it('memory for changes that are not committed, which end the transaction', () => {
      const { guest, devices } = start();
      const value = 'v'.repeat(1900);
      const transactions: number[] = [];
      let changed = 0;
      let reply = 'OK\0';
      while (reply === 'OK\0' && transactions.length < quota.transactions) {
        const tx = begin(guest);
        transactions.push(tx);
        for (let i = 0; i < 500 && reply === 'OK\0'; i++) {
          reply = guest.ask(XS.WRITE, `data/${i}\0${value}`, tx);
          if (reply === 'OK\0') changed++;
        }
      }
      assert.equal(reply, '!EIO');
      assert.ok(changed * 1900 < quota.memory && changed * 2100 > quota.memory, `${changed} nodes`);
      const last = transactions.at(-1) ?? 0;
      assert.equal(guest.ask(XS.TRANSACTION_END, 'T\0', last), '!ENOMEM');
      // Given back, it can be used again; others were never touched by it.
      for (const tx of transactions.slice(0, -1)) guest.ask(XS.TRANSACTION_END, 'F\0', tx);
      assert.deepEqual(devices.xenstore.transactions(), []);
      const tx = begin(guest);
      assert.equal(guest.ask(XS.WRITE, `data/0\0${value}`, tx), 'OK\0');
      assert.equal(guest.ask(XS.TRANSACTION_END, 'T\0', tx), 'OK\0');
    });

    it('memory for watches', () => {
      const { guest } = start();
      // A watch may be as long as a message; the number of watches is bounded first, so this stays below.
      for (let i = 0; i <= quota.watches; i++)
        assert.equal(guest.ask(XS.WATCH, `data\0${'t'.repeat(3000)}${i}\0`), 'OK\0');
      guest.events();
      assert.equal(guest.ask(XS.WATCH, 'data\0t\0'), '!E2BIG');
      assert.equal(guest.ask(XS.READ, 'domid\0'), '1');
    });

    it('watches and transactions, one more than the number says', () => {
      const { guest } = start();
      let watches = 0;
      while (guest.ask(XS.WATCH, `data\0${watches}\0`) === 'OK\0') watches++;
      assert.equal(watches, quota.watches + 1);
      assert.equal(guest.ask(XS.WATCH, `data\0one more\0`), '!E2BIG');
      for (let i = 0; i <= quota.transactions; i++) begin(guest);
      assert.equal(guest.ask(XS.TRANSACTION_START, '\0'), '!ENOSPC');
      guest.events();
      assert.equal(guest.ask(XS.RESET_WATCHES, '\0'), 'OK\0');
      assert.equal(guest.ask(XS.WATCH, `data\0one more\0`), 'OK\0');
      assert.equal(begin(guest), quota.transactions + 2);
    });
  });
});
