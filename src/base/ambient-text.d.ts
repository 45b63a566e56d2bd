// The one part of the Encoding Standard that the core uses. Only tsconfig.core.json sees this file: Node's
// types declare the same two constructors (as values, not as types: write `new TextDecoder()`, and do not name
// the type).

declare class TextDecoder {
  constructor(label?: 'utf-8' | 'latin1' | 'ascii', options?: { fatal?: boolean; ignoreBOM?: boolean });
  decode(input?: ArrayBufferView | ArrayBuffer): string;
}

declare class TextEncoder {
  encode(input?: string): Uint8Array<ArrayBuffer>;
}
