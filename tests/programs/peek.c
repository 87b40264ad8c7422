/* A client and a server that look before they read.
 *
 *   peek [--wait] REQUESTS SECRET BODY
 *
 * Two threads, one connection on loopback. Each side first peeks at a head (MSG_PEEK, more than once), then
 * reads it in small pieces; the server throws each request's body away with MSG_TRUNC, which writes nothing
 * to the buffer it is given: that buffer is NULL or holds SECRET, which also stands behind the heads.
 * Between the socket calls SECRET goes through a file and a pipe. The bodies of the requests are the text
 * BODY, over and over. Request N is `POST /peek/N`, each is answered 200. Prints one line of JSON. */
#include "net.h"

#include <pthread.h>

enum { HEAD_MAX = 1024, BODY_LEN = 3000 };

static char body[BODY_LEN], planted[BODY_LEN]; /* BODY and SECRET, over and over */
static long requests;

struct side {
    int fd;
    struct vault vault;
    long peeks, pieces, discarded;
};

static void send_all(int fd, const char *buf, size_t len) {
    while (len) {
        ssize_t n = must(send(fd, buf, len, MSG_NOSIGNAL), "send");
        buf += n;
        len -= n;
    }
}

/* Peeks until the whole head is there; its length is returned and nothing is consumed. */
static size_t peek_head(struct side *s, char *head) {
    for (int times = 1;; times++) {
        ssize_t n = must(recv(s->fd, head, HEAD_MAX, MSG_PEEK), "recv(MSG_PEEK)");
        if (!n) die("closed in a head");
        s->peeks++;
        char *end = memmem(head, n, "\r\n\r\n", 4);
        if (end && times > 1) return end + 4 - head;
        usleep(100);
    }
}

/* Reads the head that was peeked at: one byte, seven, then 64 at a time, the vault in between. */
static void read_head(struct side *s, char *head, size_t len) {
    size_t at = 0, piece = 1;
    while (at < len) {
        size_t want = piece < len - at ? piece : len - at;
        at += must(recv(s->fd, head + at, want, 0), "recv");
        s->pieces++;
        vault_turn(&s->vault);
        piece = piece == 1 ? 7 : 64;
    }
}

/* Throws bytes away in the kernel, now without a buffer, now with one that must stay as it is. */
static void discard(struct side *s, size_t len) {
    char untouched[BODY_LEN];
    memcpy(untouched, planted, BODY_LEN);
    for (int turn = 0; len; turn++) {
        size_t want = len < BODY_LEN / 4 ? len : BODY_LEN / 4;
        len -= must(recv(s->fd, turn % 2 ? untouched : NULL, want, MSG_TRUNC), "recv(MSG_TRUNC)");
        s->discarded++;
        vault_turn(&s->vault);
    }
    if (memcmp(untouched, planted, BODY_LEN)) die("MSG_TRUNC wrote to its buffer");
}

static void serve(struct side *s) {
    static const char answer[] = "HTTP/1.1 200 OK\r\n"
                                 "Content-Type: text/plain\r\n"
                                 "Content-Length: 7\r\n\r\n"
                                 "peeked\n";
    char head[HEAD_MAX];
    for (long n = 0; n < requests; n++) {
        memcpy(head, planted, HEAD_MAX);
        read_head(s, head, peek_head(s, head));
        discard(s, BODY_LEN);
        send_all(s->fd, answer, sizeof answer - 1);
    }
}

static void *run_client(void *arg) {
    struct side *s = arg;
    char head[HEAD_MAX], rest[7];
    for (long n = 0; n < requests; n++) {
        memcpy(head, planted, HEAD_MAX);
        int len = snprintf(head, sizeof head,
                           "POST /peek/%ld HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
                           "Content-Length: %d\r\n\r\n",
                           n, BODY_LEN);
        send_all(s->fd, head, len);
        vault_turn(&s->vault);
        send_all(s->fd, body, BODY_LEN);
        read_head(s, head, peek_head(s, head));
        if (memcmp(head, "HTTP/1.1 200 ", 13)) die("not answered 200");
        must(recv(s->fd, rest, sizeof rest, MSG_WAITALL), "recv(body)");
    }
    return NULL;
}

int main(int argc, char **argv) {
    int wait = take_wait(&argc, &argv), pair[2];
    if (argc != 4) {
        fprintf(stderr, "usage: peek [--wait] REQUESTS SECRET BODY\n");
        return 2;
    }
    requests = number(argv[1]);
    fill(planted, sizeof planted, argv[2]);
    fill(body, sizeof body, argv[3]);
    if (wait) announce(0, 1);
    tcp_pair(pair);
    struct side client = {.fd = pair[0]}, server = {.fd = pair[1]};
    vault_open(&client.vault, argv[2]);
    vault_open(&server.vault, argv[2]);
    pthread_t thread;
    errno = pthread_create(&thread, NULL, run_client, &client);
    if (errno) die("pthread_create");
    serve(&server);
    pthread_join(thread, NULL);
    printf("{\"requests\":%ld,\"peeks\":%ld,\"pieces\":%ld,\"discards\":%ld,\"vault_calls\":%ld}\n", requests,
           client.peeks + server.peeks, client.pieces + server.pieces, server.discarded,
           client.vault.calls + server.vault.calls);
    vault_close(&client.vault);
    vault_close(&server.vault);
    return 0;
}
