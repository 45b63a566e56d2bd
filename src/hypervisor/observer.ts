/**
 * How the machine looks over the hypervisor's shoulder. Every callback runs inside `handleExit` or
 * `deliverPending`; one that returns true makes the vCPU hold there (see `Held`) until `resume`.
 */
import type { Call, Fault, ShutdownReason } from './state';
import type { Domain, GuestVcpu } from './types';

export interface Observer {
  /** Before the handler runs; the arguments can be decoded with `Hypervisor.view`. */
  hypercallEntry?(vcpu: GuestVcpu, call: Call): boolean;
  /** After the handler ran and rax (or the multicall entry's result) was written. */
  hypercallReturn?(vcpu: GuestVcpu, call: Call): boolean;
  /** Before an exception is bounced to the guest's handler: registers are those of the faulting instruction. */
  fault?(vcpu: GuestVcpu, fault: Fault): boolean;
  /** Before an instruction that needs privilege is emulated: `text` says what it does, to whoever asks. */
  privileged?(vcpu: GuestVcpu, mnemonic: string, text: () => string): boolean;
  /** Before an event upcall is made. */
  upcall?(vcpu: GuestVcpu): boolean;
  /** A port of the domain has become pending, whoever sent the event. Cannot hold. */
  pending?(domain: Domain, port: number): void;
  /** The domain is gone: it crashed or asked to be shut down. Cannot hold. */
  shutdown?(domain: Domain, reason: ShutdownReason, text: string): void;
}

/** Takes one record for each completed hypercall. The record is reused: copy what is to be kept. */
export interface TraceSink {
  hypercall(vcpu: GuestVcpu, call: Call): void;
  /** Counts of trapped work: 'in', 'rdmsr', 'page-fault', 'event-upcall', … */
  trap(vcpu: GuestVcpu, name: string): void;
}
