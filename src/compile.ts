// A thread that compiles regions for others. Wiring only.
import { workerData } from 'node:worker_threads';
import { serveCompiler } from './host/compiler-thread';
import type { CompilingData } from './host/compiler';

serveCompiler(workerData as CompilingData);
