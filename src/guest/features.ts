/** XENFEAT_* bit numbers (xen/features.h), by the names that the FEATURES note uses. */
export const xenFeatures = {
  writable_page_tables: 0,
  writable_descriptor_tables: 1,
  auto_translated_physmap: 2,
  supervisor_mode_kernel: 3,
  pae_pgdir_above_4gb: 4,
  mmu_pt_update_preserve_ad: 5,
  highmem_assist: 6,
  gnttab_map_avail_bits: 7,
  hvm_callback_vector: 8,
  hvm_safe_pvclock: 9,
  hvm_pirqs: 10,
  dom0: 11,
  grant_map_identity: 12,
  memory_op_vnode_supported: 13,
  ARM_SMCCC_supported: 14,
  linux_rsdp_unrestricted: 15,
  not_direct_mapped: 16,
  direct_mapped: 17,
} as const;

export type XenFeature = keyof typeof xenFeatures;

/** What a FEATURES string says, as masks of XENFEAT_* bits. A required feature is a supported one, too. */
export interface FeatureRequest {
  readonly supported: number;
  readonly required: number;
  /** Names that xen/features.h does not have, and that the kernel can do without. */
  readonly unknown: readonly string[];
  /** The same, marked as required: such a kernel cannot be started. */
  readonly unknownRequired: readonly string[];
}

const isFeature = (name: string): name is XenFeature => Object.hasOwn(xenFeatures, name);

/** Names separated by '|', a required one preceded by '!' (xen/elfnote.h, XEN_ELFNOTE_FEATURES). */
export function parseFeatures(text: string): FeatureRequest {
  let supported = 0;
  let required = 0;
  const unknown: string[] = [];
  const unknownRequired: string[] = [];
  for (const item of text.split('|')) {
    if (item === '') continue;
    const needed = item.startsWith('!');
    const name = needed ? item.slice(1) : item;
    if (!isFeature(name)) {
      (needed ? unknownRequired : unknown).push(name);
      continue;
    }
    const bit = 2 ** xenFeatures[name];
    supported |= bit;
    if (needed) required |= bit;
  }
  return { supported: supported >>> 0, required: required >>> 0, unknown, unknownRequired };
}

/** Names of the bits set in a mask, in bit order; a bit without a name as its number. */
export function featureNames(mask: number): string[] {
  const names = new Map<number, string>(Object.entries(xenFeatures).map(([name, bit]) => [bit, name]));
  return Array.from({ length: 32 }, (_, bit) => bit)
    .filter((bit) => ((mask >>> bit) & 1) !== 0)
    .map((bit) => names.get(bit) ?? `bit ${bit}`);
}
