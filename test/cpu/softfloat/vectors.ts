/** The recorded answers of a processor, as text: one line a case, fields in hexadecimal. */
import type { Case } from './cases';

const FIELDS = 8;

/** `name:` lines each followed by cases `a b control r0 r1 mem status extra`. */
export function formatVectors(
  groups: readonly { readonly name: string; readonly cases: readonly Case[] }[],
): string {
  const lines: string[] = [];
  for (const { name, cases } of groups) {
    lines.push(`${name}:`);
    for (const c of cases) {
      if (c.answer === undefined) throw new Error(`${name}: case without an answer`);
      const { r0, r1, mem, status, extra } = c.answer;
      lines.push([c.a, c.b, c.control, r0, r1, mem, status, extra].map((v) => v.toString(16)).join(' '));
    }
  }
  return `${lines.join('\n')}\n`;
}

export function* parseVectors(text: string): Generator<{ readonly name: string; readonly c: Case }> {
  let name = '';
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    if (line.endsWith(':')) {
      name = line.slice(0, -1);
      continue;
    }
    const fields = line.split(' ');
    if (fields.length !== FIELDS)
      throw new Error(`vector for ${name} has ${String(fields.length)} fields: ${line}`);
    const [a = 0n, b = 0n, control = 0n, r0 = 0n, r1 = 0n, mem = 0n, status = 0n, extra = 0n] = fields.map(
      (f) => BigInt(`0x${f}`),
    );
    yield {
      name,
      c: {
        a,
        b,
        control: Number(control),
        answer: { r0, r1, mem, status: Number(status), extra: Number(extra) },
      },
    };
  }
}
