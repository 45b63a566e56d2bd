import { startsWith } from '../base/bytes';
import { ImageError, hex, imageView } from './error';

// Linux's bzImage (Documentation/arch/x86/boot.rst, "The Linux/x86 Boot Protocol").

const SETUP_SECTS = 0x1f1;
const HEADER_MAGIC = 0x202;
const PROTOCOL_VERSION = 0x206;
const KERNEL_VERSION = 0x20e;
const PAYLOAD_OFFSET = 0x248;
const PAYLOAD_LENGTH = 0x24c;
const HDRS = [0x48, 0x64, 0x72, 0x53];
const SECTOR = 512;
/** payload_offset and payload_length came with protocol 2.08 (Linux 2.6.26). */
const PAYLOAD_PROTOCOL = 0x0208;

export interface BzImage {
  /** Boot protocol version, major in the high byte. */
  readonly protocol: number;
  /** Release and build, as in `6.1.0-37-amd64 (…) #1 SMP …`; empty where the header has none. */
  readonly kernelVersion: string;
  /** The kernel proper: compressed, followed by its 32-bit uncompressed length (gzip ends in one of its own). */
  readonly payload: Uint8Array;
  /** Of the payload, in the file. */
  readonly payloadOffset: number;
}

export const isBzImage = (bytes: Uint8Array): boolean => startsWith(bytes, HDRS, HEADER_MAGIC);

/** @throws ImageError for a header that is too old, truncated or lying */
export function readBzImage(bytes: Uint8Array, name: string): BzImage {
  const view = imageView(bytes, `${name}, bzImage header`);
  const protocol = view.u16(PROTOCOL_VERSION);
  if (protocol < PAYLOAD_PROTOCOL) {
    throw new ImageError(
      name,
      'bzImage header, version',
      `boot protocol ${protocol >> 8}.${(protocol & 0xff).toString().padStart(2, '0')} does not say where the payload is (2.08 and later do)`,
      'Give the uncompressed vmlinux',
    );
  }
  const setupSects = view.u8(SETUP_SECTS);
  // For historical reasons zero means four.
  const protectedMode = ((setupSects === 0 ? 4 : setupSects) + 1) * SECTOR;
  const payloadOffset = protectedMode + view.u32(PAYLOAD_OFFSET);
  const length = view.u32(PAYLOAD_LENGTH);
  if (!view.has(payloadOffset, length)) {
    throw new ImageError(
      name,
      'bzImage header, payload_offset and payload_length',
      `${length} bytes at ${hex(payloadOffset)} reach beyond the file's ${bytes.length}: truncated, or a lying header`,
    );
  }
  if (length < 16)
    throw new ImageError(
      name,
      'bzImage header, payload_length',
      `a payload of ${length} bytes holds no kernel`,
    );
  const versionAt = view.u16(KERNEL_VERSION);
  const kernelVersion =
    versionAt === 0 || !view.has(versionAt + SECTOR, 1) ? '' : view.cString(versionAt + SECTOR, 256);
  return { protocol, kernelVersion, payload: view.slice(payloadOffset, length), payloadOffset };
}
