// An adapter process on standard streams whose machine is the fake one: `node --import tsx fake-adapter.ts`.
import { serveDap } from '../../src/dap/server';
import { createFakeHost } from './fake-host';

void serveDap(createFakeHost(), {});
