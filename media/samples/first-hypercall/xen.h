/* xen.h: the part of Xen's public ABI that this guest uses.
 *
 * Names, numbers and layouts are the ABI's, so that every one of them can be
 * looked up in Xen's public headers (the header is named at each group) and in
 * Hyperstep's hypercall reference. Only what the guest needs is declared.
 */
#ifndef XEN_H
#define XEN_H

/* Notes in the ELF image, by which the guest introduces itself (elfnote.h). */
#define XEN_ELFNOTE_ENTRY               1
#define XEN_ELFNOTE_HYPERCALL_PAGE      2
#define XEN_ELFNOTE_VIRT_BASE           3
#define XEN_ELFNOTE_PADDR_OFFSET        4
#define XEN_ELFNOTE_XEN_VERSION         5
#define XEN_ELFNOTE_GUEST_OS            6
#define XEN_ELFNOTE_GUEST_VERSION       7
#define XEN_ELFNOTE_LOADER              8
#define XEN_ELFNOTE_PAE_MODE            9
#define XEN_ELFNOTE_FEATURES           10
#define XEN_ELFNOTE_HV_START_LOW       12
#define XEN_ELFNOTE_SUPPORTED_FEATURES 17
#define XENFEAT_dom0                   11 /* features.h */

/* Where the image is mapped: virtual address of pseudo-physical frame 0. */
#define VIRT_BASE      0xffffffff80000000
/* The hypervisor's part of every address space begins here (xen-x86_64.h)... */
#define HV_VIRT_START  0xffff800000000000
/* ...with the machine-to-physical table, one 8-byte entry per machine frame. */
#define MACH2PHYS_VIRT_START HV_VIRT_START
/* The flat code selector that Xen keeps in every GDT (xen-x86_64.h). */
#define FLAT_KERNEL_CS 0xe033

#ifndef __ASSEMBLER__

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

#define DOMID_SELF 0x7ff0

/* errno.h: hypercalls return the negated number. */
#define ENOENT  2
#define EINVAL 22

/* xen.h: what the domain builder tells the guest; %rsi points to it at entry. */
struct start_info {
    char magic[32];
    u64 nr_pages;     /* memory of this domain, in 4 KiB frames */
    u64 shared_info;  /* machine address of struct shared_info */
    u32 flags;        /* SIF_* */
    u64 store_mfn;    /* machine frame of the xenstore ring */
    u32 store_evtchn; /* event channel of the xenstore ring */
    u64 console_mfn;  /* machine frame of the console ring (domU) */
    u32 console_evtchn;
    u64 pt_base; /* virtual address of the L4 page table */
    u64 nr_pt_frames;
    u64 mfn_list; /* virtual address of the P2M: machine frame by pseudo-physical frame */
    u64 mod_start, mod_len;
    char cmd_line[1024];
    u64 first_p2m_pfn, nr_p2m_frames;
};
#define SIF_INITDOMAIN 2 /* this is dom0: no PV console ring, nobody to serve xenstore */

/* xen.h: time, per vCPU; the arithmetic is now() in events.c. */
struct vcpu_time_info {
    u32 version; /* odd while Xen is updating */
    u32 pad0;
    u64 tsc_timestamp;
    u64 system_time; /* ns since boot, at tsc_timestamp */
    u32 tsc_to_system_mul;
    signed char tsc_shift;
    u8 flags, pad1[2];
};

struct vcpu_info {
    u8 evtchn_upcall_pending; /* Xen: "there is something for this vCPU" */
    u8 evtchn_upcall_mask;    /* guest: "not now"; PV's interrupt flag */
    u64 evtchn_pending_sel;   /* which words of evtchn_pending to look at */
    u64 cr2;                  /* address of the last page fault */
    u64 pad;
    struct vcpu_time_info time;
};

struct shared_info {
    struct vcpu_info vcpu_info[32];
    u64 evtchn_pending[64]; /* one bit per port */
    u64 evtchn_mask[64];
    u32 wc_version, wc_sec, wc_nsec, wc_sec_hi;
    u64 arch[6];
};

/* xen.h: set_trap_table takes an array of these, ended by address 0. */
struct trap_info {
    u8 vector;
    u8 flags; /* bits 0-1: who may raise it with INT; bit 2: mask events on entry */
    u16 cs;
    u64 address;
};
#define TI_MASK_EVENTS 4

/* callback.h */
#define CALLBACKOP_register   0
#define CALLBACKTYPE_event    0
#define CALLBACKTYPE_failsafe 1
struct callback_register {
    u16 type, flags;
    u64 address;
};

/* Page-table entry bits (SDM vol. 3, 4.5) and the calls that change entries (xen.h). */
#define PTE_PRESENT  0x001
#define PTE_WRITE    0x002
#define PTE_USER     0x004
#define PTE_ACCESSED 0x020
#define PTE_DIRTY    0x040
#define UVMF_INVLPG  2
#define MMU_NORMAL_PT_UPDATE 0
struct mmu_update {
    u64 ptr; /* machine address of the entry; the low two bits choose the command */
    u64 val; /* the entry's new contents */
};
#define MMUEXT_PIN_L1_TABLE     0
#define MMUEXT_UNPIN_TABLE      4
#define MMUEXT_TLB_FLUSH_LOCAL  6
struct mmuext_op {
    u32 cmd;
    u64 mfn; /* or a linear address */
    u64 arg2;
};

/* version.h */
#define XENVER_version      0
#define XENVER_extraversion 1

/* xen.h */
#define CONSOLEIO_write 0
#define VIRQ_TIMER      0
struct multicall_entry {
    u64 op;
    long result;
    u64 args[6];
};

#define VMASST_CMD_enable               0
#define VMASST_TYPE_writable_pagetables 2

/* sched.h */
#define SCHEDOP_yield     0
#define SCHEDOP_block     1
#define SCHEDOP_shutdown  2
#define SHUTDOWN_poweroff 0
#define SHUTDOWN_crash    3

/* vcpu.h */
#define VCPUOP_stop_periodic_timer   7
#define VCPUOP_set_singleshot_timer  8
struct vcpu_set_singleshot_timer {
    u64 timeout_abs_ns; /* in system time */
    u32 flags;
};

/* event_channel.h */
#define EVTCHNOP_bind_virq     1
#define EVTCHNOP_close         3
#define EVTCHNOP_send          4
#define EVTCHNOP_alloc_unbound 6
#define EVTCHNOP_unmask        9
struct evtchn_bind_virq {
    u32 virq, vcpu;
    u32 port; /* out */
};
struct evtchn_alloc_unbound {
    u16 dom, remote_dom;
    u32 port; /* out */
};
struct evtchn_port { /* send, close, unmask */
    u32 port;
};

/* grant_table.h, version 1 */
#define GNTTABOP_setup_table 2
#define GTF_permit_access    1
#define GTF_reading          8
#define GTF_writing         16
#define GNTTAB_NR_RESERVED_ENTRIES 8
struct gnttab_setup_table {
    u16 dom;
    u32 nr_frames;
    short status; /* out: GNTST_* */
    u64 *frame_list; /* out: machine frames of the table */
};
struct grant_entry_v1 {
    u16 flags;
    u16 domid; /* who may map it */
    u32 frame; /* what: a machine frame of ours */
};

/* io/console.h: the console ring. Indices run freely; mask them on use. */
struct xencons_interface {
    char in[1024], out[2048];
    u32 in_cons, in_prod, out_cons, out_prod;
};

/* io/xs_wire.h: the xenstore ring and its messages. */
#define XENSTORE_RING_SIZE 1024
struct xenstore_domain_interface {
    char req[XENSTORE_RING_SIZE], rsp[XENSTORE_RING_SIZE];
    u32 req_cons, req_prod, rsp_cons, rsp_prod;
};
#define XS_READ         2
#define XS_WATCH        4
#define XS_UNWATCH      5
#define XS_WRITE       11
#define XS_WATCH_EVENT 15
#define XS_ERROR       16
struct xsd_sockmsg {
    u32 type, req_id, tx_id, len; /* then len bytes */
};

/* io/xenbus.h: the states of either end of a split device. */
enum xenbus_state {
    XenbusStateInitialising = 1,
    XenbusStateInitWait = 2,
    XenbusStateInitialised = 3,
    XenbusStateConnected = 4,
    XenbusStateClosing = 5,
    XenbusStateClosed = 6,
};

#endif /* !__ASSEMBLER__ */
#endif
