/* Many of something, to see what grows with it: processes, connections, bytes of a body.
 *
 *   crowd PROCESSES CONNECTIONS BODY EXCHANGES RATE
 *   crowd idle PROCESSES
 *
 * Each process has so many TCP connections, both ends of each, and says so on the first exchange of each; then it waits for a
 * line on standard input. Together they then make EXCHANGES HTTP exchanges, whose responses have BODY bytes, over all
 * connections by turns, RATE a second (0: as fast as they can), and print {"exchanges":…,"ns":…,"cpu_ns":…}: how long all
 * took, and their CPU time. `idle` processes do nothing. The first line printed is {"pid":…,"port":0}, once all are ready. */
#include "net.h"

#include <signal.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

/* So many exchanges follow each other before a process sleeps: waking up costs more than one of them. */
enum { BLOCK = 65536, CHILDREN = 20000, BURST = 16 };

static const char REQUEST[] = "GET /products/17 HTTP/1.1\r\nHost: product:8080\r\nAccept: */*\r\n\r\n";
static char block[BLOCK];
static long processes, connections, body, exchanges, rate;
static int (*pairs)[2];

static double ns_of(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t)) die("clock_gettime");
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static void sleep_until(double ns) {
    long long whole = ns;
    struct timespec t = {.tv_sec = whole / 1000000000, .tv_nsec = whole % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL)) {}
}

static void put(int fd, const char *bytes, long len) {
    while (len > 0) {
        long n = must(write(fd, bytes, len), "write");
        bytes += n;
        len -= n;
    }
}

static void take(int fd, long len) {
    while (len > 0) len -= must(read(fd, block, len < BLOCK ? len : BLOCK), "read");
}

/* A request one way, and a response of so many bytes the other. Sender and receiver are one thread: no more is under way
 * than a socket's buffer holds. */
static void exchange(const int pair[2], long bytes) {
    char head[128];
    int len = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %ld\r\n\r\n", bytes);
    put(pair[0], REQUEST, sizeof REQUEST - 1);
    take(pair[1], sizeof REQUEST - 1);
    put(pair[1], head, len);
    take(pair[0], len);
    for (long left = bytes; left > 0; left -= BLOCK) {
        long n = left < BLOCK ? left : BLOCK;
        put(pair[1], block, n);
        take(pair[0], n);
    }
}

static void open_pairs(void) {
    int port = 0, one = 1, listener = tcp_listen(&port);
    char text[8];
    snprintf(text, sizeof text, "%d", port);
    pairs = calloc(connections, sizeof *pairs);
    if (!pairs) die("calloc");
    for (long i = 0; i < connections; i++) {
        pairs[i][0] = tcp_connect("127.0.0.1", text);
        pairs[i][1] = must(accept(listener, NULL, NULL), "accept");
        setsockopt(pairs[i][1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
}

/* This process's exchanges, in bursts; processes begin theirs one after the other. */
static void all_exchanges(long place) {
    long share = exchanges / processes;
    double burst_ns = rate ? 1e9 * BURST * processes / rate : 0;
    double begin = ns_of(CLOCK_MONOTONIC) + burst_ns * place / processes;
    for (long i = 0; i < share; i++) {
        if (rate && i % BURST == 0) sleep_until(begin + burst_ns * (i / BURST));
        exchange(pairs[i % connections], body);
    }
}

/* A process: ready, told to start, done: a number on its pipe, the last one its CPU time. */
static void work(long place, int from, int to) {
    char byte;
    double cpu_ns = 0;
    open_pairs();
    for (long i = 0; i < connections; i++) exchange(pairs[i], 1);
    must(write(to, &cpu_ns, sizeof cpu_ns), "write(pipe)");
    /* The agent may come now: what it sees first is the load. */
    if (read(from, &byte, 1) != 1) exit(1);
    cpu_ns = ns_of(CLOCK_PROCESS_CPUTIME_ID);
    all_exchanges(place);
    cpu_ns = ns_of(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns;
    must(write(to, &cpu_ns, sizeof cpu_ns), "write(pipe)");
    /* Until everybody is done. */
    if (read(from, &byte, 1) > 0) exit(0);
    exit(0);
}

/* The sum of what all processes say next. */
static double wait_all(int pipes[][2]) {
    double sum = 0, one;
    for (long i = 0; i < processes; i++) {
        if (read(pipes[i][0], &one, sizeof one) != sizeof one) die("a process has ended");
        sum += one;
    }
    return sum;
}

static void limits(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) die("getrlimit(RLIMIT_NOFILE)");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit)) die("setrlimit(RLIMIT_NOFILE)");
}

/* A child that ends with its parent. */
static long child(void) {
    pid_t parent = getpid(), pid = must(fork(), "fork");
    if (pid) return pid;
    must(prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
    if (getppid() != parent) exit(1);
    return 0;
}

static int idle(long count) {
    char line[64];
    for (long i = 0; i < count; i++)
        if (!child())
            for (;;) pause();
    announce(0, 0);
    if (fgets(line, sizeof line, stdin)) printf("{}\n");
    return 0;
}

int main(int argc, char **argv) {
    static int to[CHILDREN][2], from[CHILDREN][2];
    double ns, cpu_ns;
    char byte = 0;
    limits();
    if (argc == 3 && !strcmp(argv[1], "idle")) return idle(number(argv[2]));
    if (argc != 6) {
        fprintf(stderr, "crowd PROCESSES CONNECTIONS BODY EXCHANGES RATE | crowd idle PROCESSES\n");
        return 2;
    }
    processes = number(argv[1]);
    connections = number(argv[2]);
    body = atol(argv[3]);
    exchanges = number(argv[4]);
    rate = atol(argv[5]);
    if (processes > CHILDREN) die("too many processes");
    for (long i = 0; i < processes; i++) {
        must(pipe2(to[i], O_CLOEXEC), "pipe");
        must(pipe2(from[i], O_CLOEXEC), "pipe");
        if (!child()) work(i, to[i][0], from[i][1]);
    }
    wait_all(from);
    announce(0, 1);
    ns = ns_of(CLOCK_MONOTONIC);
    for (long i = 0; i < processes; i++) must(write(to[i][1], &byte, 1), "write(pipe)");
    cpu_ns = wait_all(from);
    ns = ns_of(CLOCK_MONOTONIC) - ns;
    printf("{\"exchanges\":%ld,\"ns\":%.0f,\"cpu_ns\":%.0f}\n", exchanges / processes * processes, ns, cpu_ns);
    fflush(stdout);
    /* The agent may still look. */
    if (!fgets(block, sizeof block, stdin)) return 0;
    return 0;
}
