// A multiboot kernel in v86, its first serial port on standard output: `node v86.mjs BUILD-FOLDER KERNEL`.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, kernel] = process.argv.slice(2);
const { V86 } = await import(pathToFileURL(join(folder, 'libv86.mjs')));
const machine = new V86({
  wasm_path: join(folder, 'v86.wasm'),
  memory_size: 64 << 20,
  multiboot: { buffer: new Uint8Array(readFileSync(kernel)).buffer },
  autostart: true,
  disable_keyboard: true,
  disable_mouse: true,
  disable_speaker: true,
});
machine.add_listener('serial0-output-byte', (byte) => process.stdout.write(String.fromCharCode(byte)));
