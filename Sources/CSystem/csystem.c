#define _GNU_SOURCE
#include "csystem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

const int tbk_o_path = O_PATH;
const int tbk_o_noatime = O_NOATIME;
const int tbk_o_tmpfile = O_TMPFILE;

int tbk_openat(int directory, const char *path, int flags, unsigned int mode) {
  return openat(directory, path, flags, mode);
}

int tbk_rename_noreplace(int old_directory, const char *old_path, int new_directory, const char *new_path) {
  return renameat2(old_directory, old_path, new_directory, new_path, RENAME_NOREPLACE);
}

int tbk_link_descriptor(int descriptor, int directory, const char *name) {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
  return linkat(AT_FDCWD, path, directory, name, AT_SYMLINK_FOLLOW);
}

DIR *tbk_list(int directory) {
  int again = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (again < 0) return NULL;
  DIR *stream = fdopendir(again);
  if (stream == NULL) {
    int number = errno;
    close(again);
    errno = number;
  }
  return stream;
}

int tbk_readdir(DIR *stream, const char **name, uint64_t *inode, unsigned char *type) {
  for (;;) {
    errno = 0;
    struct dirent *entry = readdir(stream);
    if (entry == NULL) return errno == 0 ? 0 : -1;
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    *name = entry->d_name;
    *inode = entry->d_ino;
    *type = entry->d_type;
    return 1;
  }
}

int tbk_terminal_columns(int descriptor) {
  struct winsize size;
  if (!isatty(descriptor)) return 0;
  if (ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

int64_t tbk_free_bytes(int descriptor) {
  struct statvfs status;
  if (fstatvfs(descriptor, &status) != 0) return -1;
  __uint128_t bytes = (__uint128_t)status.f_bavail * status.f_frsize;
  return bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes;
}

void tbk_protect_process(void) {
  struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

void tbk_wipe(void *memory, size_t length) { explicit_bzero(memory, length); }

/* glibc passes main's arguments to constructors too. */
static int argument_count;
static char **arguments;

__attribute__((constructor)) static void keep_arguments(int count, char **values) {
  argument_count = count;
  arguments = values;
}

const char *tbk_argument(int index) { return index < argument_count ? arguments[index] : NULL; }

const char *tbk_executed_path(void) { return (const char *)getauxval(AT_EXECFN); }

void tbk_hold_standard_streams(void) {
  for (int number = 0; number < 3; number++) {
    if (fcntl(number, F_GETFD) >= 0 || errno != EBADF) continue;
    /* open returns this number, because those below it are already open. */
    open("/dev/null", number == 0 ? O_WRONLY : O_RDONLY);
  }
}

void tbk_raise_file_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  rlim_t wanted = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = wanted;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int tbk_signal_is_ignored(int signal_number) {
  struct sigaction action;
  return sigaction(signal_number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

int tbk_reserve(int descriptor, int64_t length) { return fallocate(descriptor, FALLOC_FL_KEEP_SIZE, 0, length); }

int tbk_handle_signal(int signal_number, void (*handler)(int)) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  return sigaction(signal_number, &action, NULL);
}

int tbk_ignore_signal(int signal_number) { return tbk_handle_signal(signal_number, SIG_IGN); }

int tbk_default_signal(int signal_number) { return tbk_handle_signal(signal_number, SIG_DFL); }

void tbk_leave_time_to_end(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_CPU, &limit) != 0 || limit.rlim_cur != limit.rlim_max) return;
  if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur < 2) return;
  limit.rlim_cur--;
  setrlimit(RLIMIT_CPU, &limit);
}

void tbk_start_nudging(void) {
  struct itimerval timer = {{0, 50000}, {0, 50000}};
  setitimer(ITIMER_REAL, &timer, NULL);
}

void tbk_block_signals(void) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, NULL);
}

void tbk_advise_sequential(int descriptor) { posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL); }

int tbk_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

static void close_from(int lowest, int highest) {
#ifdef SYS_close_range
  if (syscall(SYS_close_range, lowest, ~0U, 0) == 0) return;
#endif
  for (int number = lowest; number < highest; number++) close(number);
}

int tbk_become(char *const arguments[], char *const environment[]) {
  struct rlimit limit;
  close_from(3, getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (int)limit.rlim_cur : 65536);
  for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
  execvpe(arguments[0], arguments, environment);
  return errno;
}

int tbk_spawn(const char *path, char *const arguments[], char *const environment[], int input, int output,
              int errors, pid_t *child) {
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return errno;
  struct rlimit limit;
  int highest = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (int)limit.rlim_cur : 65536;
  pid_t parent = getpid();
  /* None of our signal handlers may run between fork and exec. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t process = fork();
  if (process == 0) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(127);
    for (int number = 1; number < NSIG; number++) signal(number, number == SIGXFSZ ? SIG_IGN : SIG_DFL);
    /* First move them out of the way of 0 to 3. */
    int streams[4] = {input, output, errors, report[1]};
    for (int index = 0; index < 4; index++) streams[index] = fcntl(streams[index], F_DUPFD, 10);
    for (int index = 0; index < 4; index++) dup2(streams[index], index);
    fcntl(3, F_SETFD, FD_CLOEXEC);
    close_from(4, highest);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(path, arguments, environment);
    int number = errno;
    if (write(3, &number, sizeof number) < 0) _exit(126);
    _exit(127);
  }
  int failed = process < 0 ? errno : 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  close(report[1]);
  if (process > 0) {
    int number = 0;
    ssize_t count;
    do count = read(report[0], &number, sizeof number);
    while (count < 0 && errno == EINTR);
    if (count == sizeof number) {
      failed = number;
      while (waitpid(process, NULL, 0) < 0 && errno == EINTR) {}
    }
  }
  close(report[0]);
  *child = process;
  return failed;
}

ssize_t tbk_list_attributes(const char *path, char *names, size_t size) { return llistxattr(path, names, size); }

ssize_t tbk_get_attribute(const char *path, const char *name, void *value, size_t size) {
  return lgetxattr(path, name, value, size);
}

int tbk_set_attribute(const char *path, const char *name, const void *value, size_t size) {
  return lsetxattr(path, name, value, size, 0);
}

ssize_t tbk_list_attributes_of(int file, char *names, size_t size) { return flistxattr(file, names, size); }

ssize_t tbk_get_attribute_of(int file, const char *name, void *value, size_t size) {
  return fgetxattr(file, name, value, size);
}

int tbk_set_attribute_of(int file, const char *name, const void *value, size_t size) {
  return fsetxattr(file, name, value, size, 0);
}

int tbk_remove_attribute_of(int file, const char *name) { return fremovexattr(file, name); }

int tbk_change_mode(int file, unsigned int mode) {
  char path[32];
  /* fchmodat2, the same number on every architecture; before Linux 6.6 use /proc. */
  if (syscall(452, file, "", mode, AT_EMPTY_PATH) == 0) return 0;
  snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  return chmod(path, mode);
}

int tbk_may_write(int directory) { return faccessat(directory, ".", W_OK | X_OK, AT_EACCESS); }

int tbk_what_holds(int directory, const char *name) {
  struct statx facts;
  if (statx(directory, name, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, 0, &facts) != 0) return 0;
  if (facts.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND)) return 1;
#ifdef STATX_ATTR_MOUNT_ROOT
  if (facts.stx_attributes & STATX_ATTR_MOUNT_ROOT) return 2;
#endif
  return 0;
}

int tbk_processor_count(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

const char *tbk_libc_version(void) { return gnu_get_libc_version(); }

int tbk_inotify_open(void) { return inotify_init1(IN_CLOEXEC | IN_NONBLOCK); }

int tbk_inotify_add(int inotify, int directory) {
  char path[40];
  snprintf(path, sizeof path, "/proc/self/fd/%d/.", directory);
  /* Writes through a mapping cause no event but IN_CLOSE_WRITE. */
  return inotify_add_watch(inotify, path,
                           IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_ATTRIB |
                               IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK);
}

int tbk_inotify_remove(int inotify, int watch) { return inotify_rm_watch(inotify, watch); }

int tbk_is_on_network(int descriptor) {
  struct statfs status;
  if (fstatfs(descriptor, &status) != 0) return 0;
  switch ((uint32_t)status.f_type) {
    case 0x6969:      /* NFS */
    case 0xff534d42:  /* CIFS */
    case 0xfe534d42:  /* SMB2 */
    case 0x517b:      /* SMB */
    case 0x5346414f:  /* AFS */
    case 0x00c36400:  /* Ceph */
      return 1;
    default: return 0;
  }
}
