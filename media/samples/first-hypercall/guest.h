/* guest.h: what the files of the guest share. */
#ifndef GUEST_H
#define GUEST_H
#include "hypercall.h"

#define PAGE_SIZE 4096
#define PAGE_ALIGNED __attribute__((aligned(PAGE_SIZE)))
/* The other side of a shared page works at the same time: keep the order of accesses. */
#define barrier() __asm__ volatile("mfence" ::: "memory")

extern struct start_info *start_info;
extern struct shared_info *shared_info;

/* boot.S */
int probe_write(void *va, u64 value); /* 1 if the store faulted */

/* console.c */
void open_console(void);
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *errno_name(long result);

/* traps.c */
void register_traps(void);

/* events.c */
void register_callbacks(void);
void on_event(u32 port, volatile u32 *counter);
void notify(u32 port);
void wait_for_change(volatile u32 *counter, u32 seen);
u64 now(void);
void take_timer_event(void);

/* memory.c */
u64 virt_to_mfn(const void *va);
void *mfn_to_virt(u64 mfn);
long map_machine_frame(void *va, u64 mfn, u64 flags);
void map_shared_info(void);
void build_page_table(void);
void be_refused(void);
void fault_and_recover(void);
void call_several_at_once(void);

/* xenstore.c */
int xenstore_read(const char *path, char *value, u32 size);
int xenstore_write(const char *path, const char *value);
int xenstore_watch(const char *path, const char *token);
int xenstore_unwatch(const char *path, const char *token);
void wait_for_watch(const char *token);
void talk_to_xenstore(void);

/* echo.c */
void set_up_grants(void);
void meet_echo_backend(void);

/* main.c */
int same(const char *a, const char *b);
void format_decimal(char *to, u64 value);
__attribute__((noreturn)) void shut_down(u32 reason);

#endif
