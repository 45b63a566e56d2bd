import assert from 'node:assert/strict';
import { LaunchError, parseMemory, resolveLaunch } from '../../src/debugger/launch';
import type { LaunchFiles, MachineArguments } from '../../src/debugger/launch';

const MIB = 2 ** 20;
const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const files = (known: Record<string, string>): LaunchFiles => ({
  readFile: (path) => {
    const found = known[path];
    return found === undefined ? Promise.reject(new Error(`no ${path}`)) : Promise.resolve(text(found));
  },
  sampleGuest: () => Promise.resolve({ name: 'sample.elf', bytes: text('sample') }),
  absolute: (path: string) => path,
  readSaved: (path: string, kernel?: string) =>
    Promise.resolve({
      machine: { domains: [], saved: { path } },
      warnings: kernel === undefined ? [] : [`symbols of ${kernel}`],
    }),
});
const domain = async (args: MachineArguments, known: Record<string, string> = {}) => {
  const { machine, warnings } = await resolveLaunch(args, files(known));
  const [{ kernel, ramdisk, ...rest } = assert.fail('no domain')] = machine.domains;
  const show = (one: { name: string; bytes: Uint8Array } | undefined): string =>
    one === undefined ? '' : `${one.name}: ${new TextDecoder().decode(one.bytes)}`;
  return { ...rest, kernel: show(kernel), ramdisk: show(ramdisk), warnings };
};

describe('launch arguments', () => {
  it('without any: the sample', async () => {
    assert.deepEqual(await domain({}), {
      name: 'sample',
      kernel: 'sample.elf: sample',
      ramdisk: '',
      cmdline: '',
      memory: 256 * MIB,
      vcpus: 1,
      warnings: [],
    });
  });

  it('memory: sizes with units, a bare number is MiB', () => {
    const sizes: [string | number, number][] = [
      [64, 64 * MIB],
      ['64', 64 * MIB],
      ['256M', 256 * MIB],
      ['1 GiB', 2 ** 30],
      ['65536k', 64 * MIB],
      ['1g', 2 ** 30],
    ];
    for (const [given, bytes] of sizes) assert.equal(parseMemory(given), bytes, String(given));
    for (const bad of ['', '-1', '1T', '1.5G', '0x100', 'M', 0, -5, NaN, '512K', '65G', '9'.repeat(15)]) {
      assert.throws(() => parseMemory(bad), LaunchError, String(bad));
    }
  });

  it('an xl.cfg, its paths beside it, arguments before it', async () => {
    const known = {
      '/cfg/guest.cfg':
        'name = "web"\nkernel = "vmlinuz"\nramdisk = "/boot/initrd"\nmemory = 64\nvcpus = 2\nextra = "quiet"\nsdl = 1\n',
      '/cfg/vmlinuz': 'K',
      '/boot/initrd': 'R',
      '/other': 'O',
    };
    const whole = await domain({ config: '/cfg/guest.cfg' }, known);
    assert.deepEqual(whole, {
      name: 'web', kernel: 'vmlinuz: K', ramdisk: 'initrd: R', cmdline: 'quiet', memory: 64 * MIB, vcpus: 2,
      warnings: ['/cfg/guest.cfg:7:1: sdl has no effect here'],
    }); // prettier-ignore
    const some = await domain({ config: '/cfg/guest.cfg', kernel: '/other', memory: '1G' }, known);
    assert.deepEqual([some.kernel, some.memory, some.vcpus], ['other: O', 2 ** 30, 2]);
  });

  it('interfaces, ports and channels: as xl has them, with forward= beside', async () => {
    const cfg =
      'kernel="/k"\nvif=["mac=00:16:3e:00:00:05,bridge=lan,forward=2222:22", "ip=10.0.2.30"]\nchannel=["name=agent,connection=pty"]';
    const { machine } = await resolveLaunch(
      { config: '/a.cfg', vifs: [''], ports: ['localhost:8080:d1:80', '[::1]:0:443'], channels: ['log'] },
      files({ '/a.cfg': cfg, '/k': '' }),
    );
    assert.deepEqual(machine.domains[0]?.vifs, [
      { mac: '00:16:3e:00:00:05', bridge: 'lan' },
      { ip: '10.0.2.30' },
      {},
    ]);
    assert.deepEqual(machine.domains[0].channels, ['agent', 'log']);
    assert.deepEqual(machine.forwards, [
      { host: '127.0.0.1', port: 2222, domain: 1, guestPort: 22 },
      { host: 'localhost', port: 8080, domain: 1, guestPort: 80 },
      { host: '::1', port: 0, domain: 1, guestPort: 443 },
    ]);
    // A port needs an interface.
    assert.deepEqual((await resolveLaunch({ ports: ['1:1'] }, files({}))).machine.domains[0]?.vifs, [{}]);
  });

  it('disks: as xl has them, the image left alone unless write-through is said', async () => {
    const known = {
      '/cfg/a.cfg': 'kernel = "k"\ndisk = [ "root.img,,xvda,w", ",,hdc:cdrom,r" ]\n',
      '/cfg/k': 'K',
    };
    const { disks } = await domain(
      { config: '/cfg/a.cfg', disks: ['/b.qcow2,qcow2', 'c.img,raw,xvdz,rw,write-through', 'd.img,,,r'] },
      known,
    );
    assert.deepEqual(
      disks?.map((d) => [d.vdev, d.image.name, d.format, d.access, d.cdrom]),
      [
        ['xvda', '/cfg/root.img', 'raw', 'overlay', false],
        ['hdc', '', 'raw', 'read-only', true],
        ['xvdb', '/b.qcow2', 'qcow2', 'overlay', false],
        ['xvdz', 'c.img', 'raw', 'write-through', false],
        ['xvdc', 'd.img', 'raw', 'read-only', false],
      ],
    );
  });

  it('names what cannot be', async () => {
    const cases: [MachineArguments, Record<string, string>, RegExp][] = [
      [{ kernel: '/k' }, {}, /^kernel: cannot read '\/k': no \/k$/],
      [{ vcpus: 1.5 }, {}, /^vcpus: 1.5/],
      [{ config: '/c' }, { '/c': 'memory = 64' }, /^config: \/c sets no kernel/],
      [{ disks: ['a.vhd,vhd'] }, {}, /^disk: xvda: images of format vhd cannot be read/],
      [{ disks: ['a', 'b,raw,xvdb,r,write-through'] }, {}, /^disk 2, .*write-through is for a disk/],
      [{ disks: [''] }, {}, /^disk 1, .*has no target/],
      [{ ports: ['80'] }, {}, /^ports: '80' is not such as "8080:80"/],
      [{ ports: ['0.0.0.0:80:80'] }, {}, /0\.0\.0\.0 is no loopback address/],
      [{ ports: ['192.168.1.1:80:80'] }, {}, /192\.168\.1\.1 is no loopback address/],
      [{ ports: ['70000:80'] }, {}, /ports go up to 65535/],
      [{ ports: ['80:0'] }, {}, /ports go up to 65535/],
      [{ ports: ['80:d2:80'] }, {}, /there is no domain 2/],
      [{ vifs: ['mac=1'] }, {}, /^vif 1, .*1 is not a MAC address/],
      [{ vifs: ['mac=01:00:00:00:00:00'] }, {}, /is the address of a group/],
      [{ config: '/c' }, { '/c': 'kernel="/k"\nchannel=["connection=pty"]', '/k': '' }, /has no name/],
      [
        { config: '/c' },
        { '/c': 'kernel="/k"\nchannel=["name=a,connection=tcp"]', '/k': '' },
        /neither pty nor socket/,
      ],
      [{ config: '/c' }, { '/c': 'kernel = ' }, /\/c.*1/],
      [{ config: '/c' }, { '/c': 'kernel="x"\ntype="hvm"' }, /paravirtualized/],
    ];
    for (const [args, known, message] of cases) {
      await assert.rejects(
        domain(args, known),
        (error) => error instanceof Error && message.test(error.message),
      );
    }
  });

  it('a saved machine is what its file says; only its kernel may have moved', async () => {
    const none = files({});
    const launch = await resolveLaunch({ restore: '/m.hys', kernel: '/k' }, none);
    assert.deepEqual(launch, {
      machine: { domains: [], saved: { path: '/m.hys' } },
      warnings: ['symbols of /k'],
    });
    for (const other of [{ memory: 64 }, { ramdisk: '/r' }, { vcpus: 1 }, { disks: [] }, { config: '/c' }])
      await assert.rejects(
        resolveLaunch({ restore: '/m.hys', ...other }, none),
        /^LaunchError: \w+: it cannot be given with restore: the machine is what '\/m\.hys' says/,
      );
  });

  it('several domains: a list, or a list of configuration files; each image is read once', async () => {
    const known = {
      '/k': 'K',
      '/a.cfg': 'name="web"\nkernel="k"\nvif=["forward=22:2222"]',
      '/b.cfg': 'kernel="k"',
    };
    const { machine } = await resolveLaunch(
      {
        domains: [{ config: '/a.cfg', memory: 64 }, { kernel: '/k', cmdline: 'two' }, { kernel: '/k' }],
        ports: ['80:d2:8080'],
      },
      files(known),
    );
    assert.deepEqual(
      machine.domains.map(({ name, memory, cmdline }) => [name, memory / MIB, cmdline]),
      [['web', 64, ''], ['k-2', 256, 'two'], ['k-3', 256, '']],
    ); // prettier-ignore
    assert.equal(new Set(machine.domains.map(({ kernel }) => kernel.bytes)).size, 1);
    assert.deepEqual(
      machine.forwards?.map(({ port, domain: id, guestPort }) => [port, id, guestPort]),
      [[22, 1, 2222], [80, 2, 8080]],
    ); // prettier-ignore
    assert.deepEqual(machine.domains.map(({ vifs = [] }) => vifs.length), [1, 1, 0]); // prettier-ignore
    const two = await resolveLaunch({ config: ['/a.cfg', '/b.cfg'] }, files(known));
    assert.deepEqual(two.machine.domains.map(({ name }) => name), ['web', 'k']); // prettier-ignore
  });

  it('several domains: what makes no sense is refused by name', async () => {
    const known = files({ '/k': 'K' });
    const kernel = '/k';
    const cases: [MachineArguments, string][] = [
      [{ domains: [] }, 'domains: a machine has at least one'],
      [
        { domains: [{ kernel }], memory: 64 },
        'memory: of which domain? With several, it stands in an entry of domains',
      ],
      [
        { domains: [{ kernel }, { kernel }], onReboot: 'destroy' },
        'onReboot: of which domain? With several, it stands in an entry of domains',
      ],
      [
        { domains: [{ kernel }], config: '/c' },
        'config: beside domains it would be nobody’s; each of them may have its own',
      ],
      [
        { domains: [{ kernel }, { kernel, vcpus: 0 }] },
        'domains[1].vcpus: 0 is not a whole number from 1 to 128',
      ],
      [
        {
          domains: [
            { kernel, name: 'a' },
            { kernel, name: 'a' },
          ],
        },
        "domains: two have the name 'a'",
      ],
      [{ domains: [{ kernel }, { kernel }], ports: ['1:d3:1'] }, "ports: '1:d3:1': there is no domain 3"],
    ];
    for (const [args, message] of cases)
      await assert.rejects(resolveLaunch(args, known), { name: 'LaunchError', message });
  });
});
