import assert from 'node:assert/strict';
import { createWriteStream, readFileSync } from 'node:fs';
import { once } from 'node:events';

const NUMBERS = /^\{"seq":\d+,"retired":"(0x[0-9a-f]+)","time":"(0x[0-9a-f]+)"/;

/**
 * Makes a long trace of a real one (NDJSON), which comes again and again with its times shifted.
 *
 * @returns how many records were written
 */
export async function repeat(from: string, to: string, wanted: number): Promise<number> {
  const [head = '', ...lines] = readFileSync(from, 'utf8').trimEnd().split('\n');
  assert.match(head, /^\{"hyperstep":"trace"/, `${from} is no trace of this version`);
  const parts = lines.map((line) => {
    const [all, retired = '0x0', time = '0x0'] = NUMBERS.exec(line) ?? assert.fail(`not a record: ${line}`);
    return { retired: Number(retired), time: Number(time), rest: line.slice(all.length) };
  });
  const last = parts.at(-1);
  assert.ok(last !== undefined);
  const out = createWriteStream(to);
  out.write(`${head}\n`);
  for (let n = 0; n < wanted;) {
    const round = Math.floor(n / parts.length);
    const some = parts.slice(n % parts.length, (n % parts.length) + Math.min(4096, wanted - n));
    const text = some.map(({ retired, time, rest }, i) => {
      const shifted = [retired + round * (last.retired + 1), time + round * (last.time + 1)];
      const [a = '', b = ''] = shifted.map((x) => x.toString(16));
      return `{"seq":${n + i},"retired":"0x${a}","time":"0x${b}"${rest}\n`;
    });
    if (!out.write(text.join(''))) await once(out, 'drain');
    n += some.length;
  }
  out.end();
  await once(out, 'close');
  return wanted;
}
