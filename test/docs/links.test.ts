import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

// Links of the documentation lead somewhere: files that are there, headings that the page has. Those to other places
// on the net are not followed.

const root = join(__dirname, '..', '..');
const pages = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'docs', 'media/samples', 'src'].flatMap(
  (name) =>
    statSync(join(root, name)).isDirectory()
      ? readdirSync(join(root, name), { recursive: true, encoding: 'utf8' })
          .filter((file) => file.endsWith('.md'))
          .map((file) => join(root, name, file))
      : [join(root, name)],
);

/** Without what is code, where brackets are no links. */
const prose = (text: string): string => text.replace(/^```[^]*?^```/gm, '').replace(/`[^`\n]*`/g, 'code');

/** Anchors as GitHub and VS Code make them of headings. */
function anchorsOf(text: string): ReadonlySet<string> {
  const found = new Map<string, number>();
  for (const [, heading = ''] of text.replace(/^```[^]*?^```/gm, '').matchAll(/^#{1,6} +(.+)$/gm)) {
    const anchor = heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-');
    const times = found.get(anchor) ?? 0;
    found.set(anchor, times + 1);
    if (times > 0) found.set(`${anchor}-${times}`, 1);
  }
  return new Set([
    ...found.keys(),
    ...[...text.matchAll(/<a (?:id|name)="([^"]+)"/g)].map(([, id = '']) => id),
  ]);
}

/** What does not lead anywhere, of one page. */
function broken(page: string, text: string): string[] {
  const plain = prose(text);
  const inline = [...plain.matchAll(/\]\(<?([^)>\s]+)>?(?: "[^"]*")?\)/g)];
  const references = [...plain.matchAll(/^\[[^\]]+\]: *(\S+)/gm)];
  return [...inline, ...references].flatMap(([, link = '']) => {
    if (/^[a-z]+:/.test(link)) return [];
    const [path = '', anchor] = decodeURI(link).split('#');
    const target = path === '' ? page : join(dirname(page), path);
    if (!existsSync(target)) return [link];
    if (anchor === undefined || !target.endsWith('.md')) return [];
    const headings = anchorsOf(target === page ? text : readFileSync(target, 'utf8'));
    return headings.has(anchor) ? [] : [link];
  });
}

describe('links of the documentation', () => {
  it('there is documentation', () => assert.ok(pages.length > 30, String(pages.length)));
  for (const page of pages) {
    it(relative(root, page), () => assert.deepEqual(broken(page, readFileSync(page, 'utf8')), []));
  }
  it('what leads nowhere is found', () => {
    const text =
      '# One two\n[a](#one-two) [b](#three) [c](nowhere.md) [d](https://x.y) `[e](no.md)`\n[f]: gone.md\n';
    assert.deepEqual(broken(join(root, 'README.md'), text), ['#three', 'nowhere.md', 'gone.md']);
  });
});
