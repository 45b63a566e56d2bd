// The base protocol's framing: `Content-Length: N`, an empty line, N bytes of JSON. A reader that survives all
// that is not that: what cannot be understood is reported and dropped, and reading goes on at the next header.

export interface MessageReader {
  push(chunk: Uint8Array): void;
}

const SEPARATOR = Buffer.from('\r\n\r\n');
const HEADER = /Content-Length:[ \t]*(\d{1,12})[ \t]*(?:\r\n|$)/gi;
/** A header this long is none. */
const MAX_HEADER = 8192;
/** A web page can make a browser send one of these to a port of this computer; its body is not to be obeyed. */
const HTTP_REQUEST = /^[A-Z]{3,7} \//;
/** The largest message of the protocol is a memory write; editors send far less. */
const MAX_BODY = 64 * 2 ** 20;

const header = (length: number): string => `Content-Length: ${length}\r\n\r\n`;

export function frameMessage(message: unknown): Buffer {
  const body = Buffer.from(JSON.stringify(message), 'utf8');
  return Buffer.concat([Buffer.from(header(body.length), 'ascii'), body]);
}

/**
 * @param deliver a JSON value, of whatever form
 * @param malformed what was dropped, for the user to read
 */
export function createMessageReader(
  deliver: (message: unknown) => void,
  malformed: (problem: string) => void,
): MessageReader {
  let data = Buffer.alloc(0);
  let expected: number | undefined;
  let begun = false;
  let refused = false;

  /** @returns whether there may be more to do */
  const readHeader = (): boolean => {
    const end = data.indexOf(SEPARATOR);
    if (end === -1) {
      if (data.length > MAX_HEADER) {
        malformed(`${data.length} bytes without a message header`);
        data = data.subarray(-64);
      }
      return false;
    }
    const text = data.toString('latin1', 0, end);
    data = data.subarray(end + SEPARATOR.length);
    // The last one: what precedes it may be the end of a message whose length was wrong.
    const found = [...text.matchAll(HEADER)].at(-1);
    if (found === undefined) {
      malformed(`a header without Content-Length: ${excerpt(text)}`);
      return true;
    }
    const before = text.slice(0, found.index);
    if (before.trim() !== '' && !/^([\w-]+:[^\r\n]*\r\n)+$/.test(before))
      malformed(`text before a header: ${excerpt(before)}`);
    const length = Number(found[1]);
    if (length > MAX_BODY) malformed(`a message of ${length} bytes; at most ${MAX_BODY} are read`);
    else expected = length;
    return true;
  };

  const readBody = (length: number): boolean => {
    if (data.length < length) return false;
    const body = data.subarray(0, length);
    expected = undefined;
    const parsed = parse(body);
    if (parsed !== undefined) {
      data = data.subarray(length);
      deliver(parsed.value);
      return true;
    }
    // A length that was too large has swallowed the start of the next message.
    const next = body.indexOf('Content-Length:', 1);
    const own = next === -1 ? undefined : parse(body.subarray(0, next));
    if (own === undefined) malformed(`a message that is not JSON: ${excerpt(body.toString('utf8'))}`);
    else {
      malformed(`a message with a wrong Content-Length, ${length} instead of ${next}`);
      deliver(own.value);
    }
    data = data.subarray(next === -1 ? length : next);
    return true;
  };

  return {
    push: (chunk) => {
      if (refused) return;
      data = data.length === 0 ? Buffer.from(chunk) : Buffer.concat([data, chunk]);
      if (!begun && data.length >= 9) {
        begun = true;
        refused = HTTP_REQUEST.test(data.toString('latin1', 0, 9));
        if (refused) {
          malformed('an HTTP request: nothing more is read from this connection');
          return;
        }
      }
      while (expected === undefined ? readHeader() : readBody(expected));
    },
  };
}

function parse(body: Buffer): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(body.toString('utf8')) as unknown };
  } catch {
    return undefined;
  }
}

const excerpt = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}…` : text);
