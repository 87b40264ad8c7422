/* One end of connections, or several: does on sockets what it is told, one call after the other, and nothing else.
 *
 * A command a line on standard input, S and others being numbers that the teller gives to sockets:
 *
 *   listen S HOST PORT    connect S HOST PORT    accept S LISTENER
 *                         HOST is an address of IPv4 or IPv6 (`::` takes IPv4 too), or a path for a Unix socket
 *   ready LISTENER        whether a connection waits there: 1 or 0
 *   send S HEX            one write of these bytes
 *   pour S BYTES          writes of 64 KiB, as many as it takes
 *   file S BYTES          the same by sendfile
 *   recv S BYTES          reads until so many came, or the end
 *   shut S HOW            shutdown: 0 reads, 1 writes, 2 both
 *   close S               reset S (closes so that the other end is reset)
 *   give S OVER           take S OVER: hands a socket on, by SCM_RIGHTS
 *   fork S                a child goes on from here, S is closed in its parent, which waits for the child's end
 *   exit                  ends the child: its parent goes on
 *
 * Each is answered by a line: `RESULT BEGAN ENDED`. The result is a count of bytes, a port or a process id, or -errno;
 * the times are nanoseconds since the Unix epoch. A command that takes a minute ends the program. */
#include "net.h"

#include <poll.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

enum { SLOTS = 256, BLOCK = 65536, PATIENCE = 60 };

static int slots[SLOTS];
static char block[BLOCK];

/* What a command says. */
struct order {
    char *verb, *text; /* the third word, whatever it is */
    int slot;
    long number, port; /* the third and the fourth word */
};

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* The slot of that number; none is out of bounds. */
static int *slot(long n) {
    if (n < 0 || n >= SLOTS) die("no such slot");
    return &slots[n];
}

/* ---- sockets ---- */

/* An address of any family. */
static socklen_t resolve(const char *host, long port, struct sockaddr_storage *out) {
    struct sockaddr_un *path = (void *)out;
    struct sockaddr_in6 *six = (void *)out;
    struct sockaddr_in *four = (void *)out;
    memset(out, 0, sizeof *out);
    if (*host == '/') {
        path->sun_family = AF_UNIX;
        snprintf(path->sun_path, sizeof path->sun_path, "%s", host);
        return sizeof *path;
    }
    if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        return sizeof *four;
    }
    if (inet_pton(AF_INET6, host, &six->sin6_addr) != 1) die("no address");
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    return sizeof *six;
}

static int open_socket(int family) {
    return must(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
}

/* Without Nagle's delay, where there is one. */
static int at_once(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static long do_listen(struct order *o) {
    struct sockaddr_storage at;
    int one = 1, zero = 0;
    socklen_t len = resolve(o->text, o->port, &at);
    int fd = *slot(o->slot) = open_socket(at.ss_family);
    if (at.ss_family != AF_UNIX) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    }
    if (at.ss_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    if (bind(fd, (void *)&at, len) || listen(fd, 128)) return -errno;
    if (at.ss_family == AF_UNIX) return 0;
    must(getsockname(fd, (void *)&at, &len), "getsockname");
    return ntohs(((struct sockaddr_in *)&at)->sin_port); /* in the same place for both */
}

static long do_connect(struct order *o) {
    struct sockaddr_storage at;
    socklen_t len = resolve(o->text, o->port, &at);
    int fd = *slot(o->slot) = at_once(open_socket(at.ss_family));
    return connect(fd, (void *)&at, len) ? -errno : 0;
}

static long do_accept(struct order *o) {
    int fd = accept(*slot(o->number), NULL, NULL);
    if (fd < 0) return -errno;
    *slot(o->slot) = at_once(fd);
    return 0;
}

static long do_ready(struct order *o) {
    struct pollfd waits = {.fd = *slot(o->slot), .events = POLLIN};
    return must(poll(&waits, 1, 0), "poll");
}

static long do_close(struct order *o) { return close(*slot(o->slot)) ? -errno : 0; }

static long do_shut(struct order *o) { return shutdown(*slot(o->slot), o->number) ? -errno : 0; }

static long do_reset(struct order *o) {
    struct linger at_once = {.l_onoff = 1};
    must(setsockopt(*slot(o->slot), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), "SO_LINGER");
    return do_close(o);
}

/* ---- bytes ---- */

static int nibble(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

static long do_send(struct order *o) {
    size_t len = strlen(o->text) / 2;
    /* In place: a byte is written behind the two digits that make it. */
    for (size_t i = 0; i < len; i++) o->text[i] = nibble(o->text[2 * i]) << 4 | nibble(o->text[2 * i + 1]);
    ssize_t n = write(*slot(o->slot), o->text, len);
    return n < 0 ? -errno : n;
}

static long do_pour(struct order *o) {
    long done = 0;
    memset(block, 'x', BLOCK);
    while (done < o->number) {
        long left = o->number - done;
        ssize_t n = write(*slot(o->slot), block, left < BLOCK ? left : BLOCK);
        if (n < 0) return -errno;
        done += n;
    }
    return done;
}

static long do_file(struct order *o) {
    int file = scratch_file();
    off_t at = 0;
    must(ftruncate(file, o->number), "ftruncate");
    while (at < o->number)
        if (sendfile(*slot(o->slot), file, &at, o->number - at) < 0) return -errno;
    close(file);
    return at;
}

static long do_recv(struct order *o) {
    long done = 0;
    while (done < o->number) {
        long left = o->number - done;
        ssize_t n = read(*slot(o->slot), block, left < BLOCK ? left : BLOCK);
        if (n < 0) return -errno;
        if (!n) break;
        done += n;
    }
    return done;
}

/* ---- processes ---- */

/* A message of one byte with room for a descriptor. */
struct parcel {
    struct msghdr message;
    struct iovec one;
    char byte;
    _Alignas(struct cmsghdr) char room[CMSG_SPACE(sizeof(int))];
};

static void wrap(struct parcel *p) {
    memset(p, 0, sizeof *p);
    p->byte = '.';
    p->one = (struct iovec){&p->byte, 1};
    p->message = (struct msghdr){
        .msg_iov = &p->one, .msg_iovlen = 1, .msg_control = p->room, .msg_controllen = sizeof p->room};
}

static long do_give(struct order *o) {
    struct parcel p;
    wrap(&p);
    struct cmsghdr *head = CMSG_FIRSTHDR(&p.message);
    *head = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(head), slot(o->slot), sizeof(int));
    if (sendmsg(*slot(o->number), &p.message, 0) < 0) return -errno;
    return do_close(o);
}

static long do_take(struct order *o) {
    struct parcel p;
    wrap(&p);
    if (recvmsg(*slot(o->number), &p.message, MSG_CMSG_CLOEXEC) < 0) return -errno;
    struct cmsghdr *head = CMSG_FIRSTHDR(&p.message);
    if (!head) die("no descriptor came");
    memcpy(slot(o->slot), CMSG_DATA(head), sizeof(int));
    return 0;
}

/* Returns in the child at once, in the parent after the child's end; the process that goes on. */
static long do_fork(struct order *o) {
    int status;
    pid_t child = must(fork(), "fork");
    if (!child) return getpid();
    close(*slot(o->slot));
    alarm(0); /* the child is watched by its own */
    must(waitpid(child, &status, 0), "waitpid");
    if (status) die("the child failed");
    return getpid();
}

static long do_exit(struct order *o) {
    (void)o;
    exit(0);
}

/* ---- commands ---- */

static const struct {
    const char *verb;
    long (*run)(struct order *);
} VERBS[] = {
    {"listen", do_listen}, {"connect", do_connect}, {"accept", do_accept}, {"send", do_send},
    {"pour", do_pour},     {"file", do_file},       {"recv", do_recv},     {"shut", do_shut},
    {"close", do_close},   {"reset", do_reset},     {"give", do_give},     {"take", do_take},
    {"fork", do_fork},     {"exit", do_exit},       {"ready", do_ready},
};

static void perform(char *line) {
    struct order o = {.verb = strtok(line, " \n")};
    char *words[3] = {strtok(NULL, " \n"), strtok(NULL, " \n"), strtok(NULL, " \n")};
    o.slot = words[0] ? atoi(words[0]) : 0;
    o.text = words[1];
    o.number = words[1] ? atol(words[1]) : 0;
    o.port = words[2] ? atol(words[2]) : 0;
    for (size_t i = 0; o.verb && i < sizeof VERBS / sizeof *VERBS; i++) {
        if (strcmp(VERBS[i].verb, o.verb)) continue;
        alarm(PATIENCE);
        long long began = now();
        long result = VERBS[i].run(&o);
        printf("%ld %lld %lld\n", result, began, now());
        alarm(0);
        fflush(stdout);
        return;
    }
    die("no such command");
}

int main(void) {
    char *line = NULL;
    size_t room = 0;
    signal(SIGPIPE, SIG_IGN);
    while (getline(&line, &room, stdin) > 0) perform(line);
    return 0;
}
