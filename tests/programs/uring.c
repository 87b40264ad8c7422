/* HTTP clients on io_uring whose receives complete inside unrelated system calls.
 *
 *   uring [--wait] HOST PORT CLIENTS REQUESTS SECRET [PATH]
 *
 * Each client is a thread with a ring of its own (COOP_TASKRUN, SINGLE_ISSUER), so that the kernel finishes
 * a receive at the end of whatever call the thread makes next. While it waits, those calls are write() and
 * read() on a file, a pipe and a local socket pair that carry SECRET. Whoever takes the buffer of the call
 * for the buffer of the receive reads SECRET, and so does whoever reads past the end of a message: it
 * stands there too. Client C's request N is `GET PATH/uring-C-N` (PATH: /products) on a new connection.
 * Prints one line of JSON; exits 77 where the kernel has no io_uring of this kind. */
#include "net.h"

#include <linux/io_uring.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#ifndef IORING_SETUP_COOP_TASKRUN /* headers older than Linux 5.19 and 6.0 */
#define IORING_SETUP_COOP_TASKRUN (1U << 8)
#endif
#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif

enum { ENTRIES = 8, RECV_LEN = 4096, PATIENCE_S = 30 };

static const char *host, *port, *prefix = "/products", *secret;
static long requests;

struct ring {
    int fd;
    unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
};

struct client {
    pthread_t thread;
    struct ring ring;
    struct vault vault;
    int number, local[2];
    long ok, received, deferred, unrelated; /* deferred: receives that were finished in an unrelated call */
};

static void *map(int fd, size_t len, off_t what) {
    void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, what);
    if (at == MAP_FAILED) die("mmap(ring)");
    return at;
}

static void ring_open(struct ring *r) {
    struct io_uring_params p = {.flags = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SINGLE_ISSUER};
    r->fd = syscall(SYS_io_uring_setup, ENTRIES, &p);
    if (r->fd < 0) {
        fprintf(stderr, "io_uring_setup: %s\n", strerror(errno));
        exit(errno == ENOSYS || errno == EPERM || errno == EINVAL ? EXIT_SKIP : 1);
    }
    char *sq = map(r->fd, p.sq_off.array + p.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
    char *cq = map(r->fd, p.cq_off.cqes + p.cq_entries * sizeof *r->cqes, IORING_OFF_CQ_RING);
    r->sqes = map(r->fd, p.sq_entries * sizeof *r->sqes, IORING_OFF_SQES);
    r->sq_tail = (void *)(sq + p.sq_off.tail);
    r->sq_mask = (void *)(sq + p.sq_off.ring_mask);
    r->sq_array = (void *)(sq + p.sq_off.array);
    r->cq_head = (void *)(cq + p.cq_off.head);
    r->cq_tail = (void *)(cq + p.cq_off.tail);
    r->cq_mask = (void *)(cq + p.cq_off.ring_mask);
    r->cqes = (void *)(cq + p.cq_off.cqes);
}

/* Hands one send or receive to the kernel; it is not waited for. */
static void ring_submit(struct ring *r, int opcode, int fd, void *buf, unsigned len) {
    unsigned tail = *r->sq_tail, slot = tail & *r->sq_mask;
    r->sqes[slot] = (struct io_uring_sqe){
        .opcode = opcode, .fd = fd, .addr = (uintptr_t)buf, .len = len, .user_data = opcode};
    r->sq_array[slot] = slot;
    __atomic_store_n(r->sq_tail, tail + 1, __ATOMIC_RELEASE);
    must(syscall(SYS_io_uring_enter, r->fd, 1, 0, 0, NULL, 0), "io_uring_enter");
}

/* Takes a completion if there is one, without a system call. */
static int ring_poll(struct ring *r, int *result) {
    unsigned head = *r->cq_head;
    if (head == __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE)) return 0;
    *result = r->cqes[head & *r->cq_mask].res;
    __atomic_store_n(r->cq_head, head + 1, __ATOMIC_RELEASE);
    return 1;
}

/* The calls that have nothing to do with the connection. */
static void unrelated_calls(struct client *c) {
    vault_turn(&c->vault);
    must(write(c->local[0], c->vault.out, SECRET_LEN), "write(local)");
    must(read(c->local[1], c->vault.in, SECRET_LEN), "read(local)");
}

/* The result of one operation. Until it is there the thread does nothing but unrelated calls. */
static int run(struct client *c, int opcode, int fd, void *buf, unsigned len) {
    int result;
    time_t until = time(NULL) + PATIENCE_S;
    long before = c->unrelated;
    ring_submit(&c->ring, opcode, fd, buf, len);
    while (!ring_poll(&c->ring, &result)) {
        unrelated_calls(c);
        c->unrelated++;
        if (time(NULL) > until) die("no answer");
    }
    if (result < 0) {
        errno = -result;
        die(opcode == IORING_OP_SEND ? "send" : "recv");
    }
    if (opcode == IORING_OP_RECV) {
        c->received++;
        c->deferred += c->unrelated > before;
    }
    return result;
}

static void exchange(struct client *c, long n) {
    char head[512], answer[RECV_LEN], status[4] = "";
    fill(answer, sizeof answer, secret);
    int len = snprintf(head, sizeof head,
                       "GET %s/uring-%d-%ld HTTP/1.1\r\nHost: %s:%s\r\nConnection: close\r\n\r\n",
                       prefix, c->number, n, host, port);
    if (len >= (int)sizeof head) die("the path is too long");
    fill(head + len, sizeof head - len, secret);
    int fd = tcp_connect(host, port), got, first = 1;
    if (run(c, IORING_OP_SEND, fd, head, len) != len) die("a short send");
    while ((got = run(c, IORING_OP_RECV, fd, answer, sizeof answer)) > 0) {
        if (first && got > 12 && !memcmp(answer, "HTTP/1.", 7)) memcpy(status, answer + 9, 3);
        first = 0;
        fill(answer, sizeof answer, secret);
    }
    c->ok += strlen(status) == 3;
    close(fd);
}

static void *run_client(void *arg) {
    struct client *c = arg;
    ring_open(&c->ring); /* in its own thread: the ring belongs to its single issuer */
    vault_open(&c->vault, secret);
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, c->local), "socketpair");
    for (long n = 0; n < requests; n++) exchange(c, n);
    vault_close(&c->vault);
    close(c->local[0]);
    close(c->local[1]);
    close(c->ring.fd);
    return NULL;
}

int main(int argc, char **argv) {
    int wait = take_wait(&argc, &argv);
    if (argc < 6) {
        fprintf(stderr, "usage: uring [--wait] HOST PORT CLIENTS REQUESTS SECRET [PATH]\n");
        return 2;
    }
    host = argv[1], port = argv[2], secret = argv[5];
    long clients = number(argv[3]), answered = 0, received = 0, deferred = 0, unrelated = 0;
    requests = number(argv[4]);
    if (argc > 6) prefix = argv[6];
    struct client *all = calloc(clients, sizeof *all);
    if (!all) die("calloc");
    if (wait) announce(0, 1);
    for (int i = 0; i < clients; i++) {
        all[i].number = i;
        errno = pthread_create(&all[i].thread, NULL, run_client, &all[i]);
        if (errno) die("pthread_create");
    }
    for (int i = 0; i < clients; i++) {
        pthread_join(all[i].thread, NULL);
        answered += all[i].ok;
        received += all[i].received;
        deferred += all[i].deferred;
        unrelated += all[i].unrelated;
    }
    printf("{\"clients\":%ld,\"requests\":%ld,\"answered\":%ld,\"receives\":%ld,\"deferred_receives\":%ld,"
           "\"unrelated_turns\":%ld}\n",
           clients, clients * requests, answered, received, deferred, unrelated);
    free(all);
    return answered == clients * requests ? 0 : 1;
}
