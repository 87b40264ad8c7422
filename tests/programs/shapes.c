/* One HTTP/1.1 connection, every way a program can hand bytes to a socket and take them from it.
 *
 *   shapes [--wait] MODE REQUESTS [BODY_BYTES]
 *
 *   rw        write, read
 *   vec       writev, readv
 *   pv2       pwritev2, preadv2 (offset -1)
 *   to        sendto, recvfrom
 *   msg       sendmsg, recvmsg
 *   mmsg      sendmmsg, recvmmsg (three messages a call)
 *   sendfile  bodies by sendfile, heads by write and read
 *   splice    bodies by splice both ways, heads by write and read
 *   blind     heads and bodies by splice both ways: no call on the socket names memory of the program
 *
 * Heads are in four pieces of memory, the first one byte long: a call each, or all in one vectored call.
 * Client and server are two threads; both directions use the same calls. Request N is
 * `POST /shapes/MODE/N` with a body of BODY_BYTES (default 300); each is answered 200 with as long a body.
 * What arrives is compared with what was sent. Prints one line of JSON. */
#include "net.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

enum { HEAD_MAX = 512, PIECES = 4, MESSAGES = 3 };

/* A message to send, or the room for one whose length is known. */
struct message {
    char head[HEAD_MAX];
    size_t head_len, body_len;
    char *body;
    int file, pipe[2]; /* the body as a file; the way from and to memory for splice */
};

struct mode {
    const char *name;
    void (*send)(int fd, struct message *m);
    void (*recv)(int fd, struct message *m);
};

static const struct mode *mode;
static long requests, body_len = 300;

/* ---- pieces of memory ---- */

/* What is left of a message after `done` bytes: head in pieces of 1, 15 and two halves, then the body. */
static int pieces(struct message *m, size_t done, struct iovec *out) {
    size_t half = (m->head_len - 16) / 2;
    struct iovec all[PIECES + 1] = {{m->head, 1},
                                    {m->head + 1, 15},
                                    {m->head + 16, half},
                                    {m->head + 16 + half, m->head_len - 16 - half},
                                    {m->body, m->body_len}};
    int n = 0;
    for (int i = 0; i <= PIECES; i++) {
        size_t skip = done < all[i].iov_len ? done : all[i].iov_len;
        done -= skip;
        if (all[i].iov_len > skip)
            out[n++] = (struct iovec){(char *)all[i].iov_base + skip, all[i].iov_len - skip};
    }
    return n;
}

/* Repeats a call on the pieces that are left until the whole message has passed. */
static void whole(int fd, struct message *m, ssize_t (*call)(int, struct iovec *, int), const char *name) {
    struct iovec iov[PIECES + 1];
    for (size_t done = 0; done < m->head_len + m->body_len;) {
        ssize_t n = must(call(fd, iov, pieces(m, done, iov)), name);
        if (!n) die("closed in a message");
        done += n;
    }
}

/* ---- the calls, each on the pieces that are left; calls without vectors take the first ---- */

#define UNUSED __attribute__((unused))

static ssize_t do_write(int fd, struct iovec *v, UNUSED int n) { return write(fd, v->iov_base, v->iov_len); }
static ssize_t do_read(int fd, struct iovec *v, UNUSED int n) { return read(fd, v->iov_base, v->iov_len); }
static ssize_t do_writev(int fd, struct iovec *v, int n) { return writev(fd, v, n); }
static ssize_t do_readv(int fd, struct iovec *v, int n) { return readv(fd, v, n); }
static ssize_t do_pwritev2(int fd, struct iovec *v, int n) { return pwritev2(fd, v, n, -1, 0); }
static ssize_t do_preadv2(int fd, struct iovec *v, int n) { return preadv2(fd, v, n, -1, 0); }

static ssize_t do_sendto(int fd, struct iovec *v, UNUSED int n) {
    return sendto(fd, v->iov_base, v->iov_len, MSG_NOSIGNAL, NULL, 0);
}

static ssize_t do_recvfrom(int fd, struct iovec *v, UNUSED int n) {
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    return recvfrom(fd, v->iov_base, v->iov_len, 0, (void *)&from, &len);
}

static ssize_t do_sendmsg(int fd, struct iovec *v, int n) {
    return sendmsg(fd, &(struct msghdr){.msg_iov = v, .msg_iovlen = n}, MSG_NOSIGNAL);
}

static ssize_t do_recvmsg(int fd, struct iovec *v, int n) {
    return recvmsg(fd, &(struct msghdr){.msg_iov = v, .msg_iovlen = n}, 0);
}

/* Deals the pieces out to messages: two for the first, two for the second, the rest for the third. */
static int deal(struct iovec *v, int n, struct mmsghdr *out) {
    int count = 0;
    memset(out, 0, MESSAGES * sizeof *out);
    for (int at = 0; at < n; count++) {
        int take = n - at < 2 || count == MESSAGES - 1 ? n - at : 2;
        out[count].msg_hdr = (struct msghdr){.msg_iov = v + at, .msg_iovlen = take};
        at += take;
    }
    return count;
}

/* How many bytes passed. Only the last message that moved can be short. */
static ssize_t passed(struct mmsghdr *messages, int count) {
    ssize_t total = 0;
    for (int i = 0; i < count; i++) total += messages[i].msg_len;
    return total;
}

static ssize_t do_sendmmsg(int fd, struct iovec *v, int n) {
    struct mmsghdr messages[MESSAGES];
    int count = sendmmsg(fd, messages, deal(v, n, messages), MSG_NOSIGNAL);
    return count < 0 ? -1 : passed(messages, count);
}

static ssize_t do_recvmmsg(int fd, struct iovec *v, int n) {
    struct mmsghdr messages[MESSAGES];
    /* WAITALL: no message may come back short while the next one takes bytes. */
    int count = recvmmsg(fd, messages, deal(v, n, messages), MSG_WAITALL, NULL);
    return count < 0 ? -1 : passed(messages, count);
}

#define WHOLE(send_call, recv_call)                                                                         \
    static void send_by_##send_call(int fd, struct message *m) { whole(fd, m, do_##send_call, #send_call); } \
    static void recv_by_##recv_call(int fd, struct message *m) { whole(fd, m, do_##recv_call, #recv_call); }

WHOLE(write, read)
WHOLE(writev, readv)
WHOLE(pwritev2, preadv2)
WHOLE(sendto, recvfrom)
WHOLE(sendmsg, recvmsg)
WHOLE(sendmmsg, recvmmsg)

/* ---- files and pipes ---- */

/* The head alone, by write or read. */
static void head_only(int fd, struct message *m, void (*pass)(int, struct message *)) {
    size_t body = m->body_len;
    m->body_len = 0;
    pass(fd, m);
    m->body_len = body;
}

static void send_by_sendfile(int fd, struct message *m) {
    off_t at = 0;
    must(pwrite(m->file, m->body, m->body_len, 0), "pwrite");
    head_only(fd, m, send_by_write);
    while (at < (off_t)m->body_len) must(sendfile(fd, m->file, &at, m->body_len - at), "sendfile");
}

/* Memory through the pipe to the socket, as much at a time as a pipe holds. */
static void splice_out(int fd, struct message *m, const char *buf, size_t len) {
    while (len) {
        ssize_t in = must(write(m->pipe[1], buf, len < 4096 ? len : 4096), "write(pipe)");
        buf += in;
        len -= in;
        int flags = len ? SPLICE_F_MORE : 0;
        while (in) in -= must(splice(m->pipe[0], NULL, fd, NULL, in, flags), "splice(to socket)");
    }
}

/* The socket through the pipe to memory. */
static void splice_in(int fd, struct message *m, char *buf, size_t len) {
    while (len) {
        size_t want = len < 4096 ? len : 4096;
        ssize_t in = must(splice(fd, NULL, m->pipe[1], NULL, want, 0), "splice(from socket)");
        if (!in) die("closed in a message");
        len -= in;
        while (in) {
            ssize_t n = must(read(m->pipe[0], buf, in), "read(pipe)");
            buf += n;
            in -= n;
        }
    }
}

static void send_by_splice(int fd, struct message *m) {
    head_only(fd, m, send_by_write);
    splice_out(fd, m, m->body, m->body_len);
}

static void recv_by_splice(int fd, struct message *m) {
    head_only(fd, m, recv_by_read);
    splice_in(fd, m, m->body, m->body_len);
}

static void send_blind(int fd, struct message *m) {
    splice_out(fd, m, m->head, m->head_len);
    splice_out(fd, m, m->body, m->body_len);
}

static void recv_blind(int fd, struct message *m) {
    splice_in(fd, m, m->head, m->head_len);
    splice_in(fd, m, m->body, m->body_len);
}

static const struct mode MODES[] = {
    {"rw", send_by_write, recv_by_read},
    {"vec", send_by_writev, recv_by_readv},
    {"pv2", send_by_pwritev2, recv_by_preadv2},
    {"to", send_by_sendto, recv_by_recvfrom},
    {"msg", send_by_sendmsg, recv_by_recvmsg},
    {"mmsg", send_by_sendmmsg, recv_by_recvmmsg},
    {"sendfile", send_by_sendfile, recv_by_read},
    {"splice", send_by_splice, recv_by_splice},
    {"blind", send_blind, recv_blind},
};

/* ---- the exchange ---- */

static void message_open(struct message *m) {
    m->body_len = body_len;
    m->body = calloc(1, body_len);
    m->file = scratch_file();
    if (!m->body) die("calloc");
    must(pipe(m->pipe), "pipe");
}

static void message_close(struct message *m) {
    free(m->body);
    close(m->file);
    close(m->pipe[0]);
    close(m->pipe[1]);
}

/* Both sides can write down every message, so the reader knows its length and its bytes beforehand. */
static void write_request(struct message *m, long n) {
    m->head_len = snprintf(m->head, HEAD_MAX,
                           "POST /shapes/%s/%ld HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
                           "Content-Length: %ld\r\n\r\n",
                           mode->name, n, body_len);
    fill(m->body, body_len, "question ");
}

static void write_response(struct message *m) {
    m->head_len = snprintf(m->head, HEAD_MAX,
                           "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %ld\r\n\r\n",
                           body_len);
    fill(m->body, body_len, "answer ");
}

/* Receives into `room` what must be equal to `expected`. */
static void expect(int fd, struct message *room, struct message *expected) {
    memset(room->head, 0, HEAD_MAX);
    memset(room->body, 0, body_len);
    room->head_len = expected->head_len;
    mode->recv(fd, room);
    if (memcmp(room->head, expected->head, expected->head_len) ||
        memcmp(room->body, expected->body, body_len))
        die("other bytes than were sent");
}

static void *run_client(void *arg) {
    struct message request, response, room;
    int fd = *(int *)arg;
    message_open(&request), message_open(&response), message_open(&room);
    write_response(&response);
    for (long n = 0; n < requests; n++) {
        write_request(&request, n);
        mode->send(fd, &request);
        expect(fd, &room, &response);
    }
    message_close(&request), message_close(&response), message_close(&room);
    return NULL;
}

static void serve(int fd) {
    struct message request, response, room;
    message_open(&request), message_open(&response), message_open(&room);
    write_response(&response);
    for (long n = 0; n < requests; n++) {
        write_request(&request, n);
        expect(fd, &room, &request);
        mode->send(fd, &response);
    }
    message_close(&request), message_close(&response), message_close(&room);
}

static const struct mode *find_mode(const char *name) {
    for (size_t i = 0; i < sizeof MODES / sizeof *MODES; i++)
        if (!strcmp(MODES[i].name, name)) return &MODES[i];
    fprintf(stderr, "no such mode: %s\n", name);
    exit(2);
}

int main(int argc, char **argv) {
    int wait = take_wait(&argc, &argv), pair[2];
    pthread_t client;
    if (argc < 3) {
        fprintf(stderr, "usage: shapes [--wait] MODE REQUESTS [BODY_BYTES]\n");
        return 2;
    }
    mode = find_mode(argv[1]);
    requests = number(argv[2]);
    if (argc > 3) body_len = number(argv[3]);
    if (wait) announce(0, 1);
    tcp_pair(pair);
    errno = pthread_create(&client, NULL, run_client, &pair[0]);
    if (errno) die("pthread_create");
    serve(pair[1]);
    pthread_join(client, NULL);
    close(pair[0]);
    close(pair[1]);
    printf("{\"mode\":\"%s\",\"requests\":%ld,\"body_bytes\":%ld}\n", mode->name, requests, body_len);
    return 0;
}
