/* The system calls that Swift cannot import: variadic ones, and those that glibc declares
 * only under _GNU_SOURCE. Each returns what the call returns and leaves errno set. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* No <dirent.h>: what it declares is to be Glibc's alone, in Swift's eyes. DIR is this. */
struct __dirstream;

/* Open flags by name, for those that need _GNU_SOURCE. */
extern const int tbk_o_path;
extern const int tbk_o_noatime;
extern const int tbk_o_tmpfile;

int tbk_openat(int directory, const char *path, int flags, unsigned int mode);
/* renameat2 with RENAME_NOREPLACE. */
int tbk_rename_noreplace(int old_directory, const char *old_path, int new_directory, const char *new_path);
/* Gives a name to an O_TMPFILE descriptor; fails with EEXIST if the name is taken. */
int tbk_link_descriptor(int descriptor, int directory, const char *name);
/* The names of an open directory from the first one on, whatever has been read of it; to be closed. NULL on error. */
struct __dirstream *tbk_list(int directory);
/* The next name of a directory, never "." or "..": 1 and its fields, 0 at the end, -1 on error.
 * The name belongs to the stream until the next call. */
int tbk_readdir(struct __dirstream *stream, const char **name, uint64_t *inode, unsigned char *type);
/* The columns of the terminal, or 0 if there is no terminal. */
int tbk_terminal_columns(int descriptor);
/* Sizes in bytes of what is free to this user, or -1. */
int64_t tbk_free_bytes(int descriptor);
/* No core dumps and no ptrace by others of this user. */
void tbk_protect_process(void);
void tbk_wipe(void *memory, size_t length);
/* An argument of the process, 0 its name, or NULL past the last one. Swift's own CommandLine reads them
 * from /proc, and where that is not mounted has none. */
const char *tbk_argument(int index);
/* The path the kernel executed, or NULL. */
const char *tbk_executed_path(void);
/* Opens what of descriptors 0 to 2 is closed, so that no file of ours takes the number and gets
 * messages written into it; reading or writing them still fails. */
void tbk_hold_standard_streams(void);
/* Raises the soft limit of open files, because each level of a tree needs one. */
void tbk_raise_file_limit(void);
/* Whether the signal was ignored by whoever started us, as nohup(1) does. */
int tbk_signal_is_ignored(int signal_number);
/* Reserves file space; EOPNOTSUPP where the file system cannot. */
int tbk_reserve(int descriptor, int64_t length);
/* Installs handler for a signal, without SA_RESTART, so that blocked calls return EINTR. */
int tbk_handle_signal(int signal_number, void (*handler)(int));
int tbk_ignore_signal(int signal_number);
int tbk_default_signal(int signal_number);
/* Where the soft limit of processor time is the hard one, lowers it by a second: the hard one kills, the soft one
 * sends SIGXCPU. */
void tbk_leave_time_to_end(void);
/* Notes a temporary file, or a file that is written in place from an offset on, for the case that the process ends
 * without unwinding: the one is removed then, the other cut off. Returns a number for tbk_forget_unfinished, which
 * has to be called before the descriptor is closed; -1 if it could not be noted. */
int tbk_note_temporary(int directory, const char *name);
int tbk_note_output(int file, int64_t start);
void tbk_forget_unfinished(int place);
/* Removes what is noted. Async-signal-safe. */
void tbk_remove_unfinished(void);
/* Makes the file in which whoever started this process finds its number, "pid 123", while it runs, and then its exit
 * status. 0, or -1 if it cannot be written. Where a file "ending" lies beside it the process ends as by SIGTERM. */
int tbk_begin_stage(const char *path);
/* Notes why the process fails, a line that comes behind the status there. The first one counts. 1 if there is such a
 * file, else 0. */
int tbk_note_stage(const char *text, size_t length);
/* Notes the status there, if there is such a file. Async-signal-safe. */
void tbk_end_stage(int status);
/* Likewise, and ends the process. */
_Noreturn void tbk_end(int status);
/* What tbk_end_exhausted writes, the first 1023 bytes of it, and the status it ends with; before that "NAME: error:
 * out of memory", and 75. */
void tbk_set_exhausted(const char *report, size_t length, int status);
/* Ends the process, which has run out of memory or threads and cannot unwind: says so on standard error and
 * removes what is noted. Needs no memory. */
_Noreturn void tbk_end_exhausted(void);
/* Starts a timer that delivers SIGALRM every 50 ms, so that no call stays blocked. Async-signal-safe. */
void tbk_start_nudging(void);
/* Blocks every signal in the calling thread. */
void tbk_block_signals(void);
/* Advises the kernel that a file is read from start to end. */
void tbk_advise_sequential(int descriptor);
/* pipe2 with O_CLOEXEC. */
int tbk_pipe(int ends[2]);
/* Becomes a command that is looked up in PATH, with the standard streams alone open and no signal ignored.
 * Returns errno if that fails. */
int tbk_become(char *const arguments[], char *const environment[]);
/* Runs a program in a process group of its own, with these descriptors as its standard streams and
 * no other open. It gets SIGTERM when the calling thread ends, however that ends, and a file that is too large
 * (SIGXFSZ) is an error of its write. 0, or the errno of what failed. */
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
/* The mode of what is open, with O_PATH too. */
int tbk_change_mode(int file, unsigned int mode);
/* 0 if names in an open directory can be made and replaced. */
int tbk_may_write(int directory);
/* What keeps a name from being replaced, or an open directory (an empty name) from being written to:
 * 1 it may not be changed (chattr +i, +a), 2 it is a mount point, 0 nothing that is known. */
int tbk_what_holds(int directory, const char *name);
/* The processors that the calling process may run on. */
int tbk_processor_count(void);
/* The version of the C library. */
const char *tbk_libc_version(void);
/* inotify_init1, non-blocking. */
int tbk_inotify_open(void);
/* inotify_add_watch on an open directory, for all that tells of a change in it. */
int tbk_inotify_add(int inotify, int directory);
int tbk_inotify_remove(int inotify, int watch);
/* Whether other machines change this file system, unseen by inotify. */
int tbk_is_on_network(int descriptor);
