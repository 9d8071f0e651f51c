/* System calls that Swift cannot import: variadic ones, and those that glibc declares only under _GNU_SOURCE. Unless
 * noted, each returns what the call returns and leaves errno set. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* No <dirent.h>: Swift would import its declarations from here and not from Glibc. DIR is this struct. */
struct __dirstream;

/* Open flags that need _GNU_SOURCE. */
extern const int tbk_o_path;
extern const int tbk_o_noatime;
extern const int tbk_o_tmpfile;

int tbk_openat(int directory, const char *path, int flags, unsigned int mode);
/* renameat2 with RENAME_NOREPLACE. */
int tbk_rename_noreplace(int old_directory, const char *old_path, int new_directory, const char *new_path);
/* Gives a name to an O_TMPFILE descriptor; fails with EEXIST if the name is taken. */
int tbk_link_descriptor(int descriptor, int directory, const char *name);
/* Lists an open directory from its start, whatever has been read from it. The caller closes the stream. NULL on
 * error. */
struct __dirstream *tbk_list(int directory);
/* The next name of a directory, never "." or "..": 1 and its fields, 0 at the end, -1 on error.
 * The name belongs to the stream until the next call. */
int tbk_readdir(struct __dirstream *stream, const char **name, uint64_t *inode, unsigned char *type);
/* The width of the terminal in columns; 0 if it is not a terminal, 80 if unknown. */
int tbk_terminal_columns(int descriptor);
/* Bytes free for this user, or -1. */
int64_t tbk_free_bytes(int descriptor);
/* Disables core dumps, and ptrace by the user's other processes. */
void tbk_protect_process(void);
void tbk_wipe(void *memory, size_t length);
/* An argument of the process (0 is its name), or NULL past the last one. Swift's CommandLine reads them from /proc,
 * and has none if that is not mounted. */
const char *tbk_argument(int index);
/* The path the kernel executed, or NULL. */
const char *tbk_executed_path(void);
/* Opens those of descriptors 0 to 2 that are closed, so that no file of ours gets such a number and messages written
 * into it. Reading from or writing to them still fails. */
void tbk_hold_standard_streams(void);
/* Raises the soft limit of open files, because each level of a directory tree needs one. */
void tbk_raise_file_limit(void);
/* Whether the parent process made us ignore the signal, as nohup(1) does. */
int tbk_signal_is_ignored(int signal_number);
/* Reserves file space; EOPNOTSUPP if the file system cannot. */
int tbk_reserve(int descriptor, int64_t length);
/* Installs handler for a signal, without SA_RESTART, so that blocked calls return EINTR. */
int tbk_handle_signal(int signal_number, void (*handler)(int));
int tbk_ignore_signal(int signal_number);
int tbk_default_signal(int signal_number);
/* If the soft limit of processor time equals the hard one, lowers it by a second: the soft limit sends SIGXCPU, the
 * hard one kills. */
void tbk_leave_time_to_end(void);
/* Registers a temporary file, or a file that is written in place from an offset on, in case the process ends without
 * unwinding: the first is then removed, the second truncated. Returns a number for tbk_forget_unfinished, which must
 * be called before the descriptor is closed; -1 if it could not be registered. */
int tbk_note_temporary(int directory, const char *name);
int tbk_note_output(int file, int64_t start);
void tbk_forget_unfinished(int place);
/* Removes or truncates the registered files. Async-signal-safe. */
void tbk_remove_unfinished(void);
/* Creates the file in which the process that started this one finds its process ID, "pid 123", while it runs, and then
 * its exit status. 0, or -1 if it cannot be written. If a file "ending" exists beside it, the process ends as if by
 * SIGTERM. */
int tbk_begin_stage(const char *path);
/* Records why the process fails: a line that follows the status in that file. Only the first call counts. 1 if there
 * is such a file, else 0. */
int tbk_note_stage(const char *text, size_t length);
/* Writes the status to that file, if there is one. Async-signal-safe. */
void tbk_end_stage(int status);
/* Likewise, and ends the process. */
_Noreturn void tbk_end(int status);
/* Sets what tbk_end_exhausted writes (at most 1023 bytes) and the exit status. The default is "NAME: error: out of
 * memory" and 75. */
void tbk_set_exhausted(const char *report, size_t length, int status);
/* Ends the process, which has run out of memory or threads and cannot unwind: reports it, and removes or truncates the
 * registered files. Needs no memory. */
_Noreturn void tbk_end_exhausted(void);
/* Starts a timer that delivers SIGALRM every 50 ms, so that no call stays blocked. Async-signal-safe. */
void tbk_start_nudging(void);
/* Blocks every signal in the calling thread. */
void tbk_block_signals(void);
/* Advises the kernel that a file is read from start to end. */
void tbk_advise_sequential(int descriptor);
/* pipe2 with O_CLOEXEC. */
int tbk_pipe(int ends[2]);
/* Replaces this process with a command, looked up in PATH, with only the standard streams open and no signal ignored.
 * Returns errno if that fails. */
int tbk_become(char *const arguments[], char *const environment[]);
/* Starts a program in its own process group, with these descriptors as its standard streams and no others open. It
 * gets SIGTERM when the calling thread ends, however that happens; for it, exceeding the file size limit (SIGXFSZ) is
 * an error of the write. Returns 0, or the errno of what failed. */
int tbk_spawn(const char *path, char *const arguments[], char *const environment[], int input, int output,
              int errors, pid_t *child);
/* llistxattr, lgetxattr and lsetxattr: the last component of path is not followed. */
ssize_t tbk_list_attributes(const char *path, char *names, size_t size);
ssize_t tbk_get_attribute(const char *path, const char *name, void *value, size_t size);
int tbk_set_attribute(const char *path, const char *name, const void *value, size_t size);
/* flistxattr, fgetxattr, fsetxattr and fremovexattr. */
ssize_t tbk_list_attributes_of(int file, char *names, size_t size);
ssize_t tbk_get_attribute_of(int file, const char *name, void *value, size_t size);
int tbk_set_attribute_of(int file, const char *name, const void *value, size_t size);
int tbk_remove_attribute_of(int file, const char *name);
/* Sets the mode of an open file, which may be open with O_PATH. */
int tbk_change_mode(int file, unsigned int mode);
/* 0 if names in an open directory can be created and replaced. */
int tbk_may_write(int directory);
/* Why a name cannot be replaced, or an open directory (an empty name) cannot be written to: 1 it is immutable or
 * append-only (chattr +i, +a), 2 it is a mount point, 0 no known reason. */
int tbk_what_holds(int directory, const char *name);
/* How many processors the calling process may run on. */
int tbk_processor_count(void);
/* The version of the C library. */
const char *tbk_libc_version(void);
/* inotify_init1, non-blocking. */
int tbk_inotify_open(void);
/* inotify_add_watch on an open directory, for every event that shows a change in it. */
int tbk_inotify_add(int inotify, int directory);
int tbk_inotify_remove(int inotify, int watch);
/* Whether other machines can change this file system without inotify events. */
int tbk_is_on_network(int descriptor);
