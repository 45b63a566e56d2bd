import assert from 'node:assert/strict';
import { createLog } from '../../src/base/log';

describe('base/log', () => {
  it('drops what is below the threshold and names the source', () => {
    const lines: string[] = [];
    const log = createLog(
      (level, source, message) => lines.push(`${level} ${source}: ${message}`),
      'machine',
    );
    log.debug('not this');
    log.child('xenstore').warn('this');
    log.error('and this');
    assert.deepEqual(lines, ['warn machine/xenstore: this', 'error machine: and this']);
  });
});
