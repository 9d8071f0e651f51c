#define _GNU_SOURCE
#include "cmemory.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "csystem.h"

/* glibc's own functions, still reachable under these names when ours replace them. */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

/* Swift's runtime crashes when memory runs out, and some libraries mistake a failed allocation for bad data. So an
 * allocation that fails ends the process. Memory for Argon2 and for secrets is mapped, and checked, elsewhere. */

void *malloc(size_t size) {
  void *memory = __libc_malloc(size);
  if (memory == NULL) tbk_end_exhausted();
  return memory;
}

void *calloc(size_t count, size_t size) {
  void *memory = __libc_calloc(count, size);
  if (memory == NULL) tbk_end_exhausted();
  return memory;
}

void *realloc(void *old, size_t size) {
  void *memory = __libc_realloc(old, size);
  if (memory == NULL && size != 0) tbk_end_exhausted();
  return memory;
}

void *memalign(size_t alignment, size_t size) {
  void *memory = __libc_memalign(alignment, size);
  if (memory == NULL) tbk_end_exhausted();
  return memory;
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **result, size_t alignment, size_t size) {
  if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0) return EINVAL;
  *result = memalign(alignment, size);
  return 0;
}

/* More than any command uses; the option parser uses most. */
static const size_t stack_room = 512 * 1024;
/* Threads of libraries included; getaddrinfo and what it loads use most. The default is the limit of `ulimit -s`. */
static const size_t thread_stack = 1024 * 1024;

static __attribute__((noinline)) void grow_stack(void) {
  volatile char *room = __builtin_alloca(stack_room);
  room[0] = 0;
}

void tbk_prepare_memory(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur < 2 * stack_room) {
    limit.rlim_cur = limit.rlim_max < 2 * stack_room ? limit.rlim_max : 2 * stack_room;
    if (limit.rlim_cur < 2 * stack_room || setrlimit(RLIMIT_STACK, &limit) != 0) tbk_end_exhausted();
  }
  /* A stack that cannot grow would crash later, so grow it now if there is memory. */
  void *room = mmap(NULL, stack_room + 64 * 1024, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) tbk_end_exhausted();
  munmap(room, stack_room + 64 * 1024);
  grow_stack();

  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, thread_stack);
  pthread_setattr_default_np(&attributes);
  pthread_attr_destroy(&attributes);
  /* Each thread's own heap reserves 64 MiB of address space. */
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) mallopt(M_ARENA_MAX, 1);
}
