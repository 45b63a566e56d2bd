import assert from 'node:assert/strict';
import { createMessageReader, frameMessage } from '../../src/dap/framing';

interface Read {
  readonly messages: unknown[];
  readonly problems: string[];
}

/** Feeds `bytes` in pieces of `size`. */
function read(bytes: Buffer, size = bytes.length): Read {
  const messages: unknown[] = [];
  const problems: string[] = [];
  const reader = createMessageReader(
    (m) => messages.push(m),
    (p) => problems.push(p),
  );
  for (let at = 0; at < bytes.length; at += size) reader.push(bytes.subarray(at, at + size));
  return { messages, problems };
}

const message = (n: number): object => ({ seq: n, type: 'request', command: 'threads', text: 'ü€😀' });
const good = (n: number): Buffer => frameMessage(message(n));
const raw = (text: string): Buffer => Buffer.from(text, 'utf8');

describe('dap: framing', () => {
  it('reads messages however they are cut', () => {
    const bytes = Buffer.concat([good(1), good(2), good(3)]);
    for (const size of [1, 2, 3, 7, 64, bytes.length]) {
      assert.deepEqual(
        read(bytes, size),
        { messages: [message(1), message(2), message(3)], problems: [] },
        `pieces of ${size}`,
      );
    }
  });

  it('takes other header fields and any case', () => {
    const body = '{"seq":1}';
    const bytes = raw(`Content-Type: application/json\r\ncontent-length:  ${body.length}\r\n\r\n${body}`);
    assert.deepEqual(read(bytes), { messages: [{ seq: 1 }], problems: [] });
  });

  const cases: [name: string, before: Buffer, problem: RegExp, alsoRead?: unknown[]][] = [
    ['garbage before a header', raw('EHLO x\r\nHost: x\r\n\r\n'), /a header without Content-Length/],
    ['a header without its number', raw('Content-Length: many\r\n\r\n'), /without Content-Length/],
    ['a negative length', raw('Content-Length: -5\r\n\r\n'), /without Content-Length/],
    ['an absurd length', raw('Content-Length: 99999999999\r\n\r\n'), /at most 67108864 are read/],
    ['invalid JSON', raw('Content-Length: 5\r\n\r\n{"a":'), /not JSON: "\{\\"a\\":"/],
    ['an empty body', raw('Content-Length: 0\r\n\r\n'), /not JSON/],
    ['a length that is too small', raw('Content-Length: 3\r\n\r\n{"seq":1}'), /not JSON/],
    ['text between messages', raw('stray print\n'), /text before a header/],
    [
      'bytes that are not UTF-8',
      Buffer.concat([raw('Content-Length: 4\r\n\r\n'), Buffer.from([0xff, 0xfe, 0, 1])]),
      /not JSON/,
    ],
    [
      'a length that is too large',
      raw('Content-Length: 30\r\n\r\n{"seq":1}'),
      /wrong Content-Length, 30 instead of 9/,
      [{ seq: 1 }],
    ],
  ];
  for (const [name, before, problem, also = []] of cases) {
    it(`survives ${name}: says so, and reads on`, () => {
      for (const size of [1, 1000]) {
        const { messages, problems } = read(Buffer.concat([before, good(7), good(8)]), size);
        assert.deepEqual(messages, [...also, message(7), message(8)]);
        assert.match(problems.join('\n'), problem);
      }
    });
  }

  it('reads nothing out of what a web page can make a browser send', () => {
    const header = `POST /${'x'.repeat(9000)} HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n`;
    for (const size of [1, 1000, 100_000]) {
      const { messages, problems } = read(Buffer.concat([raw(header), good(7)]), size);
      assert.deepEqual(messages, []);
      assert.deepEqual(problems, ['an HTTP request: nothing more is read from this connection']);
    }
  });

  it('does not collect garbage without end', () => {
    const { messages, problems } = read(
      Buffer.concat([Buffer.alloc(100_000, 0x41), raw('\r\n\r\n'), good(1)]),
      4096,
    );
    assert.deepEqual(messages, [message(1)]);
    assert.match(problems[0] ?? '', /bytes without a message header/);
  });
});
