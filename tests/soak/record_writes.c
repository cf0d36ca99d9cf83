/* Preloaded into a writing process: every change of a file below RECORD_FOLDER goes, in order, into RECORD_LOG.
   A record is: kind, number of the file, offset, length (4 numbers of 64 bits), then the bytes of a write or of a name.
   Kinds: 1 name of a file number, 2 write, 3 fsync or fdatasync done, 4 truncate, 5 unlink,
   6 fsync or fdatasync begun (3 and 6 have the number of the call as offset).
   What the process writes to the file `acknowledged` is recorded in the same order, so it says what had been promised
   when. Paths are those that were opened; descriptors above 1023 are not looked at. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_file = -1;
static const char *folder;
static uint64_t syncs;
static char *names[256];
static int files, of_descriptor[1024]; /* number of the file + 1; 0: not ours */

static void put(const void *data, size_t size) {
  static ssize_t (*real)(int, const void *, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "write");
  for (const char *at = data; size;) {
    ssize_t done = real(log_file, at, size);
    if (done <= 0) abort();
    at += done, size -= done;
  }
}

static void record(uint64_t kind, uint64_t file, uint64_t offset, uint64_t size, const void *data) {
  uint64_t head[4] = {kind, file, offset, size};
  put(head, sizeof head);
  if (data) put(data, size);
}

static int number_of(const char *path) {
  for (int i = 0; i < files; i++)
    if (!strcmp(names[i], path)) return i;
  if (files == 256) abort();
  names[files] = strdup(path);
  record(1, files, 0, strlen(path), path);
  return files++;
}

static int ours(const char *path) {
  if (!folder) {
    folder = getenv("RECORD_FOLDER");
    static int (*real)(const char *, int, ...);
    real = dlsym(RTLD_NEXT, "open64");
    log_file = real(getenv("RECORD_LOG"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (!folder || log_file < 0) abort();
  }
  return path && !strncmp(path, folder, strlen(folder));
}

static int opened(int descriptor, const char *path) {
  if (descriptor < 0 || descriptor >= 1024) return descriptor;
  pthread_mutex_lock(&lock);
  of_descriptor[descriptor] = ours(path) ? number_of(path) + 1 : 0;
  pthread_mutex_unlock(&lock);
  return descriptor;
}

#define OPEN(name)                                                 \
  int name(const char *path, int flags, ...) {                     \
    static int (*real)(const char *, int, ...);                    \
    if (!real) real = dlsym(RTLD_NEXT, #name);                     \
    va_list rest;                                                  \
    va_start(rest, flags);                                         \
    mode_t mode = va_arg(rest, mode_t);                            \
    va_end(rest);                                                  \
    return opened(real(path, flags, mode), path);                  \
  }
OPEN(open)
OPEN(open64)

static int file_of(int descriptor) { return descriptor >= 0 && descriptor < 1024 ? of_descriptor[descriptor] - 1 : -1; }

/* The lock is held over the real call and its record: the log has the order in which the system saw them. */
#define WRITE(name, type)                                                            \
  ssize_t name(int descriptor, const void *data, size_t size, type offset) {         \
    static ssize_t (*real)(int, const void *, size_t, type);                         \
    if (!real) real = dlsym(RTLD_NEXT, #name);                                       \
    int file = file_of(descriptor);                                                  \
    if (file < 0) return real(descriptor, data, size, offset);                       \
    pthread_mutex_lock(&lock);                                                       \
    ssize_t done = real(descriptor, data, size, offset);                             \
    if (done > 0) record(2, file, offset, done, data);                               \
    pthread_mutex_unlock(&lock);                                                     \
    return done;                                                                     \
  }
WRITE(pwrite, off_t)
WRITE(pwrite64, off64_t)

ssize_t write(int descriptor, const void *data, size_t size) {
  static ssize_t (*real)(int, const void *, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "write");
  int file = file_of(descriptor);
  if (file < 0) return real(descriptor, data, size);
  pthread_mutex_lock(&lock);
  off_t offset = lseek(descriptor, 0, SEEK_CUR);
  ssize_t done = real(descriptor, data, size);
  if (done > 0) record(2, file, offset, done, data);
  pthread_mutex_unlock(&lock);
  return done;
}

/* Only what was written before the call began is on the disk when it ends. */
#define SYNC(name)                                     \
  int name(int descriptor) {                           \
    static int (*real)(int);                           \
    if (!real) real = dlsym(RTLD_NEXT, #name);         \
    int file = file_of(descriptor);                    \
    if (file < 0) return real(descriptor);             \
    pthread_mutex_lock(&lock);                         \
    uint64_t call = ++syncs;                           \
    record(6, file, call, 0, 0);                       \
    pthread_mutex_unlock(&lock);                       \
    int done = real(descriptor);                       \
    pthread_mutex_lock(&lock);                         \
    if (!done) record(3, file, call, 0, 0);            \
    pthread_mutex_unlock(&lock);                       \
    return done;                                       \
  }
SYNC(fsync)
SYNC(fdatasync)

#define TRUNCATE(name, type)                            \
  int name(int descriptor, type size) {                 \
    static int (*real)(int, type);                      \
    if (!real) real = dlsym(RTLD_NEXT, #name);          \
    int file = file_of(descriptor);                     \
    if (file < 0) return real(descriptor, size);        \
    pthread_mutex_lock(&lock);                          \
    int done = real(descriptor, size);                  \
    if (!done) record(4, file, size, 0, 0);             \
    pthread_mutex_unlock(&lock);                        \
    return done;                                        \
  }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

int unlink(const char *path) {
  static int (*real)(const char *);
  if (!real) real = dlsym(RTLD_NEXT, "unlink");
  pthread_mutex_lock(&lock);
  int known = ours(path), done = real(path);
  if (known && !done) record(5, number_of(path), 0, 0, 0);
  pthread_mutex_unlock(&lock);
  return done;
}

int close(int descriptor) {
  static int (*real)(int);
  if (!real) real = dlsym(RTLD_NEXT, "close");
  if (descriptor >= 0 && descriptor < 1024) of_descriptor[descriptor] = 0;
  return real(descriptor);
}
