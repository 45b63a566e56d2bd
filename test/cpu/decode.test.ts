import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import {
  DECODE,
  decode,
  formOf,
  instructionLength,
  newDecoded,
  NO_REGISTER,
  RIP_BASE,
} from '../../src/cpu/decode';
import { buildTables } from '../../src/cpu/decode-tables';
import { formsOf, makeForms, parseEncoding } from '../../src/cpu/encoding';
import { FORMS } from '../../src/cpu/instructions/index';
import { readElf, segmentData } from '../../src/guest/elf';
import { compareDecoding, sweep } from '../support/disassembler';
import { guestPath } from '../support/guests';

const bytes = (hex: string): Uint8Array => Uint8Array.from(hex.split(' ').map((b) => parseInt(b, 16)));

function decoded(hex: string): ReturnType<typeof newDecoded> & { readonly mnemonic: string } {
  const b = bytes(hex);
  const d = newDecoded();
  assert.equal(decode(b, 0, b.length, d), b.length, hex);
  return { ...d, mnemonic: formOf(d).mnemonic };
}

describe('decode', () => {
  it('finds registers, with and without REX', () => {
    assert.deepEqual([decoded('00 e1').r1, decoded('00 e1').r2], [16 | 4, 1]); // add cl,ah
    assert.deepEqual([decoded('40 00 e1').r1, decoded('44 00 e1').r1], [4, 12]); // spl, r12b
    assert.equal(decoded('41 57').r1, 15); // push r15
    assert.equal(decoded('b4 01').r1, 16 | 4); // mov ah,1
    assert.equal(decoded('49 0f 6e c1').mnemonic, 'movq');
  });

  it('reads every addressing form', () => {
    const a = decoded('48 8b 84 b3 78 56 34 12'); // mov rax,[rbx+rsi*4+12345678h]
    assert.deepEqual([a.base, a.index, a.shift, a.disp], [3, 6, 2, 0x12345678]);
    const rip = decoded('8b 05 fc ff ff ff');
    assert.deepEqual([rip.base, rip.disp], [RIP_BASE, -4]);
    const absolute = decoded('8b 04 25 00 00 00 80');
    assert.deepEqual([absolute.base, absolute.index, absolute.disp], [NO_REGISTER, NO_REGISTER, -0x80000000]);
    const r12 = decoded('41 8b 04 24');
    assert.deepEqual([r12.base, r12.index, r12.stack], [12, NO_REGISTER, 0]);
    const indexR12 = decoded('42 8b 04 a5 00 00 00 00');
    assert.deepEqual([indexR12.base, indexR12.index], [NO_REGISTER, 12]);
    assert.equal(decoded('8b 45 08').stack, 1);
    assert.equal(decoded('64 8b 45 08').stack, 0);
    assert.equal(decoded('64 2e 8b 45 08').segment, 1, 'null segment prefixes leave fs alone');
    assert.equal(decoded('67 8b 00').address32, 1);
  });

  it('extends immediates', () => {
    const signed = decoded('48 83 c0 ff'); // add rax,-1
    assert.deepEqual([signed.immLo, signed.immHi], [-1, -1]);
    const cut = decoded('66 83 c0 ff');
    assert.deepEqual([cut.immLo, cut.immHi], [0xffff, 0]);
    const movabs = decoded('48 b8 88 77 66 55 44 33 22 91');
    assert.deepEqual([movabs.immLo >>> 0, movabs.immHi >>> 0], [0x55667788, 0x91223344]);
    const enter = decoded('c8 34 12 05');
    assert.deepEqual([enter.immLo, enter.immHi], [0x1234, 5]);
    const moffs = decoded('67 a1 78 56 34 12');
    assert.deepEqual([moffs.immLo, moffs.immHi], [0x12345678, 0]);
  });

  it('keeps to the prefix rules', () => {
    assert.equal(decoded('66 f3 0f 58 c0').mnemonic, 'addss', 'F3 chooses over 66');
    assert.equal(decoded('f2 f3 0f 58 c0').mnemonic, 'addss', 'the last of F2 and F3 counts');
    assert.equal(decoded('48 66 90').mnemonic, 'nop', 'a prefix after REX undoes it');
    assert.equal(decoded('41 90').mnemonic, 'xchg');
    assert.equal(decoded('f3 90').mnemonic, 'pause');
    for (const [hex, why] of [
      ['f0 90', 'LOCK without a memory destination'],
      ['f0 48 01 d8', 'LOCK with a register'],
      ['f0 48 03 03', 'LOCK with a memory source'],
      ['f3 0f 14 c0', 'a prefix the opcode does not have'],
      ['c4 e2 79 18 00', 'VEX'],
      ['62 f1 7c 48 58 c0', 'EVEX'],
      ['8e c8', 'MOV to CS'],
      ['8e f0', 'no segment register 6'],
      ['0f 20 c8', 'no CR1'],
      ['06', 'not in 64-bit mode'],
    ] as const)
      assert.equal(instructionLength(bytes(hex), 0, bytes(hex).length), DECODE.UNDEFINED, `${hex}: ${why}`);
    assert.equal(instructionLength(bytes('f0 48 01 03'), 0, 4), 4);
  });

  it('tells missing bytes from too many', () => {
    const b = bytes('48 81 84 24 00 01 00 00 78 56 34 12'); // add qword [rsp+100h],12345678h
    for (let end = 0; end < b.length; end++)
      assert.equal(instructionLength(b, 0, end), DECODE.MORE, `${end} bytes`);
    assert.equal(instructionLength(b, 0, b.length), b.length);
    const long = (prefixes: number): Uint8Array =>
      Uint8Array.from([...new Array<number>(prefixes).fill(0x66), 0x90, 0x90, 0x90]);
    assert.equal(instructionLength(long(14), 0, 17), 15);
    assert.equal(instructionLength(long(15), 0, 18), DECODE.TOO_LONG);
    assert.equal(instructionLength(long(12), 0, 12), DECODE.MORE);
  });

  it('agrees with the published disassembler on random bytes', function () {
    this.timeout(20_000);
    let seed = 0x2545f491;
    const random = (): number => {
      seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
      return (seed >>> 16) & 0xff;
    };
    const PREFIXES = [0x66, 0xf2, 0xf3, 0x67, 0x64, 0x65, 0x2e, 0xf0];
    for (let n = 0; n < 60_000; n++) {
      const b = Uint8Array.from({ length: 16 }, random);
      let p = 0;
      while (random() < 60) b[p++] = PREFIXES[random() & 7] ?? 0;
      if (random() < 100) b[p++] = 0x40 | (random() & 15);
      if (random() < 150) b[p] = 0x0f;
      const difference = compareDecoding(b, 0, 15);
      assert.equal(difference, undefined, JSON.stringify(difference));
    }
  });

  it('agrees with it over the code of GRUB’s Xen image', function () {
    this.timeout(20_000);
    const path = guestPath('grub', this);
    const elf = readElf(readFileSync(path), path);
    const segment = elf.segments.find((s) => (s.flags & 1) !== 0);
    assert.ok(segment, 'an executable segment');
    const { instructions, differences } = sweep(segmentData(elf, segment).bytes.subarray(0x1000), 60_000);
    assert.ok(instructions > 10_000, `${instructions} instructions`);
    assert.deepEqual(differences, []);
  });
});

describe('encoding grammar', () => {
  const nothing = { mnemonic: 'x', doc: '', semantics: () => undefined };

  it('makes a form for each width and for register and memory', () => {
    const forms = formsOf({ ...nothing, encodings: ['01 /r rmv,rv; lock'] }, 0);
    assert.deepEqual(
      forms.map((f) => [f.w, f.mem, f.lock]),
      [[16, false, false], [16, true, true], [32, false, false], [32, true, true], [64, false, false], [64, true, true]],
    ); // prettier-ignore
    assert.equal(formsOf({ ...nothing, encodings: ['a4 ; rep aw w8'] }, 0).length, 6);
    assert.equal(formsOf({ ...nothing, encodings: ['06 ; i64'] }, 0).length, 0);
  });

  it('refuses what it does not understand, by name', () => {
    assert.throws(() => parseEncoding('01 /r rmv,what'), /unknown operand 'what'/);
    assert.throws(() => parseEncoding('01 /r rmv; sometimes'), /unknown attribute 'sometimes'/);
    assert.throws(() => parseEncoding('0f 01 20'), /mod = 3/);
    assert.throws(() => parseEncoding('/r rmv'), /no opcode/);
  });

  it('refuses two encodings for one place', () => {
    const forms = makeForms([
      { ...nothing, mnemonic: 'one', encodings: ['01 /r rmv,rv'] },
      { ...nothing, mnemonic: 'two', encodings: ['01 /r rm32,r32'] },
    ]);
    assert.throws(() => buildTables(forms), /'two: 01 \/r rm32,r32' and 'one: 01 \/r rmv,rv' overlap/);
  });

  it('numbers the forms in order', () => {
    FORMS.forEach((f, i) => assert.equal(f.number, i));
  });
});
