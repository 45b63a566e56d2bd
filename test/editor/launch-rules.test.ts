import assert from 'node:assert/strict';
import path from 'node:path';
import { fileConfiguration, launchProblem, withFolder } from '../../src/editor/launch-rules';

describe('launch rules', () => {
  it('an untrusted workspace boots the bundled sample and nothing it names itself', () => {
    assert.equal(launchProblem({}, false), undefined);
    assert.equal(launchProblem({ stopOnEntry: true, memory: '64M' }, false), undefined);
    assert.match(launchProblem({ kernel: '/k' }, false) ?? '', /not trusted.*\(kernel\)/);
    assert.match(launchProblem({ config: 'a.cfg', ramdisk: 'r' }, false) ?? '', /\(ramdisk, config\)/);
    assert.match(launchProblem({ disks: ['d.img'] }, false) ?? '', /not trusted.*\(disks\)/);
  });

  it('what is empty or takes nothing is named, with what helps', () => {
    assert.equal(launchProblem({ kernel: '/k', ramdisk: '/r' }, true), undefined);
    assert.equal(launchProblem({ config: '/c', ramdisk: '/r' }, true), undefined);
    assert.match(launchProblem({ kernel: '' }, true) ?? '', /“kernel” is empty/);
    assert.match(launchProblem({ ramdisk: '/r' }, true) ?? '', /no “kernel”.*Add “kernel”/);
  });

  it('relative paths start at the workspace folder', () => {
    const given = { kernel: 'out/k.elf', ramdisk: '/abs/r', memory: 64 };
    assert.deepEqual(withFolder(given, '/ws', path.posix), { kernel: '/ws/out/k.elf' });
    assert.deepEqual(withFolder(given, undefined, path.posix), {});
    assert.deepEqual(withFolder({ kernel: 5 as unknown as string }, '/ws', path.posix), {});
  });

  it('so do the images of disks, wherever among their words they stand', () => {
    const moved: readonly (readonly [string, string])[] = [
      ['a.img', '/ws/a.img'],
      ['sub/a.qcow2,qcow2,xvdb,r', '/ws/sub/a.qcow2,qcow2,xvdb,r'],
      ['/abs.img,raw,xvda', '/abs.img,raw,xvda'],
      ['format=qcow2,vdev=xvda,target=a,b.img', 'format=qcow2,vdev=xvda,target=/ws/a,b.img'],
      ['target=/abs,b.img', 'target=/abs,b.img'],
      ['file:a.img,xvda,w', 'file:a.img,xvda,w'],
      [',,hdc:cdrom,r', ',,hdc:cdrom,r'],
    ];
    const { disks } = withFolder({ disks: moved.map(([given]) => given) }, '/ws', path.posix);
    assert.deepEqual(
      disks,
      moved.map(([, expected]) => expected),
    );
    assert.deepEqual(withFolder({ disks: 5 as unknown as string[] }, '/ws', path.posix), {});
  });

  it('so do the files of each domain, and lists of files', () => {
    const given = {
      config: ['a.cfg', '/b.cfg'],
      domains: [{ kernel: 'k', symbols: ['k.debug'] }, { config: 'c.cfg' }],
    };
    assert.deepEqual(withFolder(given, '/ws', path.posix), {
      config: ['/ws/a.cfg', '/b.cfg'],
      domains: [{ kernel: '/ws/k', symbols: ['/ws/k.debug'] }, { config: '/ws/c.cfg' }],
    });
    assert.match(launchProblem({ domains: [{}, { kernel: 'k' }] }, false) ?? '', /domains\[1\]\.kernel/);
    assert.match(launchProblem({ domains: [{ kernel: '' }] }, true) ?? '', /“domains\[0\]\.kernel” is empty/);
  });

  it('a file of the explorer is a domain or a kernel; Linux is told where to speak', () => {
    assert.deepEqual(fileConfiguration('config', '/ws/guest.cfg', 'guest.cfg'), {
      type: 'hyperstep',
      request: 'launch',
      name: 'guest.cfg',
      config: '/ws/guest.cfg',
    });
    const linux = fileConfiguration('kernel', '/boot/vmlinuz-6.1', 'vmlinuz-6.1');
    assert.match(linux.cmdline ?? '', /console=hvc0/);
    assert.equal(fileConfiguration('kernel', '/ws/mini-os.elf', 'mini-os.elf').cmdline, undefined);
  });
});
