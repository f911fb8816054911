/* wsload: a WebSocket client of many connections, cheap enough not to be the bottleneck of a measurement.
 *
 *   wsload PORT PATH CONNECTIONS [-m MESSAGE] [-g FRAMES] [-f FILE] [-c FILE] [-a ASK=ANSWER] [-n CONNECTIONS]
 *          [-r MS] [-p PORT] [-s] [-t] [-z]
 *
 * Opens CONNECTIONS to 127.0.0.1, and otherwise as fast as the server lets it. In PATH and MESSAGE, {i} is replaced
 * by the connection's number, {id} by 20 hexadecimal digits of its own, as SDKs make them for their subscriptions,
 * and {line} by that line of FILE.
 *
 *   -m  a message to send on each connection as soon as it is upgraded
 *   -g  a connection counts as open when so many messages have arrived on it, such as a greeting; they are not
 *       counted otherwise (default 0: open when upgraded)
 *   -f  a file of lines, at least one for each connection
 *   -c  a file to keep counters in, mapped into memory so that others can watch them: see counters_t
 *   -a  answer each message that is ASK with ANSWER, and do not count it
 *   -n  how many connections may be on their way at once (default 256)
 *   -r  return so many milliseconds after a connection was lost or could not be made, as often as it takes
 *   -p  the port to return to, if it is not PORT
 *   -s  stall: read nothing from a connection once it is open
 *   -t  take the time of each message that says "sent":N, N being nanoseconds of the monotonic clock
 *   -z  offer permessage-deflate, as browsers do. What comes is counted, and not inflated
 *
 * It goes on until SIGTERM. SIGUSR1 makes it look for input without ever sleeping, so that no server spends time on
 * waking it, and again stops that. Pings are answered. One line of JSON is printed when all connections are open or have
 * failed, and one at the end; the times in the latter are in milliseconds, with -t:
 *
 *   {"opened": 1000, "failed": 0, "open_s": 0.412}
 *   {"lost": 0, "frames": 100000, "bytes": 160000000, "window_s": 1.23, "p50": 0.9, "p90": 1.3, "p99": 2.5}
 *
 * window_s is the time from the first message to the last.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 1024, TEXT_MAX = 8192, BUFFER = 1 << 20, STALLED_BUFFER = 4096, STALLED_SEGMENT = 1400 };
enum { OP_TEXT = 1, OP_CLOSE = 8, OP_PING = 9, DEFLATED = 0x40 };

typedef enum { CONNECTING, UPGRADING, UPGRADED, OPEN, DEAD } state_t;

typedef struct {
  int fd;
  state_t state;
  uint32_t messages; /* since it was upgraded */
  uint32_t held;     /* bytes of an incomplete frame or response head */
  char *holding;
  int is_returning;
} connection_t;

/* What others may watch; each grows from 0. */
typedef struct {
  uint64_t frames;   /* messages that arrived on open connections */
  uint64_t bytes;    /* their size, heads included */
  uint64_t deflated; /* how many of them were compressed */
  uint64_t opened;
  uint64_t lost;     /* open connections that ended, each time */
  uint64_t returned; /* lost connections that are open again, each time */
} counters_t;

typedef struct {
  int connection;
  double due_s;
} return_t;

static int port, count, greeting_frames, in_flight_max = 256, return_ms = -1, return_port;
static int is_stalling, is_timing, is_deflating;
static const char *path, *message, *answer;
static char *ask;
static char **lines;

static connection_t *connections;
static char *buffer;
static int poller;
static int launched, in_flight, failed, announced;
static counters_t *counters;
static double first_s, last_s;
static return_t *returns; /* a ring: who was lost first returns first */
static int returns_first, returns_count;
static uint32_t *times_us;
static size_t times_count, times_size;
static volatile sig_atomic_t stopping, is_busy;

static void stop(int signal_number) {
  (void)signal_number;
  stopping = 1;
}

static void toggle_busy(int signal_number) {
  (void)signal_number;
  is_busy = !is_busy;
}

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what) {
  perror(what);
  exit(1);
}

/* Digits that do not repeat themselves, so that they do not compress better than those of a real ID; others in each
 * process, or a hub would take its subscriptions for those of the process before, which return. */
static int write_id(char *out, size_t size, int i) {
  uint64_t x = (i + 1 + ((uint64_t)getpid() << 32)) * 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return snprintf(out, size, "%016llx%04x", (unsigned long long)(x ^ x >> 31), i & 0xffff);
}

static void fill_in(char *out, size_t size, const char *text, int i) {
  size_t n = 0;
  while (*text && n + 1 < size) {
    if (!strncmp(text, "{i}", 3)) {
      n += snprintf(out + n, size - n, "%d", i);
      text += 3;
    } else if (!strncmp(text, "{id}", 4)) {
      n += write_id(out + n, size - n, i);
      text += 4;
    } else if (lines && !strncmp(text, "{line}", 6)) {
      n += snprintf(out + n, size - n, "%s", lines[i]);
      text += 6;
    } else {
      out[n++] = *text++;
    }
    if (n >= size) {
      fprintf(stderr, "wsload: too long: %.60s\n", text);
      exit(1);
    }
  }
  out[n] = 0;
}

static void read_lines(const char *name) {
  FILE *file = fopen(name, "r");
  if (!file) die(name);
  lines = calloc(count, sizeof *lines);
  for (int i = 0; i < count; i++) {
    size_t size = 0;
    if (getline(&lines[i], &size, file) < 0) {
      fprintf(stderr, "wsload: %s has only %d lines\n", name, i);
      exit(1);
    }
    lines[i][strcspn(lines[i], "\n")] = 0;
  }
  fclose(file);
}

static void return_later(int i) {
  connections[i].is_returning = 1;
  returns[(returns_first + returns_count++) % count] = (return_t){i, now_s() + return_ms / 1e3};
}

static void forget(connection_t *c) {
  int was_open = c->state == OPEN, is_returning = c->is_returning;
  if (was_open) {
    counters->lost++;
  } else {
    in_flight--;
  }
  close(c->fd);
  free(c->holding);
  *c = (connection_t){.state = DEAD};
  if (return_ms >= 0 && (was_open || is_returning)) {
    return_later(c - connections);
  } else if (!was_open) {
    failed++;
  }
}

/* The mask is zero: legal, and the payload stays as it is. */
static void send_frame(connection_t *c, int opcode, const char *payload, size_t size) {
  unsigned char frame[TEXT_MAX + 8] = {0x80 | opcode};
  size_t n = 2;
  if (size < 126) {
    frame[1] = 0x80 | size;
  } else {
    frame[1] = 0x80 | 126;
    frame[n++] = size >> 8;
    frame[n++] = size & 255;
  }
  n += 4;
  memcpy(frame + n, payload, size);
  /* That the server has closed the connection is noticed by reading. */
  if (write(c->fd, frame, n + size) < 0 && errno != EPIPE && errno != ECONNRESET) die("write");
}

static void watch(int i, uint32_t what, int operation) {
  struct epoll_event event = {.events = what, .data.u32 = i};
  epoll_ctl(poller, operation, connections[i].fd, &event);
}

static void launch(int i) {
  connection_t *c = &connections[i];
  int yes = 1, size = STALLED_BUFFER, segment = STALLED_SEGMENT, to_port = c->is_returning ? return_port : port;
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (c->fd < 0) die("socket");
  c->state = CONNECTING;
  in_flight++;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  if (is_stalling) {
    /* As over a real network. With the segments of the loopback, the server's kernel takes megabytes by itself. */
    setsockopt(c->fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  }
  /* From 127.0.0.2, 127.0.0.3 and so on, so that ports are enough for any number of connections. The port is
     left to connect(), which may take one that a closed connection to another port still holds. */
  setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
  struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002 + i / 10000)};
  struct sockaddr_in to = {
      .sin_family = AF_INET, .sin_port = htons(to_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(c->fd, (void *)&from, sizeof from) < 0) die("bind");
  if (connect(c->fd, (void *)&to, sizeof to) < 0 && errno != EINPROGRESS) {
    forget(c);
    return;
  }
  watch(i, EPOLLOUT, EPOLL_CTL_ADD);
}

static void upgrade(int i) {
  connection_t *c = &connections[i];
  char target[TEXT_MAX], request[TEXT_MAX + 512];
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error) {
    forget(c);
    return;
  }
  fill_in(target, sizeof target, path, i);
  int n = snprintf(request, sizeof request,
                   "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
                   target, port,
                   is_deflating ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" : "");
  if (write(c->fd, request, n) != n) {
    forget(c);
    return;
  }
  c->state = UPGRADING;
  watch(i, EPOLLIN, EPOLL_CTL_MOD);
}

static void open_if_greeted(connection_t *c) {
  if (c->state != UPGRADED || (int)c->messages < greeting_frames) return;
  c->state = OPEN;
  in_flight--;
  if (c->is_returning) {
    c->is_returning = 0;
    counters->returned++;
  } else {
    counters->opened++;
  }
  /* Errors are reported all the same. */
  if (is_stalling) watch(c - connections, 0, EPOLL_CTL_MOD);
}

static void take_time(const char *text, size_t size) {
  static const char mark[] = "\"sent\":";
  const char *found = memmem(text, size, mark, sizeof mark - 1);
  if (!found) return;
  if (times_count == times_size) {
    times_size = times_size ? 2 * times_size : 1 << 16;
    times_us = realloc(times_us, times_size * sizeof *times_us);
  }
  times_us[times_count++] = (now_s() - strtoull(found + sizeof mark - 1, NULL, 10) / 1e9) * 1e6;
}

static void take_message(connection_t *c, int is_deflated, const char *text, size_t size, size_t head) {
  if (ask && size == strlen(ask) && !memcmp(text, ask, size)) {
    send_frame(c, OP_TEXT, answer, strlen(answer));
    return;
  }
  c->messages++;
  if (c->state != OPEN) {
    open_if_greeted(c);
    return;
  }
  last_s = now_s();
  if (!counters->frames++) first_s = last_s;
  counters->bytes += head + size;
  counters->deflated += is_deflated;
  if (is_timing) take_time(text, size);
}

/* Returns how many bytes of whole frames there were; -1 after a close frame. */
static ssize_t take_frames(connection_t *c, const char *data, size_t size) {
  size_t used = 0;
  while (size - used >= 2) {
    const unsigned char *frame = (const unsigned char *)data + used;
    size_t head = 2;
    uint64_t length = frame[1] & 127;
    if (length >= 126) {
      head = length == 126 ? 4 : 10;
      if (size - used < head) break;
      length = 0;
      for (size_t k = 2; k < head; k++) length = length << 8 | frame[k];
    }
    if (size - used < head + length) break;
    switch (frame[0] & 15) {
    case OP_CLOSE: return -1;
    case OP_PING: send_frame(c, 10, (const char *)frame + head, length); break;
    default: take_message(c, !!(frame[0] & DEFLATED), (const char *)frame + head, length, head);
    }
    used += head + length;
  }
  return used;
}

/* Returns how many bytes the response's head takes; 0 if it is incomplete, -1 if it is a refusal. */
static ssize_t take_response(int i, const char *data, size_t size) {
  connection_t *c = &connections[i];
  const char *end = memmem(data, size, "\r\n\r\n", 4);
  if (!end) return 0;
  if (memcmp(data, "HTTP/1.1 101", 12)) {
    if (failed < 3) fprintf(stderr, "wsload: refused: %.*s\n", (int)(end - data), data);
    return -1;
  }
  c->state = UPGRADED;
  if (message) {
    char text[TEXT_MAX];
    fill_in(text, sizeof text, message, i);
    send_frame(c, OP_TEXT, text, strlen(text));
  }
  open_if_greeted(c);
  return end + 4 - data;
}

static void take(int i) {
  connection_t *c = &connections[i];
  memcpy(buffer, c->holding, c->held);
  ssize_t n = read(c->fd, buffer + c->held, BUFFER);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) {
    forget(c);
    return;
  }
  size_t size = c->held + n, used = 0;
  if (c->state == UPGRADING) {
    ssize_t head = take_response(i, buffer, size);
    if (head < 0) {
      forget(c);
      return;
    }
    used = head;
  }
  if (c->state != UPGRADING) {
    ssize_t whole = take_frames(c, buffer + used, size - used);
    if (whole < 0) {
      forget(c);
      return;
    }
    used += whole;
  }
  c->held = size - used;
  if (c->held) {
    c->holding = realloc(c->holding, c->held);
    memcpy(c->holding, buffer + used, c->held);
  } else {
    free(c->holding);
    c->holding = NULL;
  }
}

static void announce(double started_s) {
  announced = 1;
  printf("{\"opened\": %d, \"failed\": %d, \"open_s\": %.4f}\n", (int)counters->opened, failed,
         now_s() - started_s);
  fflush(stdout);
}

static void launch_more(void) {
  while (launched < count && in_flight < in_flight_max) launch(launched++);
  while (returns_count && in_flight < in_flight_max && returns[returns_first].due_s <= now_s()) {
    int i = returns[returns_first].connection;
    returns_first = (returns_first + 1) % count;
    returns_count--;
    launch(i);
  }
}

static void run(void) {
  struct epoll_event events[EVENTS];
  double started_s = now_s();
  while (!stopping) {
    launch_more();
    if (!announced && (int)counters->opened + failed == count) announce(started_s);
    int n = epoll_wait(poller, events, EVENTS, is_busy ? 0 : 50);
    /* Being busy must not keep the publisher and Redis from the core that they share with this process. */
    if (!n && is_busy) sched_yield();
    for (int k = 0; k < n; k++) {
      connection_t *c = &connections[events[k].data.u32];
      if (c->state == CONNECTING) {
        upgrade(events[k].data.u32);
      } else if (c->state == OPEN && is_stalling) {
        forget(c);
      } else if (c->state != DEAD) {
        take(events[k].data.u32);
      }
    }
  }
}

static int compare(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static double percentile_ms(int percent) {
  return times_count ? times_us[times_count * percent / 100] / 1e3 : 0;
}

static counters_t *map_counters(const char *name) {
  int file = open(name, O_RDWR | O_CREAT, 0600);
  if (file < 0 || ftruncate(file, sizeof(counters_t))) die(name);
  void *mapped = mmap(NULL, sizeof(counters_t), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (mapped == MAP_FAILED) die("mmap");
  return mapped;
}

static void read_arguments(int argc, char **argv) {
  const char *line_file = NULL;
  int option;
  if (argc < 4) {
    fprintf(stderr, "usage: see the head of wsload.c\n");
    exit(2);
  }
  port = return_port = atoi(argv[1]);
  path = argv[2];
  count = atoi(argv[3]);
  optind = 4;
  while ((option = getopt(argc, argv, "m:g:f:c:a:n:r:p:stz")) != -1) switch (option) {
    case 'm': message = optarg; break;
    case 'g': greeting_frames = atoi(optarg); break;
    case 'f': line_file = optarg; break;
    case 'c': counters = map_counters(optarg); break;
    case 'a':
      ask = strdup(optarg);
      answer = strchr(optarg, '=') + 1;
      *strchr(ask, '=') = 0;
      break;
    case 'n': in_flight_max = atoi(optarg); break;
    case 'r': return_ms = atoi(optarg); break;
    case 'p': return_port = atoi(optarg); break;
    case 's': is_stalling = 1; break;
    case 't': is_timing = 1; break;
    case 'z': is_deflating = 1; break;
    default: exit(2);
    }
  if (line_file) read_lines(line_file);
  if (!counters) counters = calloc(1, sizeof *counters);
}

int main(int argc, char **argv) {
  struct rlimit files;
  read_arguments(argc, argv);
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGINT, stop);
  signal(SIGTERM, stop);
  signal(SIGUSR1, toggle_busy);
  signal(SIGPIPE, SIG_IGN);
  connections = calloc(count, sizeof *connections);
  returns = calloc(count, sizeof *returns);
  buffer = malloc(2 * BUFFER); /* what was held of a frame, and what is read on top of it */
  poller = epoll_create1(0);
  run();
  qsort(times_us, times_count, sizeof *times_us, compare);
  printf("{\"lost\": %lu, \"frames\": %lu, \"bytes\": %lu, \"window_s\": %.4f, "
         "\"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f}\n",
         (unsigned long)counters->lost, (unsigned long)counters->frames, (unsigned long)counters->bytes,
         last_s - first_s, percentile_ms(50), percentile_ms(90), percentile_ms(99));
  return 0;
}
