import { Gunzip } from 'fflate';
import { ByteView } from '../../base/bytes';
import { ImageError } from '../error';
import type { Decompressor } from './codec';
import { createSink, fail } from './codec';
import { crc32 } from './crc';

/** Small enough that deflate's ratio (at most 1032 : 1) keeps one step far below the limit. */
const STEP = 1 << 16;

/** RFC 1952. fflate does not check a member's CRC and length, so that is done here, for the last member. */
export const gzip: Decompressor = async (input, context) => {
  const { tools, what } = context;
  const sink = createSink(context, 'gzip stream');
  const write = (chunk: Uint8Array): void => {
    sink.write(chunk);
    tools?.arrived?.(sink.length);
  };
  if (tools?.gunzip !== undefined) {
    await tools.gunzip(input, write).catch((error: unknown) => fail(what, 'gzip stream', error));
    return sink.bytes();
  }
  let memberStart = 0;
  const state = { finished: false };
  const stream = new Gunzip((data, final) => {
    write(data);
    state.finished = final;
  });
  stream.onmember = () => {
    memberStart = sink.length;
  };
  try {
    for (let at = 0; at < input.length; at += STEP) {
      stream.push(input.subarray(at, at + STEP), at + STEP >= input.length);
    }
  } catch (error) {
    fail(context.what, 'gzip stream', error);
  }
  const output = sink.bytes();
  const trailer = new ByteView(input, context.what);
  if (!state.finished || input.length < 18) throw new ImageError(context.what, 'gzip stream', 'truncated');
  const member = output.subarray(memberStart);
  if (
    trailer.u32(input.length - 4) !== member.length >>> 0 ||
    trailer.u32(input.length - 8) !== crc32(member)
  ) {
    throw new ImageError(
      context.what,
      'gzip trailer',
      'its length and CRC-32 do not match the data: damaged or truncated',
    );
  }
  return output;
};
