import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { zipSync } from 'fflate';

/** What the probe extension wrote of one window's extension process over some time. */
export interface Fared {
  /** How late its event loop was at worst in each quarter of a second, in ms, ascending. */
  readonly late: readonly number[];
  /** Resident bytes at most; the machine is in a worker thread of this process. */
  readonly rss: number;
}

interface Line {
  readonly time: number;
  readonly pid: number;
  readonly lateMs: number;
  readonly rss: number;
}

const folder = path.join(__dirname, 'probe');

/** Packs the probe as an extension that can be installed beside the one that is tested. */
export function packProbe(file: string): void {
  const text = (name: string): Uint8Array => readFileSync(path.join(folder, name));
  const { name, publisher, version } = JSON.parse(Buffer.from(text('package.json')).toString()) as Readonly<
    Record<string, string>
  >;
  const manifest = `<?xml version="1.0" encoding="utf-8"?>
<PackageManifest Version="2.0.0" xmlns="http://schemas.microsoft.com/developer/vsx-schema/2011">
<Metadata><Identity Language="en-US" Id="${name}" Version="${version}" Publisher="${publisher}"/>
<DisplayName>${name}</DisplayName><Description>${name}</Description></Metadata>
<Installation><InstallationTarget Id="Microsoft.VisualStudio.Code"/></Installation><Dependencies/>
<Assets><Asset Type="Microsoft.VisualStudio.Code.Manifest" Path="extension/package.json" Addressable="true"/></Assets>
</PackageManifest>`;
  const types = `<?xml version="1.0" encoding="utf-8"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="json" ContentType="application/json"/>
<Default Extension="cjs" ContentType="application/javascript"/>
<Default Extension="vsixmanifest" ContentType="text/xml"/>
</Types>`;
  writeFileSync(
    file,
    zipSync({
      'extension.vsixmanifest': Buffer.from(manifest),
      '[Content_Types].xml': Buffer.from(types),
      'extension/package.json': text('package.json'),
      'extension/probe.cjs': text('probe.cjs'),
    }),
  );
}

/** @param home the server's; @param since Date.now() when what is asked about began */
export function fared(home: string, since: number): Fared {
  const lines = readFileSync(path.join(home, 'probe.ndjson'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
    .filter(({ time }) => time > since);
  // Of windows that were there at once, the one that was opened last.
  const pid = lines.at(-1)?.pid;
  const own = lines.filter((line) => line.pid === pid);
  return {
    late: own.map(({ lateMs }) => lateMs).sort((a, b) => a - b),
    rss: Math.max(0, ...own.map(({ rss }) => rss)),
  };
}
