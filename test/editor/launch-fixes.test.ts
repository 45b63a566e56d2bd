import assert from 'node:assert/strict';
import { FIX_COMMAND, fixFor, withFix } from '../../src/editor/launch-fixes';

const refused = (message: string, command = 'launch') => ({
  type: 'response',
  command,
  success: false,
  message,
  body: { error: { id: 1, format: '{_text}', showUser: true } },
});

describe('a launch that failed', () => {
  it('offers another file for the argument that it is about', () => {
    const cases: readonly (readonly [string, string | undefined])[] = [
      ["kernel: cannot read '/k': ENOENT", 'kernel'],
      ["ramdisk: cannot read '/r': ENOENT", 'ramdisk'],
      ["config: cannot read '/c': ENOENT", 'config'],
      ['vmlinux is a 32-bit x86 image; only 64-bit paravirtualized kernels run here', 'kernel'],
      ["memory: 'lots' is not a size", undefined],
    ];
    for (const [message, argument] of cases) assert.equal(fixFor(message)?.argument, argument, message);
  });

  it('by a link to a command in the error, and nothing else of the message is touched', () => {
    const before = refused("kernel: cannot read '/k': ENOENT");
    const after = withFix(before) as typeof before & { body: { error: { url?: string; urlLabel?: string } } };
    assert.equal(after.body.error.urlLabel, 'Choose a Kernel…');
    assert.equal(decodeURIComponent(after.body.error.url ?? ''), `command:${FIX_COMMAND}?["kernel"]`);
    assert.equal(after.message, before.message);
    assert.equal(after.body.error.format, '{_text}');
    for (const other of [refused('kernel: cannot read', 'restart'), refused('cancelled'), { type: 'event' }])
      assert.equal(withFix(other), other);
  });
});
