/* What the test programs share: failing loudly, waiting to be told to start, loopback TCP, and a
 * file and a pipe that hold a planted secret. Each program is one .c file: `cc -O2 -pthread x.c -o x`. */
#ifndef NET_H
#define NET_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* so this header comes first */
#endif

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Exit code of a program that this kernel cannot run (as automake has it). */
enum { EXIT_SKIP = 77 };

/* Ends the program with what failed and why. */
static inline void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, errno ? strerror(errno) : "failed");
    exit(1);
}

/* The result of a call that must not fail. */
static inline long must(long result, const char *what) {
    if (result < 0) die(what);
    return result;
}

/* A positive number from the command line. */
static inline long number(const char *text) {
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value <= 0) {
        fprintf(stderr, "not a positive number: %s\n", text);
        exit(2);
    }
    return value;
}

/* Takes `--wait` off the front of the arguments; returns whether it was there. */
static inline int take_wait(int *argc, char ***argv) {
    if (*argc < 2 || strcmp((*argv)[1], "--wait")) return 0;
    (*argv)[1] = (*argv)[0];
    ++*argv;
    --*argc;
    return 1;
}

/* Prints who this is as one line of JSON (port 0: none) and, if asked, waits for a line on stdin. */
static inline void announce(int port, int wait) {
    char line[64];
    printf("{\"pid\":%d,\"port\":%d}\n", getpid(), port);
    fflush(stdout);
    if (wait && !fgets(line, sizeof line, stdin)) exit(1);
}

/* A listening socket on 127.0.0.1; port 0 takes a free one and stores it. */
static inline int tcp_listen(int *port) {
    int one = 1, fd = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(*port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    must(bind(fd, (void *)&at, sizeof at), "bind");
    must(listen(fd, 128), "listen");
    must(getsockname(fd, (void *)&at, &len), "getsockname");
    *port = ntohs(at.sin_port);
    return fd;
}

/* Connects to host and port (IPv4), without Nagle's delay; -1 where nobody answers. */
static inline int tcp_try_connect(const char *host, const char *port) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
    int one = 1, fd, bad = getaddrinfo(host, port, &hints, &found);
    if (bad) {
        fprintf(stderr, "%s: %s\n", host, gai_strerror(bad));
        exit(1);
    }
    fd = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    if (connect(fd, found->ai_addr, found->ai_addrlen)) {
        close(fd);
        fd = -1;
    } else {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    freeaddrinfo(found);
    return fd;
}

static inline int tcp_connect(const char *host, const char *port) {
    return must(tcp_try_connect(host, port), "connect");
}

/* A connected pair of loopback sockets without Nagle's delay: [0] opened it, [1] accepted it. */
static inline void tcp_pair(int pair[2]) {
    int port = 0, one = 1, listener = tcp_listen(&port);
    char text[8];
    snprintf(text, sizeof text, "%d", port);
    pair[0] = tcp_connect("127.0.0.1", text);
    pair[1] = must(accept(listener, NULL, NULL), "accept");
    setsockopt(pair[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    close(listener);
}

/* An empty file without a name. */
static inline int scratch_file(void) {
    char path[] = "/tmp/sockspan-test-XXXXXX";
    int fd = must(mkstemp(path), "mkstemp");
    unlink(path);
    return fd;
}

/* Fills a buffer with a text, over and over. */
static inline void fill(char *buf, size_t len, const char *text) {
    size_t each = strlen(text);
    if (!each) die("an empty text to fill with");
    for (size_t i = 0; i < len; i++) buf[i] = text[i % each];
}

/* A file and a pipe beside the sockets. Every write to and read from them moves the secret. */
enum { SECRET_LEN = 2048, FILE_MAX = 1 << 20 };

struct vault {
    int file, pipe[2];
    long calls, file_len;
    char out[SECRET_LEN]; /* what is written: the secret, over and over */
    char in[SECRET_LEN];  /* where it is read back to */
};

static inline void vault_open(struct vault *v, const char *secret) {
    v->calls = v->file_len = 0;
    v->file = scratch_file();
    must(pipe(v->pipe), "pipe");
    fill(v->out, SECRET_LEN, secret);
}

/* One round of write and read on the file and on the pipe. */
static inline void vault_turn(struct vault *v) {
    if (v->file_len >= FILE_MAX) v->file_len = must(lseek(v->file, 0, SEEK_SET), "lseek");
    must(write(v->file, v->out, SECRET_LEN), "write(file)");
    must(pread(v->file, v->in, SECRET_LEN, v->file_len), "pread(file)");
    v->file_len += SECRET_LEN;
    must(write(v->pipe[1], v->out, SECRET_LEN), "write(pipe)");
    must(read(v->pipe[0], v->in, SECRET_LEN), "read(pipe)");
    if (memcmp(v->in, v->out, SECRET_LEN)) die("the secret came back changed");
    v->calls += 4;
}

static inline void vault_close(struct vault *v) {
    close(v->file);
    close(v->pipe[0]);
    close(v->pipe[1]);
}

#endif
