/* What a call costs on this machine, now: run it beside an agent and without one and compare.
 *
 *   callcost [--wait] [ROUNDS]
 *
 * Prints one line of JSON with the minimum and the median over ROUNDS (default 40) of the nanoseconds per
 * call: tcp_write_read is one write and one read, http_exchange a request and its response (two of each).
 * With --wait it first prints its pid and waits for a line on stdin, so that an agent can be told to trace
 * it. Both TCP connections stay open throughout; plain bytes and HTTP have one each, since an agent may
 * judge a connection by what it carries first. */
#include "net.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <time.h>

static const char REQUEST[] = "GET /products HTTP/1.1\r\n"
                              "Accept: application/json, text/plain, */*\r\n"
                              "Accept-Encoding: gzip, deflate\r\n"
                              "Host: product:8080\r\n"
                              "Connection: keep-alive\r\n\r\n";
static const char RESPONSE[] = "HTTP/1.1 200 OK\r\n"
                               "Content-Type: application/json\r\n"
                               "Content-Length: 39\r\n\r\n"
                               "{\"id\":1,\"name\":\"Laptop\",\"price\":999.99}";

enum { PLAIN_LEN = 200, BUF_LEN = 256 };

static int zero, null, plain_pair[2], http_pair[2];
static char buf[BUF_LEN];

static void call_getppid(void) { syscall(SYS_getppid); }

static void call_read(void) { must(read(zero, buf, 64), "read(/dev/zero)"); }

static void call_write(void) { must(write(null, buf, 64), "write(/dev/null)"); }

/* One message from one end of the connection to the other. */
static void pass(int from, int to, const char *msg, size_t len) {
    if (write(from, msg, len) != (ssize_t)len) die("write(tcp)");
    if (read(to, buf, BUF_LEN) != (ssize_t)len) die("read(tcp)");
}

static void call_tcp(void) {
    static const char plain[PLAIN_LEN]; /* zeros: nothing that looks like HTTP */
    pass(plain_pair[0], plain_pair[1], plain, PLAIN_LEN);
}

static void call_http(void) {
    pass(http_pair[0], http_pair[1], REQUEST, sizeof REQUEST - 1);
    pass(http_pair[1], http_pair[0], RESPONSE, sizeof RESPONSE - 1);
}

static const struct bench {
    const char *name;
    void (*call)(void);
    int times; /* calls in a round */
} BENCHES[] = {
    {"getppid", call_getppid, 20000},
    {"read_dev_zero", call_read, 20000},
    {"write_dev_null", call_write, 20000},
    {"tcp_write_read", call_tcp, 4000},
    {"http_exchange", call_http, 2000},
};
enum { BENCH_COUNT = sizeof BENCHES / sizeof *BENCHES };

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static double ns_per_call(const struct bench *bench) {
    double start = now_ns();
    for (int i = 0; i < bench->times; i++) bench->call();
    return (now_ns() - start) / bench->times;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *sorted, long n) {
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

int main(int argc, char **argv) {
    int wait = take_wait(&argc, &argv);
    long rounds = argc > 1 ? number(argv[1]) : 40;
    double *ns = calloc(rounds * BENCH_COUNT, sizeof *ns);
    if (!ns) die("calloc");
    zero = must(open("/dev/zero", O_RDONLY), "/dev/zero");
    null = must(open("/dev/null", O_WRONLY), "/dev/null");
    if (wait) announce(0, 1);
    tcp_pair(plain_pair);
    tcp_pair(http_pair);
    /* Round by round, so that what else the machine does falls on all of them alike. */
    for (long round = 0; round < rounds; round++)
        for (int i = 0; i < BENCH_COUNT; i++) ns[i * rounds + round] = ns_per_call(&BENCHES[i]);
    printf("{\"rounds\":%ld", rounds);
    for (int i = 0; i < BENCH_COUNT; i++) {
        double *mine = ns + i * rounds;
        qsort(mine, rounds, sizeof *mine, by_value);
        printf(",\"%s\":{\"min_ns\":%.1f,\"median_ns\":%.1f}", BENCHES[i].name, mine[0],
               median(mine, rounds));
    }
    printf("}\n");
    return 0;
}
