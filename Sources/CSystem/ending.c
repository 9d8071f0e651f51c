/* Ends the process when it cannot unwind: it has run out of a resource, or a second signal came. Except for
 * tbk_begin_stage and tbk_note_stage, any thread or signal handler may call these functions, and they need no
 * memory. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "csystem.h"

enum { vacant, changing, temporary, output };
static struct {
  atomic_int state;
  int descriptor;
  int64_t start;
  char name[64];
} unfinished[64];

static int claim(int descriptor) {
  for (int place = 0; place < (int)(sizeof unfinished / sizeof *unfinished); place++) {
    int expected = vacant;
    if (atomic_compare_exchange_strong(&unfinished[place].state, &expected, changing)) {
      unfinished[place].descriptor = descriptor;
      return place;
    }
  }
  return -1;
}

int tbk_note_temporary(int directory, const char *name) {
  size_t length = strlen(name);
  if (length >= sizeof unfinished->name) return -1;
  int place = claim(directory);
  if (place < 0) return -1;
  memcpy(unfinished[place].name, name, length + 1);
  atomic_store(&unfinished[place].state, temporary);
  return place;
}

int tbk_note_output(int file, int64_t start) {
  int place = claim(file);
  if (place < 0) return -1;
  unfinished[place].start = start;
  atomic_store(&unfinished[place].state, output);
  return place;
}

void tbk_forget_unfinished(int place) {
  if (place >= 0) atomic_store(&unfinished[place].state, vacant);
}

void tbk_remove_unfinished(void) {
  int number = errno;
  for (int place = 0; place < (int)(sizeof unfinished / sizeof *unfinished); place++) {
    int state = atomic_load(&unfinished[place].state);
    if (state == temporary) unlinkat(unfinished[place].descriptor, unfinished[place].name, 0);
    /* If that fails, nothing can be done. */
    if (state == output && ftruncate(unfinished[place].descriptor, unfinished[place].start) != 0) continue;
  }
  errno = number;
}

static int stage = -1;
/* One line with the reason why the process fails, for the process that started it. */
static char *note;
static size_t note_length;

int tbk_begin_stage(const char *path) {
  char text[32];
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return -1;
  int length = snprintf(text, sizeof text, "pid %ld\n", (long)getpid());
  if (write(file, text, (size_t)length) != length) return -1;
  stage = file;
  /* A process that ends all stages creates the mark before it reads their process IDs, so either it or we see the
   * other. */
  size_t folder = strlen(path);
  while (folder > 0 && path[folder - 1] != '/') folder--;
  static const char mark[] = "ending";
  char name[PATH_MAX];
  if (folder + sizeof mark > sizeof name) return 0;
  memcpy(name, path, folder);
  memcpy(name + folder, mark, sizeof mark);
  if (access(name, F_OK) == 0) tbk_end(128 + SIGTERM);
  return 0;
}

int tbk_note_stage(const char *text, size_t length) {
  if (stage < 0) return 0;
  if (note != NULL) return 1;
  note = malloc(length);
  if (note == NULL) return 0;
  memcpy(note, text, length);
  note_length = length;
  return 1;
}

void tbk_end_stage(int status) {
  if (stage < 0) return;
  char text[4];
  size_t length = sizeof text;
  text[--length] = '\n';
  unsigned number = (unsigned)status & 255;
  do {
    text[--length] = (char)('0' + number % 10);
    number /= 10;
  } while (number > 0);
  /* Overwriting needs no disk space. Readers at this moment read only one line. */
  ssize_t size = (ssize_t)(sizeof text - length);
  if (pwrite(stage, text + length, (size_t)size, 0) != size || ftruncate(stage, size) != 0) return;
  if (note == NULL) return;
  if (pwrite(stage, note, note_length, size) != (ssize_t)note_length && ftruncate(stage, size) != 0) return;
}

void tbk_end(int status) {
  tbk_end_stage(status);
  _exit(status);
}

static char report[1024];
static size_t report_length;
static int report_status = 75;

void tbk_set_exhausted(const char *text, size_t length, int status) {
  report_length = length < sizeof report ? length : sizeof report - 1;
  memcpy(report, text, report_length);
  report_status = status;
}

static void put(const char *text, size_t length) {
  while (length > 0) {
    ssize_t count = write(2, text, length);
    if (count <= 0) return;
    text += count;
    length -= (size_t)count;
  }
}

void tbk_end_exhausted(void) {
  if (report_length > 0) {
    if (stage >= 0 && report[0] == '{') {
      note = report;
      note_length = report_length;
    } else {
      put(report, report_length);
    }
  } else {
    static const char text[] = ": error: out of memory\n";
    put(program_invocation_short_name, strlen(program_invocation_short_name));
    put(text, sizeof text - 1);
  }
  tbk_remove_unfinished();
  tbk_end(report_status);
}
