/* wsload: a WebSocket client of many connections, cheap enough not to be the bottleneck of a measurement.
 *
 *   wsload PORT PATH CONNECTIONS [-g FRAMES] [-e FRAMES] [-m MESSAGE] [-f FILE] [-b]
 *
 * Opens CONNECTIONS to 127.0.0.1, at most 256 at a time and otherwise as fast as the server lets it. In PATH and
 * MESSAGE, {i} is replaced by the connection's number and {line} by that line of FILE.
 *
 *   -m  a message to send on each connection as soon as it is upgraded
 *   -g  a connection counts as open when so many messages have arrived on it, such as a greeting; they are not
 *       counted otherwise (default 0: open when upgraded)
 *   -e  stop when every connection has received so many messages after those
 *   -f  a file of lines, at least one for each connection
 *   -b  be busy: look for input without ever sleeping, so that no server spends time on waking this process
 *
 * Without -e it goes on until SIGTERM. Pings are answered. One line of JSON is printed when all connections are
 * open or have failed, and one at the end:
 *
 *   {"opened": 1000, "failed": 0, "open_s": 0.412}
 *   {"lost": 0, "frames": 100000, "bytes": 160000000, "window_s": 1.23, "cpu_s": 0.61}
 *
 * window_s is the time from the first message to the last.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IN_FLIGHT_MAX = 256, EVENTS = 1024, TEXT_MAX = 8192, BUFFER = 1 << 20 };
enum { OP_TEXT = 1, OP_CLOSE = 8, OP_PING = 9 };

typedef enum { CONNECTING, UPGRADING, UPGRADED, OPEN, DEAD } state_t;

typedef struct {
  int fd;
  state_t state;
  uint32_t messages; /* since it was upgraded */
  uint32_t held;     /* bytes of an incomplete frame or response head */
  char *holding;
} connection_t;

static int port, count, greeting_frames, expected = -1, is_busy;
static const char *path, *message;
static char **lines;

static connection_t *connections;
static char *buffer;
static int poller;
static int launched, in_flight, opened, failed, lost, finished, announced;
static uint64_t frames, bytes;
static double first_s, last_s;
static volatile sig_atomic_t stopping;

static void stop(int signal_number) {
  (void)signal_number;
  stopping = 1;
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

static void fill_in(char *out, size_t size, const char *text, int i) {
  size_t n = 0;
  while (*text && n + 1 < size) {
    if (!strncmp(text, "{i}", 3)) {
      n += snprintf(out + n, size - n, "%d", i);
      text += 3;
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

static void forget(connection_t *c) {
  if (c->state == OPEN) {
    lost++;
  } else {
    failed++;
    in_flight--;
  }
  close(c->fd);
  free(c->holding);
  *c = (connection_t){.state = DEAD};
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
  if (write(c->fd, frame, n + size) != (ssize_t)(n + size)) die("write");
}

static void watch(int i, uint32_t what, int operation) {
  struct epoll_event event = {.events = what, .data.u32 = i};
  epoll_ctl(poller, operation, connections[i].fd, &event);
}

static void launch(int i) {
  connection_t *c = &connections[i];
  int yes = 1;
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (c->fd < 0) die("socket");
  in_flight++;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  /* From 127.0.0.2, 127.0.0.3 and so on, so that ports are enough for any number of connections. The port is
     left to connect(), which may take one that a closed connection to another port still holds. */
  setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
  struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002 + i / 10000)};
  struct sockaddr_in to = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
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
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                   target, port);
  if (write(c->fd, request, n) != n) {
    forget(c);
    return;
  }
  c->state = UPGRADING;
  watch(i, EPOLLIN, EPOLL_CTL_MOD);
}

static void open_if_greeted(connection_t *c) {
  if (c->state == UPGRADED && (int)c->messages >= greeting_frames) {
    c->state = OPEN;
    opened++;
    in_flight--;
  }
}

static void take_message(connection_t *c, size_t size) {
  c->messages++;
  if (c->state != OPEN) {
    open_if_greeted(c);
    return;
  }
  last_s = now_s();
  if (!frames++) first_s = last_s;
  bytes += size;
  if ((int)c->messages - greeting_frames == expected) finished++;
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
    default: take_message(c, head + length);
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

static int is_done(void) { return stopping || (expected > 0 && announced && finished + lost >= opened); }

static void run(void) {
  struct epoll_event events[EVENTS];
  double started_s = now_s();
  while (!is_done()) {
    while (launched < count && in_flight < IN_FLIGHT_MAX) launch(launched++);
    if (!announced && opened + failed == count) {
      announced = 1;
      printf("{\"opened\": %d, \"failed\": %d, \"open_s\": %.4f}\n", opened, failed, now_s() - started_s);
      fflush(stdout);
    }
    int n = epoll_wait(poller, events, EVENTS, is_busy ? 0 : 50);
    for (int k = 0; k < n; k++) {
      int i = events[k].data.u32;
      if (connections[i].state == CONNECTING) {
        upgrade(i);
      } else if (connections[i].state != DEAD) {
        take(i);
      }
    }
  }
}

static void read_arguments(int argc, char **argv) {
  const char *line_file = NULL;
  int option;
  if (argc < 4) {
    fprintf(stderr, "usage: see the head of wsload.c\n");
    exit(2);
  }
  port = atoi(argv[1]);
  path = argv[2];
  count = atoi(argv[3]);
  optind = 4;
  while ((option = getopt(argc, argv, "g:e:m:f:b")) != -1) switch (option) {
    case 'g': greeting_frames = atoi(optarg); break;
    case 'e': expected = atoi(optarg); break;
    case 'm': message = optarg; break;
    case 'f': line_file = optarg; break;
    case 'b': is_busy = 1; break;
    default: exit(2);
    }
  if (line_file) read_lines(line_file);
}

int main(int argc, char **argv) {
  struct rlimit files;
  struct rusage usage;
  read_arguments(argc, argv);
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGINT, stop);
  signal(SIGTERM, stop);
  signal(SIGPIPE, SIG_IGN);
  connections = calloc(count, sizeof *connections);
  buffer = malloc(2 * BUFFER); /* what was held of a frame, and what is read on top of it */
  poller = epoll_create1(0);
  run();
  getrusage(RUSAGE_SELF, &usage);
  printf("{\"lost\": %d, \"frames\": %lu, \"bytes\": %lu, \"window_s\": %.4f, \"cpu_s\": %.3f}\n", lost,
         (unsigned long)frames, (unsigned long)bytes, last_s - first_s,
         usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
  return 0;
}
