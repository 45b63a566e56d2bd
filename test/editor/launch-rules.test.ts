import assert from 'node:assert/strict';
import path from 'node:path';
import { launchProblem, withFolder } from '../../src/editor/launch-rules';

describe('launch rules', () => {
  it('an untrusted workspace boots the bundled sample and nothing it names itself', () => {
    assert.equal(launchProblem({}, false), undefined);
    assert.equal(launchProblem({ stopOnEntry: true, memory: '64M' }, false), undefined);
    assert.match(launchProblem({ kernel: '/k' }, false) ?? '', /not trusted.*\(kernel\)/);
    assert.match(launchProblem({ config: 'a.cfg', ramdisk: 'r' }, false) ?? '', /\(ramdisk, config\)/);
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
});
