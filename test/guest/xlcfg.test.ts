import assert from 'node:assert/strict';
import { ImageError } from '../../src/guest/error';
import { ConfigError, parseXlConfig } from '../../src/guest/xlcfg';

const parse = (text: string) => parseXlConfig(text, 'a.cfg');
const throwsAt = (text: string, line: number, column: number, problem: RegExp): void => {
  assert.throws(
    () => parse(text),
    (error: unknown) => {
      assert.ok(error instanceof ConfigError && error instanceof ImageError, String(error));
      assert.deepEqual(
        { ...error.position, thing: error.thing },
        { line, column, thing: 'a.cfg' },
        error.message,
      );
      assert.match(error.message, problem);
      return true;
    },
  );
};
/** Structurally the same whatever else a position object carries. */
const messages = (text: string) =>
  parse(text).warnings.map(({ line, column, message }) => `${line}:${column} ${message}`);

describe('guest/xlcfg', () => {
  it('reads what a typical file says', () => {
    const config = parse(
      `# a guest
name    = "debian"   # the name
uuid    = '4b1a…'
type    = "pv"
kernel  = "/boot/vmlinuz" ; ramdisk = "/boot/initrd"
root    = "/dev/xvda1 ro"
extra   = "console=hvc0 " 'x'
`.replace(` 'x'`, ''),
    );
    assert.deepEqual(config, {
      name: 'debian',
      uuid: '4b1a…',
      kernel: '/boot/vmlinuz',
      ramdisk: '/boot/initrd',
      cmdline: 'root=/dev/xvda1 ro console=hvc0 ',
      disks: [],
      channels: [],
      vifs: [],
      warnings: [],
    });
  });

  it('says of PV devices that are not implemented that they are not, and takes channels', () => {
    const { warnings, channels } = parse(
      'vfb = ["type=vnc"]\nvkb = ["backend-type=linux"]\nchannel = ["name=a, connection=socket, path=/tmp/x"]',
    );
    assert.deepEqual(channels, [{ name: 'a' }]);
    assert.deepEqual(warnings.map(({ message }) => message).sort(), [
      'channel connection socket is the same as pty here',
      'channel parameter path has no effect here',
      'vfb has no effect: the PV framebuffer device (io/fbif.h) is not implemented, and the guest finds none',
      'vkb has no effect: the PV keyboard and pointer device (io/kbdif.h) is not implemented, and the guest finds none',
    ]);
  });

  it('reads numbers as strtol does, quoted or not', () => {
    const { memory, maxmem, vcpus, maxvcpus } = parse('memory=0x100\nmaxmem="512"\nvcpus=010\nmaxvcpus=8');
    assert.deepEqual([memory, maxmem, vcpus, maxvcpus], [256, 512, 8, 8]);
  });

  it('reads disks in every notation of xl-disk-configuration(5)', () => {
    const { disks } = parse(`disk = [
      'file:/a.img,xvda,w',
      "/b.img,raw,xvdb,ro",
      'format=qcow2, vdev=xvdc, access=rw, target=/with,comma.qcow2',  # a comment in a list
      '/cd.iso,,hdc:cdrom,r', '/dev/vg/x,,xvde', 'vdev=xvdf,target=/f',
    ]`);
    assert.deepEqual(disks, [
      { target: '/a.img', format: 'raw', vdev: 'xvda', writable: true, cdrom: false },
      { target: '/b.img', format: 'raw', vdev: 'xvdb', writable: false, cdrom: false },
      { target: '/with,comma.qcow2', format: 'qcow2', vdev: 'xvdc', writable: true, cdrom: false },
      { target: '/cd.iso', format: 'raw', vdev: 'hdc', writable: false, cdrom: true },
      { target: '/dev/vg/x', format: 'raw', vdev: 'xvde', writable: true, cdrom: false },
      { target: '/f', format: 'raw', vdev: 'xvdf', writable: true, cdrom: false },
    ]);
  });

  it('reads network interfaces', () => {
    const { vifs, warnings } = parse(
      `vif = [ '', 'mac=00:16:3e:01:02:03,bridge=br0, ip=10.0.0.2', 'model=e1000' ]`,
    );
    assert.deepEqual(vifs, [{}, { mac: '00:16:3e:01:02:03', bridge: 'br0', ip: '10.0.0.2' }, {}]);
    assert.deepEqual(warnings, [{ line: 1, column: 62, message: 'vif parameter model has no effect here' }]);
  });

  it('knows escapes, appending and lists over lines', () => {
    assert.equal(parse(String.raw`name = "a\"b\\\t\x41\101\n"`).name, 'a"b\\\tAA\n');
    assert.equal(parse('extra = "a"\nextra += " b"').cmdline, 'a b');
    assert.equal(parse(`disk = ['/a,,xvda']\ndisk += ['/b,,xvdb']`).disks.length, 2);
    assert.equal(parse(`disk = [\n\n'/a,,xvda'\n,\n'/b,,xvdb',\n]\n`).disks.length, 2);
    assert.deepEqual(parse('').disks, []);
    assert.equal(parse('\uFEFFname = "bom"\r\nmemory = 64\r\n').memory, 64);
  });

  it('reads event actions', () => {
    const config = parse(
      `on_poweroff='destroy'\non_reboot='restart'\non_crash='preserve'\non_watchdog='rename-restart'\non_soft_reset='soft-reset'`,
    );
    assert.deepEqual(
      [config.onPoweroff, config.onReboot, config.onCrash, config.onWatchdog, config.onSoftReset],
      ['destroy', 'restart', 'preserve', 'rename-restart', 'soft-reset'],
    );
  });

  it('warns of what has no effect, with its place', () => {
    assert.deepEqual(messages('vnc = 1\n  frobnicate = 2\nmemory=1\nmemory=2'), [
      '4:1 memory is set a second time; the value in line 3 is dropped',
      '1:1 vnc has no effect here',
      '2:3 frobnicate is not a setting of xl.cfg(5)',
    ]);
    assert.deepEqual(messages('cmdline="a"\nroot="b"'), ['2:1 root is ignored in favour of cmdline']);
    assert.ok(
      messages('bootloader="pygrub"').some((message) =>
        /1:1 a boot loader of the host cannot be run/.test(message),
      ),
    );
    assert.equal(parse('cmdline="a"\nextra="b"').cmdline, 'a');
  });

  it('gives the line and column of a mistake', () => {
    throwsAt('kernel = vmlinuz', 1, 10, /Quote it: "vmlinuz"/);
    throwsAt('\n\nname = "x', 3, 8, /no closing quote/);
    throwsAt("name = 'x\n'", 1, 8, /no closing quote/);
    throwsAt('disk = [\n "a"', 1, 8, /this list is not closed/);
    throwsAt('a = [1 2]', 1, 8, /expected , or \]/);
    throwsAt('a = [1,,2]', 1, 8, /found ,/);
    throwsAt('name "x"', 1, 6, /expected = after name/);
    throwsAt('= 1', 1, 1, /expected a setting/);
    throwsAt('a = ', 1, 5, /the end of the file/);
    throwsAt('a =\nb = 1', 1, 4, /the end of the line/);
    throwsAt('a = 1 b = 2', 1, 7, /expected the end of the line/);
    throwsAt('a = @', 1, 5, /unexpected character "@"/);
    throwsAt(String.raw`a = "12\q"`, 1, 8, /unknown escape \\q/);
    throwsAt(`a = ${'['.repeat(50)}`, 1, 37, /nested deeper/);
  });

  it('gives the place of a value that cannot be', () => {
    throwsAt('memory = "lots"', 1, 10, /memory is "lots", not a whole number/);
    throwsAt('memory = 12x', 1, 10, /not a whole number/);
    throwsAt('memory = 0', 1, 10, /from 1 to/);
    throwsAt('memory = 99999999999', 1, 10, /from 1 to/);
    throwsAt('vcpus = -1', 1, 9, /vcpus is -1/);
    throwsAt('memory = [1]', 1, 10, /memory is a list/);
    throwsAt('disk = "/a,,xvda"', 1, 8, /disk is not a list/);
    throwsAt('disk = [["/a,,xvda"]]', 1, 9, /takes one value/);
    throwsAt(`disk = ['/a,,xvda',\n '/b,vmdk,xvdb']`, 2, 2, /format vmdk is not one of raw/);
    throwsAt(`disk = ['/b,,xvdb,x']`, 1, 9, /access x/);
    throwsAt(`disk = ['/b']`, 1, 9, /has no vdev/);
    throwsAt(`disk = ['vdev=xvda']`, 1, 9, /has no target/);
    throwsAt(`disk = ['/b,,xvdb,w,more']`, 1, 9, /one value too many, more/);
    throwsAt(`disk = ['colour=red,vdev=xvda,target=/a']`, 1, 9, /unknown parameter colour/);
    throwsAt(`vif = ['mac=12']`, 1, 8, /not a MAC address/);
    throwsAt(`vif = ['up']`, 1, 8, /not key=value/);
    throwsAt(`on_crash = 'explode'`, 1, 12, /must be one of destroy/);
    throwsAt(`type = "hvm"`, 1, 8, /only paravirtualized guests/);
    throwsAt(`builder = "hvm"`, 1, 11, /only paravirtualized guests/);
    throwsAt(`memory = 512\nmaxmem = 256`, 2, 1, /less than memory/);
    throwsAt(`vcpus = 4\nmaxvcpus = 2`, 2, 1, /less than vcpus/);
    throwsAt(`disk = []\ndisk += "x"`, 2, 9, /mixes a list/);
  });
});
