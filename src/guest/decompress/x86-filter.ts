const NONE = new Uint32Array(0);

/**
 * Undoes xz's x86 branch filter ("BCJ x86", .xz format 1.2.1 §5.3.2) in place, as the bytes come.
 *
 * Before compression, the filter turned the relative targets of CALL and JMP rel32 (E8, E9) into absolute
 * ones, where the target's top byte is 00 or FF. Opcode-like bytes inside the four bytes after another
 * candidate make it ambiguous which bytes are an operand; `recent` remembers, as a bit per byte, candidates
 * passed over lately, and decides as the encoder did.
 *
 * @param data where the whole of it comes to lie
 * @returns what is told how many bytes are there, each time more than before, and says how many are as they stay;
 * at the end the last four are, too
 */
export function x86FilterUndo(data: Uint8Array, startOffset = 0): (there: number) => number {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const words =
    data.byteOffset % 4 === 0 ? new Uint32Array(data.buffer, data.byteOffset, data.length >>> 2) : NONE;
  let recent = 0;
  let previous = -5;
  let at = 0;
  return (there) => {
    const last = there - 5;
    for (; at <= last; at++) {
      if ((at & 3) === 0) {
        // Most of four bytes at once have no opcode among them: a byte of `other` is zero for an opcode alone.
        for (; at < last - 3; at += 4) {
          const other = ((words[at >> 2] ?? 0xe8) ^ 0xe8e8_e8e8) & 0xfefe_fefe;
          if (((other - 0x0101_0101) & ~other & 0x8080_8080) !== 0) break;
        }
      }
      if (((data[at] ?? 0) & 0xfe) !== 0xe8) continue;
      const distance = at - previous;
      previous = at;
      if (distance > 3) {
        recent = 0;
      } else {
        recent = (recent << (distance - 1)) & 7;
        if (recent !== 0) {
          const inside = 4 - overlap(recent);
          if (!decidable(recent) || isSignByte(view.getUint8(at + inside))) {
            recent = (recent << 1) | 1;
            continue;
          }
        }
      }
      if (!isSignByte(view.getUint8(at + 4))) {
        recent = (recent << 1) | 1;
        continue;
      }
      let absolute = view.getUint32(at + 1, true);
      let relative: number;
      for (;;) {
        relative = (absolute - (startOffset + at + 5)) | 0;
        if (recent === 0) break;
        const bits = overlap(recent) * 8;
        if (!isSignByte((relative >>> (24 - bits)) & 0xff)) break;
        absolute = relative ^ (2 ** (32 - bits) - 1);
      }
      // The operand is a 25-bit signed number.
      view.setInt32(at + 1, (relative << 7) >> 7, true);
      at += 4;
      // The operand's bytes count as passed, so the next candidate's distance starts from the opcode.
      recent = 0;
    }
    return at;
  };
}

const isSignByte = (byte: number): boolean => byte === 0 || byte === 0xff;
/** How many operand bytes the nearest passed-over candidate shares with this one. */
const overlap = (recent: number): number => (recent >= 4 ? 3 : recent >= 2 ? 2 : recent);
/** More than one passed-over candidate leaves it open: then the encoder did not convert. */
const decidable = (recent: number): boolean => recent === 1 || recent === 2 || recent === 4;
