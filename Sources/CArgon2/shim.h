#pragma once
#include <argon2.h>
#include <sys/mman.h>

/* mmap lets a lack of memory be reported, and keeps the memory out of core dumps. Pages of 2 MiB, if available, save a
 * third of the processor time, because the blocks are read in random order. libargon2 wipes the memory. */
static inline int tbk_argon2_allocate(uint8_t **memory, size_t length) {
  void *mapped = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *memory = mapped == MAP_FAILED ? NULL : mapped;
  if (*memory == NULL) return ARGON2_MEMORY_ALLOCATION_ERROR;
  madvise(mapped, length, 16 /* MADV_DONTDUMP */);
  madvise(mapped, length, 14 /* MADV_HUGEPAGE */);
  return ARGON2_OK;
}

static inline void tbk_argon2_free(uint8_t *memory, size_t length) { munmap(memory, length); }

/* Argon2id, version 1.3. With threads == 1 no thread is created. After ARGON2_THREAD_FAIL the process must end: the
 * threads that were created still use memory that has been unmapped. */
static inline int tbk_argon2id(uint32_t passes, uint32_t memory, uint32_t lanes, uint32_t threads,
                               const void *password, uint32_t password_length, const void *salt,
                               uint32_t salt_length, void *key, uint32_t key_length) {
  argon2_context context = {
      .out = key,
      .outlen = key_length,
      .pwd = (uint8_t *)password,
      .pwdlen = password_length,
      .salt = (uint8_t *)salt,
      .saltlen = salt_length,
      .t_cost = passes,
      .m_cost = memory,
      .lanes = lanes,
      .threads = threads,
      .version = ARGON2_VERSION_13,
      .allocate_cbk = tbk_argon2_allocate,
      .free_cbk = tbk_argon2_free,
      .flags = ARGON2_DEFAULT_FLAGS,
  };
  return argon2_ctx(&context, Argon2_id);
}
