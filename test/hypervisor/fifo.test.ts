import assert from 'node:assert/strict';
import {
  EVTCHNOP,
  evtchn_bind_ipi,
  evtchn_close,
  evtchn_expand_array,
  evtchn_fifo_control_block,
  evtchn_init_control,
  evtchn_send,
  evtchn_set_priority,
  evtchn_unmask,
} from '../../src/abi/events';
import { u32, type Type } from '../../src/abi/layout';
import { checkFrames } from '../../src/hypervisor/check';
import { setPending } from '../../src/hypervisor/events';
import { upcallPending } from '../../src/hypervisor/vcpu';
import { SCRATCH, VIRT_BASE, testMachine, type Answer, type TestMachine } from './machine';

const CONTROL = VIRT_BASE + 300n * 4096n;
const ARRAY = VIRT_BASE + 301n * 4096n;
const PENDING = 0x8000_0000;
const MASKED = 0x4000_0000;
const LINKED = 0x2000_0000;

const op = <T>(m: TestMachine, cmd: number, type: Type<T>, value: T): Answer =>
  m.call('event_channel_op', cmd, m.put(type, value));
const word = (m: TestMachine, port: number): number => m.fetch(u32, ARRAY + BigInt(port * 4));
const control = (m: TestMachine): ReturnType<typeof evtchn_fifo_control_block.read> =>
  m.fetch(evtchn_fifo_control_block, CONTROL + 64n);

function initControl(m: TestMachine, offset = 64): Answer {
  const value = {
    control_gfn: BigInt(m.frameOf(CONTROL)),
    offset,
    vcpu: 0,
    link_bits: 0,
    _pad: new Uint8Array(7),
  };
  return op(m, EVTCHNOP.EVTCHNOP_init_control, evtchn_init_control, value);
}
const expand = (m: TestMachine): Answer =>
  op(m, EVTCHNOP.EVTCHNOP_expand_array, evtchn_expand_array, { array_gfn: BigInt(m.frameOf(ARRAY)) });

/** A domain that uses the FIFO, with three unmasked ports of its own: 3, 4 and 5. */
function fifo(): TestMachine {
  const m = testMachine();
  assert.equal(initControl(m).result, 0n);
  assert.equal(m.fetch(evtchn_init_control, SCRATCH).link_bits, 17);
  assert.equal(expand(m).result, 0n);
  for (let i = 0; i < 3; i++) op(m, EVTCHNOP.EVTCHNOP_bind_ipi, evtchn_bind_ipi, { vcpu: 0, port: 0 });
  return m;
}
const send = (m: TestMachine, port: number): Answer => op(m, EVTCHNOP.EVTCHNOP_send, evtchn_send, { port });

describe('FIFO event channels', () => {
  it('queues pending ports behind one another', () => {
    const m = fifo();
    send(m, 3);
    send(m, 5);
    send(m, 3);
    assert.ok(upcallPending(m.core, m.v));
    assert.equal(control(m).ready, 1 << 7);
    assert.equal(control(m).head[7], 3);
    assert.equal(word(m, 3) >>> 0, (PENDING | LINKED | 5) >>> 0);
    assert.equal(word(m, 5) >>> 0, (PENDING | LINKED) >>> 0);
  });

  it('starts a queue anew when the guest has emptied it', () => {
    const m = fifo();
    send(m, 3);
    // What the guest does: take the head, unlink it, clear pending and ready.
    m.put(u32, 0, ARRAY + 12n);
    m.put(u32, 0, CONTROL + 64n);
    send(m, 4);
    assert.equal(control(m).head[7], 4);
    assert.equal(control(m).ready, 1 << 7);
  });

  it('leaves masked ports out until they are unmasked', () => {
    const m = fifo();
    m.put(u32, MASKED, ARRAY + 16n);
    send(m, 4);
    assert.equal(word(m, 4) >>> 0, (PENDING | MASKED) >>> 0);
    assert.equal(control(m).ready, 0);
    op(m, EVTCHNOP.EVTCHNOP_unmask, evtchn_unmask, { port: 4 });
    assert.equal(word(m, 4) >>> 0, (PENDING | LINKED) >>> 0);
    assert.equal(control(m).head[7], 4);
  });

  it('keeps a queue for each priority', () => {
    const m = fifo();
    assert.equal(
      op(m, EVTCHNOP.EVTCHNOP_set_priority, evtchn_set_priority, { port: 4, priority: 0 }).result,
      0n,
    );
    send(m, 3);
    send(m, 4);
    assert.equal(control(m).ready, (1 << 7) | 1);
    assert.deepEqual([control(m).head[0], control(m).head[7]], [4, 3]);
    const bad = op(m, EVTCHNOP.EVTCHNOP_set_priority, evtchn_set_priority, { port: 4, priority: 16 });
    assert.match(bad.reason ?? '', /priority 16: the lowest is 15/);
  });

  it('knows the last of a queue again when its port was closed and is bound anew', () => {
    // As Linux does when it takes a CPU offline and back: the port comes back with its queue.
    const m = fifo();
    const urgent = (): void => {
      op(m, EVTCHNOP.EVTCHNOP_set_priority, evtchn_set_priority, { port: 4, priority: 0 });
      send(m, 4);
      assert.equal(control(m).head[0], 4);
      assert.equal(control(m).ready, 1);
      assert.equal(word(m, 4) >>> 0, (PENDING | LINKED) >>> 0, 'linked to nothing, least of all to itself');
    };
    urgent();
    m.put(u32, 0, ARRAY + 16n);
    m.put(u32, 0, CONTROL + 64n);
    assert.equal(op(m, EVTCHNOP.EVTCHNOP_close, evtchn_close, { port: 4 }).result, 0n);
    op(m, EVTCHNOP.EVTCHNOP_bind_ipi, evtchn_bind_ipi, { vcpu: 0, port: 0 });
    assert.equal(m.fetch(evtchn_bind_ipi, SCRATCH).port, 4);
    urgent();
  });

  it('takes over what was pending, when the word for it comes', () => {
    const m = testMachine();
    setPending(m.core, m.domain, 2);
    initControl(m);
    setPending(m.core, m.domain, 1);
    expand(m);
    assert.equal(word(m, 1) >>> 0, (PENDING | LINKED | 2) >>> 0);
    assert.equal(word(m, 2) >>> 0, (PENDING | LINKED) >>> 0);
  });

  it('refuses what does not fit, and gives the pages back at a reset', () => {
    const m = testMachine();
    assert.equal(expand(m).errno, 'EOPNOTSUPP');
    assert.match(initControl(m, 4090).reason ?? '', /would leave its page/);
    assert.match(initControl(m, 68).reason ?? '', /not aligned/);
    assert.equal(
      op(m, EVTCHNOP.EVTCHNOP_set_priority, evtchn_set_priority, { port: 1, priority: 0 }).errno,
      'ENOSYS',
    );
    assert.equal(initControl(m).result, 0n);
    assert.match(initControl(m).reason ?? '', /has its control block already/);
    assert.equal(expand(m).result, 0n);
    assert.deepEqual(checkFrames(m.core), []);
    assert.equal(m.call('event_channel_op', EVTCHNOP.EVTCHNOP_reset, m.put(u32, 0x7ff0)).result, 0n);
    assert.deepEqual(checkFrames(m.core), []);
    assert.equal(m.domain.state.fifoArray, undefined);
  });
});
