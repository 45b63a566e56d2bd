/** What a filter can name of every record, for completion and the page about it. */
export const FIELDS: Readonly<Record<string, string>> = {
  name: 'the hypercall: mmu_update, event_channel_op …',
  op: 'its sub-operation: bind_virq …',
  dom: 'number of the domain',
  vcpu: 'number of the virtual CPU in its domain',
  refused: 'it failed with an error',
  errno: 'name of the error: EINVAL, EPERM …',
  reason: 'why it was refused or cut short, in words',
  result: 'what it returned, as a signed number',
  depth: '1 for an entry of a multicall',
  rip: 'the address after the call, in the function that made it: rip in FUNCTION',
  seq: 'number of the record',
  retired: 'instructions that the machine had executed',
  time: 'virtual time in ns; 10us, 1.5ms, 2s can be written',
  cost: "instructions until the same vCPU's next call",
  elapsed: "virtual time until the same vCPU's next call",
};
