/* A TCP relay that passes bytes on and knows nothing of them: stands, untraced, between two services.
 *
 *   relay PORT TARGET_HOST TARGET_PORT [SECONDS]
 *
 * PORT 0 takes a free one. Prints {"pid":…,"port":…} once it listens. Ends by a signal, or after
 * SECONDS (default 900) so that none is left behind. Two threads a connection, one a direction. */
#include "net.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

struct link {
    int fd[2];
    atomic_int open; /* directions still going */
};

struct way {
    struct link *link;
    int from, to;
};

static int write_all(int fd, const char *buf, ssize_t len) {
    while (len > 0) {
        ssize_t n = write(fd, buf, len);
        if (n < 0) return -1;
        buf += n;
        len -= n;
    }
    return 0;
}

/* Moves bytes one way until its source ends, then passes the end on; the last way out closes both. */
static void *run_way(void *arg) {
    struct way way = *(struct way *)arg;
    char buf[16384];
    ssize_t n;
    free(arg);
    while ((n = read(way.from, buf, sizeof buf)) > 0)
        if (write_all(way.to, buf, n)) break;
    shutdown(way.to, SHUT_WR);
    if (n != 0) shutdown(way.from, SHUT_RD);
    if (atomic_fetch_sub(&way.link->open, 1) == 1) {
        close(way.link->fd[0]);
        close(way.link->fd[1]);
        free(way.link);
    }
    return NULL;
}

static void start_way(struct link *link, int from, int to) {
    pthread_t thread;
    struct way *way = malloc(sizeof *way);
    if (!way) die("malloc");
    *way = (struct way){link, from, to};
    errno = pthread_create(&thread, NULL, run_way, way);
    if (errno) die("pthread_create");
    pthread_detach(thread);
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: relay PORT TARGET_HOST TARGET_PORT [SECONDS]\n");
        return 2;
    }
    int port = atoi(argv[1]), one = 1, listener = tcp_listen(&port);
    signal(SIGPIPE, SIG_IGN);
    alarm(argc > 4 ? number(argv[4]) : 900);
    announce(port, 0);
    for (;;) {
        int near = accept(listener, NULL, NULL), far;
        if (near < 0) continue;
        if ((far = tcp_try_connect(argv[2], argv[3])) < 0) {
            close(near);
            continue;
        }
        setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct link *link = malloc(sizeof *link);
        if (!link) die("malloc");
        *link = (struct link){{near, far}, 2};
        start_way(link, near, far);
        start_way(link, far, near);
    }
}
