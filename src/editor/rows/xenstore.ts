import type { HyperstepRequests } from '../../dap/protocol';
import type { Changes } from './changes';
import { escapeMarkdown, factTable, parts, type Requester, type Row, type RowModel } from './row';

type Node = NonNullable<HyperstepRequests['hyperstep/xenstore']['body']['node']>;
type Child = Node['children'][number];

export interface StoreRow extends Row {
  /** The node's path. */
  readonly node: string;
  readonly value: string;
}

/** Who may do what (xenstore.txt, GET_PERMS): the owner first. */
const MAY: Readonly<Record<string, string>> = { n: 'nothing', r: 'read', w: 'write', b: 'read and write' };

function permissionText([owner = '', ...others]: readonly string[]): string {
  const of = (text: string): string => `d${text.slice(1)} may ${MAY[text[0] ?? ''] ?? text}`;
  return [`d${owner.slice(1)} owns it`, ...others.map(of), `others may ${MAY[owner[0] ?? ''] ?? owner}`].join(
    ', ',
  );
}

/** A value holds a character a byte: text where it is text, else its bytes. */
export function storeText(value: string): string {
  const bytes = Uint8Array.from(value, (char) => char.charCodeAt(0));
  const end = bytes.at(-1) === 0 ? bytes.length - 1 : bytes.length;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, end));
    // eslint-disable-next-line no-control-regex
    if (!/[\u0000-\u0008\u000b-\u001f\u007f]/.test(text)) return text;
  } catch {
    // Not text.
  }
  return `0x${[...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

/** The other way: what a person typed, a character a byte. */
export const storeValue = (text: string): string => String.fromCharCode(...new TextEncoder().encode(text));

const join = (above: string, name: string): string => (above === '/' ? `/${name}` : `${above}/${name}`);

function row(path: string, { name, value, permissions, watchers, below }: Child, changed: boolean): StoreRow {
  const text = storeText(value);
  const watched = watchers.length === 0 ? '' : `watched by ${watchers.map((one) => `d${one}`).join(', ')}`;
  return {
    id: path,
    node: path,
    value,
    kind: 'store',
    label: name,
    description: parts(text, watched),
    tooltip: factTable(escapeMarkdown(path), [
      ['value', text === '' ? 'empty' : escapeMarkdown(text.slice(0, 1000))],
      ['bytes', `${value.length}`],
      ['permissions', escapeMarkdown(`${permissions.join(' ')}: ${permissionText(permissions)}`)],
      ['watches', watched],
    ]),
    icon: below > 0 ? 'folder' : 'symbol-string',
    accessible: `${name}${text === '' ? '' : `, ${text}`}${watched === '' ? '' : `, ${watched}`}${changed ? ', changed' : ''}`,
    expandable: below > 0,
    changed,
    copy: text,
  };
}

/** The whole of xenstore, as domain 0 sees it. */
export function xenstore(session: Requester, changes: Changes): RowModel<StoreRow> {
  return {
    searchable: true,
    async children(above) {
      const path = above?.node ?? '/';
      const { node } = await session.request<HyperstepRequests['hyperstep/xenstore']['body']>(
        'hyperstep/xenstore',
        { at: path },
      );
      const children = node?.children ?? [];
      const changed = changes.note(path, new Map(children.map(({ name, value }) => [name, value])));
      return [...children]
        .sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }))
        .map((child) => row(join(path, child.name), child, changed.has(child.name)));
    },
  };
}
