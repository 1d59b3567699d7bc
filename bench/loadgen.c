/* A closed-loop load generator for MCP over HTTP/1.1.
 *
 * One thread, epoll, keep-alive, N connections; every connection sends its next request as soon as
 * the answer to the last one is complete. Every answer is checked (HTTP status, JSON-RPC error,
 * isError, a marker in the body, the id), so a gateway cannot look fast by answering wrongly.
 *
 * build:  gcc -O2 -Wall -Wextra -o loadgen loadgen.c
 * output: one line of JSON. Latency is the time from the first byte sent to the last byte received.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES 65536
#define EVENTS 512
#define ID_DIGITS 9
#define ID_PLACE "@@@@@@@@@"
#define SETUP_ATTEMPTS 20
#define NS_PER_S 1000000000LL

/* ---- what to do: the command line -------------------------------------------------------- */

static struct {
  char host[128], path[1024], headers[8192];
  int port, connections;
  char method[64]; /* MCP method, or "GET" for a plain GET of the URL */
  char tool[128], arguments[1 << 16], marker[256], revision[32];
  bool sessions, modern, check_ids;
  double seconds, warm_seconds, timeout_seconds, setup_seconds;
  long answers; /* stop after so many measured answers; 0 = by time only */
} opt = {
  .host = "127.0.0.1", .path = "/mcp", .port = 80, .connections = 1, .method = "tools/call",
  .tool = "echo", .arguments = "{}", .revision = "2025-11-25", .check_ids = true,
  .seconds = 5, .warm_seconds = 1, .timeout_seconds = 30, .setup_seconds = 60,
};

/* ---- state ------------------------------------------------------------------------------- */

enum stage {
  CONNECTING, INITIALIZING, INITIALIZED, /* a session of its own: initialize, then notification */
  READY,                                 /* waits until every connection is set up */
  RUNNING, DEAD
};
enum phase { SETUP, WARMING, MEASURING };
enum kind { REQ_INITIALIZE, REQ_INITIALIZED, REQ_MEASURED };

struct answer {
  size_t header_bytes; /* 0 until the header is complete */
  size_t cursor;       /* next chunk in the input */
  long length;         /* Content-Length, -1 when absent */
  int status;
  bool chunked, closes;
};

struct buffer { char *data; size_t used, room; };

struct connection {
  int fd;
  enum stage stage;
  char session[256];
  struct buffer out, in, body; /* request, raw input, body of the answer */
  size_t sent;
  long id_offset; /* where the id stands in `out`, -1 without */
  char id[ID_DIGITS + 1];
  struct answer answer;
  int64_t sent_at;
  bool wants_write;
  int failures;
};

static struct connection *connections;
static int epoll;
static enum phase phase = SETUP;
static int64_t started_at, ready_at, measure_at, end_at;
static long next_id = 100000000;

static struct {
  uint32_t *micros; /* latencies of the measured good answers */
  size_t ok, room;
  long errors, answers, reconnects, setup_failures;
  uint64_t bytes;
  bool streamed; /* an answer came as text/event-stream */
  char sample[600];
} tally;

/* ---- small things ------------------------------------------------------------------------ */

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * NS_PER_S + time.tv_nsec;
}

static void *checked(void *memory) {
  if (memory == NULL) {
    fputs("loadgen: out of memory\n", stderr);
    exit(1);
  }
  return memory;
}

static void reserve(struct buffer *buffer, size_t more) {
  if (buffer->used + more + 1 <= buffer->room) return;
  buffer->room = (buffer->used + more) * 2 + 1;
  buffer->data = checked(realloc(buffer->data, buffer->room));
}

static void append(struct buffer *buffer, const char *data, size_t length) {
  reserve(buffer, length);
  memcpy(buffer->data + buffer->used, data, length);
  buffer->used += length;
  buffer->data[buffer->used] = 0;
}

__attribute__((format(printf, 2, 3)))
static void print(struct buffer *buffer, const char *format, ...) {
  va_list values, again;
  va_start(values, format);
  va_copy(again, values);
  int length = vsnprintf(NULL, 0, format, values);
  reserve(buffer, length);
  vsnprintf(buffer->data + buffer->used, length + 1, format, again);
  buffer->used += length;
  va_end(values);
  va_end(again);
}

static bool holds(const char *data, size_t length, const char *wanted) {
  return memmem(data, length, wanted, strlen(wanted)) != NULL;
}

static bool is_method(const char *name) { return strcmp(opt.method, name) == 0; }

/* Keep the first thing that went wrong, in a form that fits into a JSON string. */
static void note(const char *reason, const struct connection *c) {
  if (tally.sample[0]) return;
  size_t at = snprintf(tally.sample, 300, "%s status=%d ", reason, c->answer.status);
  for (size_t i = 0; i < c->body.used && at < sizeof tally.sample - 1; i++) {
    char byte = c->body.data[i];
    if (byte == '"' || byte == '\\') byte = '\'';
    tally.sample[at++] = isprint((unsigned char)byte) ? byte : ' ';
  }
  tally.sample[at] = 0;
}

/* ---- requests ---------------------------------------------------------------------------- */

static void print_meta(struct buffer *body) {
  print(body,
        "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"%s\","
        "\"io.modelcontextprotocol/clientInfo\":{\"name\":\"loadgen\",\"version\":\"1\"},"
        "\"io.modelcontextprotocol/clientCapabilities\":{}}", opt.revision);
}

static void print_body(struct buffer *body, enum kind kind) {
  if (kind == REQ_INITIALIZED) {
    print(body, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}");
    return;
  }
  const char *method = kind == REQ_INITIALIZE ? "initialize" : opt.method;
  print(body, "{\"jsonrpc\":\"2.0\",\"id\":" ID_PLACE ",\"method\":\"%s\",\"params\":{", method);
  if (kind == REQ_INITIALIZE) {
    print(body, "\"protocolVersion\":\"%s\",\"capabilities\":{},"
                "\"clientInfo\":{\"name\":\"loadgen\",\"version\":\"1\"}", opt.revision);
  } else if (is_method("tools/call")) {
    print(body, "\"name\":\"%s\",\"arguments\":%s%s", opt.tool, opt.arguments,
          opt.modern ? "," : "");
  }
  if (opt.modern) print_meta(body);
  print(body, "}}");
}

static void print_mcp_headers(struct buffer *out, const struct connection *c, enum kind kind) {
  if (kind == REQ_INITIALIZE) return;
  print(out, "MCP-Protocol-Version: %s\r\n", opt.revision);
  if (c->session[0]) print(out, "Mcp-Session-Id: %s\r\n", c->session);
  if (!opt.modern) return;
  print(out, "Mcp-Method: %s\r\n", opt.method);
  if (is_method("tools/call")) print(out, "Mcp-Name: %s\r\n", opt.tool);
}

/* Write the request that this connection sends from now on. */
static void prepare(struct connection *c, enum kind kind) {
  c->out.used = 0;
  if (is_method("GET")) {
    print(&c->out, "GET %s HTTP/1.1\r\nHost: %s:%d\r\nAccept: application/json\r\n%s\r\n",
          opt.path, opt.host, opt.port, opt.headers);
    c->id_offset = -1;
    return;
  }
  struct buffer body = {0};
  print_body(&body, kind);
  print(&c->out,
        "POST %s HTTP/1.1\r\nHost: %s:%d\r\nContent-Type: application/json\r\n"
        "Accept: application/json, text/event-stream\r\n", opt.path, opt.host, opt.port);
  print_mcp_headers(&c->out, c, kind);
  print(&c->out, "%sContent-Length: %zu\r\n\r\n", opt.headers, body.used);
  append(&c->out, body.data, body.used);
  free(body.data);
  char *place = strstr(c->out.data, ID_PLACE);
  c->id_offset = place ? place - c->out.data : -1;
}

/* ---- connections ------------------------------------------------------------------------- */

static void watch(struct connection *c, bool writing) {
  struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = c};
  epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
  c->wants_write = writing;
}

static void forget_answer(struct connection *c) {
  c->in.used = c->body.used = 0;
  c->answer = (struct answer){.length = -1};
}

static void open_connection(struct connection *c) {
  int on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(opt.port)};
  inet_pton(AF_INET, opt.host, &address.sin_addr);
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  connect(c->fd, (struct sockaddr *)&address, sizeof address);
  c->stage = CONNECTING;
  c->wants_write = true;
  c->sent_at = now();
  forget_answer(c);
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
  epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
}

static void reopen(struct connection *c) {
  close(c->fd);
  tally.reconnects++;
  open_connection(c);
}

/* The connection was lost, or a request failed below HTTP. */
static void fail(struct connection *c, const char *reason) {
  enum stage stage = c->stage;
  note(reason, c);
  if (stage == RUNNING && phase == MEASURING) tally.errors++;
  if (stage < READY) {
    tally.setup_failures++;
    if (++c->failures > SETUP_ATTEMPTS) {
      close(c->fd);
      c->stage = DEAD;
      return;
    }
  }
  c->session[0] = 0;
  reopen(c);
}

static void send_rest(struct connection *c) {
  while (c->sent < c->out.used) {
    ssize_t done = send(c->fd, c->out.data + c->sent, c->out.used - c->sent, MSG_NOSIGNAL);
    if (done < 0) {
      if (errno == EAGAIN && !c->wants_write) watch(c, true);
      return; /* any other error shows up as an event of the connection */
    }
    c->sent += done;
  }
  if (c->wants_write) watch(c, false);
}

static void fire(struct connection *c) {
  if (c->id_offset >= 0) {
    snprintf(c->id, sizeof c->id, "%0*ld", ID_DIGITS, next_id++);
    memcpy(c->out.data + c->id_offset, c->id, ID_DIGITS);
  }
  c->sent = 0;
  forget_answer(c);
  c->sent_at = now();
  send_rest(c);
}

static void become_ready(struct connection *c) {
  prepare(c, REQ_MEASURED);
  c->stage = READY;
  if (phase == SETUP) return;
  c->stage = RUNNING; /* reopened in the middle of the run */
  fire(c);
}

static void connected(struct connection *c) {
  int error = 0;
  socklen_t length = sizeof error;
  getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
  if (error) {
    usleep(2000);
    fail(c, "connect");
    return;
  }
  watch(c, false);
  if (opt.sessions && !c->session[0]) {
    c->stage = INITIALIZING;
    prepare(c, REQ_INITIALIZE);
    fire(c);
    return;
  }
  become_ready(c);
}

/* ---- answers ----------------------------------------------------------------------------- */

static const char *header_value(const char *line, size_t length, const char *name) {
  size_t known = strlen(name);
  if (length <= known || line[known] != ':' || strncasecmp(line, name, known)) return NULL;
  const char *value = line + known + 1;
  while (*value == ' ') value++;
  return value;
}

static void read_header_line(struct connection *c, const char *line, size_t length) {
  struct answer *answer = &c->answer;
  const char *value, *end = line + length;
  if ((value = header_value(line, length, "content-length"))) {
    answer->length = atol(value);
  } else if (header_value(line, length, "transfer-encoding")) {
    answer->chunked = true;
  } else if ((value = header_value(line, length, "content-type"))) {
    if (holds(value, end - value, "event-stream")) tally.streamed = true;
  } else if ((value = header_value(line, length, "connection"))) {
    answer->closes = end - value >= 5 && !strncasecmp(value, "close", 5);
  } else if ((value = header_value(line, length, "mcp-session-id"))) {
    snprintf(c->session, sizeof c->session, "%.*s", (int)(end - value), value);
  }
}

static bool read_header(struct connection *c) {
  struct answer *answer = &c->answer;
  char *end = memmem(c->in.data, c->in.used, "\r\n\r\n", 4);
  if (end == NULL) return false;
  answer->header_bytes = answer->cursor = end - c->in.data + 4;
  answer->status = atoi(c->in.data + 9); /* behind "HTTP/1.1 " */
  for (char *line = c->in.data; line < end;) {
    char *next = memmem(line, end + 2 - line, "\r\n", 2);
    read_header_line(c, line, next - line);
    line = next + 2;
  }
  bool bodiless = answer->status == 202 || answer->status == 204;
  if (bodiless && answer->length < 0 && !answer->chunked) answer->length = 0;
  return true;
}

static bool read_chunks(struct connection *c) {
  for (;;) {
    char *from = c->in.data + c->answer.cursor;
    size_t left = c->in.used - c->answer.cursor;
    char *line_end = memmem(from, left, "\r\n", 2);
    if (line_end == NULL) return false;
    size_t size = strtoul(from, NULL, 16), head = line_end - from + 2;
    if (left < head + size + 2) return false;
    if (size == 0) return true;
    append(&c->body, from + head, size);
    c->answer.cursor += head + size + 2;
  }
}

/* Tell whether the answer is complete; its body is then in `body`. */
static bool is_complete(struct connection *c) {
  if (!c->answer.header_bytes && !read_header(c)) return false;
  if (c->answer.chunked) return read_chunks(c);
  long length = c->answer.length;
  if (length < 0 || c->in.used - c->answer.header_bytes < (size_t)length) return false;
  append(&c->body, c->in.data + c->answer.header_bytes, length);
  return true;
}

static bool carries_id(const struct connection *c) {
  char wanted[ID_DIGITS + 8];
  if (!opt.check_ids || c->id_offset < 0) return true;
  snprintf(wanted, sizeof wanted, "\"id\":%s", c->id);
  return holds(c->body.data, c->body.used, wanted);
}

static bool is_good(const struct connection *c) {
  const char *body = c->body.data;
  size_t length = c->body.used, head = length < 300 ? length : 300;
  if (c->answer.status != 200 || !length) return false;
  if (holds(body, head, "\"error\":") || !carries_id(c)) return false;
  if (is_method("tools/call")) {
    if (holds(body, length, "\"isError\":true")) return false;
    if (holds(body, length, "\"isError\": true")) return false;
  }
  return !opt.marker[0] || holds(body, length, opt.marker);
}

static void record(const struct connection *c, int64_t at) {
  bool good = is_good(c);
  if (!good) note(phase == MEASURING ? "answer" : "warm-up", c);
  if (phase != MEASURING) return;
  if (!good) {
    tally.errors++;
    return;
  }
  if (tally.ok == tally.room) {
    tally.room = tally.room ? tally.room * 2 : 1 << 16;
    tally.micros = checked(realloc(tally.micros, tally.room * sizeof *tally.micros));
  }
  int64_t micros = (at - c->sent_at) / 1000;
  tally.micros[tally.ok++] = micros > UINT32_MAX ? UINT32_MAX : micros;
}

static void answered(struct connection *c) {
  int64_t at = now();
  tally.answers++;
  tally.bytes += c->in.used;
  switch (c->stage) {
  case INITIALIZING:
    if (c->answer.status != 200 || holds(c->body.data, c->body.used, "\"error\":")) {
      fail(c, "initialize");
      return;
    }
    c->stage = INITIALIZED;
    prepare(c, REQ_INITIALIZED);
    fire(c);
    return;
  case INITIALIZED:
    if (c->answer.status >= 300) note("initialized", c);
    become_ready(c);
    return;
  case RUNNING:
    record(c, at);
    if (c->answer.closes) reopen(c); /* an MCP session outlives its connection */
    else fire(c);
    return;
  default:
    return;
  }
}

static void receive(struct connection *c) {
  for (;;) {
    reserve(&c->in, READ_BYTES);
    ssize_t got = recv(c->fd, c->in.data + c->in.used, READ_BYTES, 0);
    if (got > 0) {
      c->in.used += got;
      c->in.data[c->in.used] = 0;
      if (is_complete(c)) {
        answered(c);
        return;
      }
      if (got < READ_BYTES) return;
      continue;
    }
    if (got < 0 && errno == EAGAIN) return;
    if (c->stage == READY) reopen(c); /* closed while idle: others were still being set up */
    else fail(c, got == 0 ? "eof" : "recv");
    return;
  }
}

/* ---- the run ----------------------------------------------------------------------------- */

static void handle(const struct epoll_event *event) {
  struct connection *c = event->data.ptr;
  if (c->stage == DEAD) return;
  if (event->events & EPOLLOUT) {
    if (c->stage == CONNECTING) {
      connected(c);
      return;
    }
    send_rest(c);
  }
  if (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(c);
}

static int count_in(enum stage stage) {
  int count = 0;
  for (int i = 0; i < opt.connections; i++) count += connections[i].stage == stage;
  return count;
}

static void start_all(int64_t at) {
  ready_at = at;
  phase = WARMING;
  measure_at = at + (int64_t)(opt.warm_seconds * NS_PER_S);
  for (int i = 0; i < opt.connections; i++) {
    if (connections[i].stage != READY) continue;
    connections[i].stage = RUNNING;
    fire(&connections[i]);
  }
}

/* Move to the next phase when its time has come; return whether the run is over. */
static bool advance(int64_t at) {
  if (phase == SETUP) {
    bool late = at - started_at > opt.setup_seconds * NS_PER_S;
    if (count_in(READY) == opt.connections || late) start_all(at);
  }
  if (phase == WARMING && at >= measure_at) {
    phase = MEASURING;
    tally.sample[0] = 0; /* what went wrong before explains nothing of what is counted */
    measure_at = at;
    end_at = at + (int64_t)(opt.seconds * NS_PER_S);
  }
  if (phase != MEASURING) return false;
  bool enough = opt.answers && (long)tally.ok + tally.errors >= opt.answers;
  if (!enough && at < end_at) return false;
  end_at = at;
  return true;
}

static void drop_late(int64_t at) {
  for (int i = 0; i < opt.connections; i++) {
    struct connection *c = &connections[i];
    if (c->stage == DEAD || c->stage == READY) continue;
    if (at - c->sent_at > opt.timeout_seconds * NS_PER_S) fail(c, "timeout");
  }
}

static void run(void) {
  struct epoll_event events[EVENTS];
  epoll = epoll_create1(0);
  connections = checked(calloc(opt.connections, sizeof *connections));
  started_at = now();
  for (int i = 0; i < opt.connections; i++) open_connection(&connections[i]);
  int64_t scanned_at = started_at;
  for (;;) {
    int count = epoll_wait(epoll, events, EVENTS, 20);
    for (int i = 0; i < count; i++) handle(&events[i]);
    int64_t at = now();
    if (advance(at)) return;
    if (at - scanned_at > NS_PER_S / 4) {
      scanned_at = at;
      drop_late(at);
    }
  }
}

/* ---- the report -------------------------------------------------------------------------- */

static int compare(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

static double percentile_ms(double share) {
  if (!tally.ok) return 0;
  return tally.micros[(size_t)(share * (tally.ok - 1) + 0.5)] / 1000.0;
}

static double own_cpu_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
         (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void report(void) {
  double seconds = (end_at - measure_at) / (double)NS_PER_S, sum = 0;
  qsort(tally.micros, tally.ok, sizeof *tally.micros, compare);
  for (size_t i = 0; i < tally.ok; i++) sum += tally.micros[i];
  printf("{\"method\":\"%s\",\"connections\":%d,\"seconds\":%.3f,\"ok\":%zu,\"errors\":%ld,"
         "\"rps\":%.1f,\"mean_ms\":%.3f,\"p50_ms\":%.3f,\"p95_ms\":%.3f,\"p99_ms\":%.3f,"
         "\"max_ms\":%.3f,\"answers\":%ld,\"reconnects\":%ld,\"setup_failures\":%ld,"
         "\"setup_s\":%.3f,\"running\":%d,\"bytes_per_answer\":%.0f,\"streamed\":%s,"
         "\"cpu_s\":%.3f,\"sample\":\"%s\"}\n",
         opt.method, opt.connections, seconds, tally.ok, tally.errors,
         seconds > 0 ? tally.ok / seconds : 0, tally.ok ? sum / tally.ok / 1000 : 0,
         percentile_ms(0.5), percentile_ms(0.95), percentile_ms(0.99), percentile_ms(1),
         tally.answers, tally.reconnects, tally.setup_failures,
         (ready_at - started_at) / (double)NS_PER_S, count_in(RUNNING),
         tally.answers ? (double)tally.bytes / tally.answers : 0,
         tally.streamed ? "true" : "false", own_cpu_seconds(), tally.sample);
}

/* ---- the command line -------------------------------------------------------------------- */

static const char usage[] =
  "usage: loadgen -u http://HOST:PORT/PATH [options]\n"
  "  -c N  connections (1)              -d S  measured seconds (5)\n"
  "  -w S  warm-up seconds (1)          -n N  stop after N measured answers\n"
  "  -H L  header line, repeatable      -m M  call, list, get or an MCP method (call)\n"
  "  -t T  tool (echo)                  -a J  arguments as JSON ({})\n"
  "  -k T  text that every answer holds -p V  protocol revision (2025-11-25)\n"
  "  -s    a session per connection     -M    the request envelope of 2026-07-28\n"
  "  -I    do not compare ids           -T S  timeout of a request (30)\n"
  "  -S S  longest set-up (60)\n";

#define COPY(target, text) snprintf(target, sizeof target, "%s", text)

static void set_method(const char *name) {
  if (!strcmp(name, "call")) name = "tools/call";
  else if (!strcmp(name, "list")) name = "tools/list";
  else if (!strcmp(name, "get")) name = "GET";
  COPY(opt.method, name);
}

static void set_url(const char *url) {
  if (!strncmp(url, "http://", 7)) url += 7;
  const char *slash = strchr(url, '/');
  size_t authority = slash ? (size_t)(slash - url) : strlen(url);
  if (slash) COPY(opt.path, slash);
  const char *colon = memchr(url, ':', authority);
  if (colon) opt.port = atoi(colon + 1);
  snprintf(opt.host, sizeof opt.host, "%.*s", (int)(colon ? colon - url : (long)authority), url);
  if (!strcmp(opt.host, "localhost")) COPY(opt.host, "127.0.0.1");
}

static void add_header(const char *line) {
  size_t used = strlen(opt.headers);
  snprintf(opt.headers + used, sizeof opt.headers - used, "%s\r\n", line);
}

static void set_modern(void) {
  opt.modern = true;
  COPY(opt.revision, "2026-07-28");
}

static bool read_option(int option, const char *value) {
  switch (option) {
  case 'u': set_url(value); return true;
  case 'c': opt.connections = atoi(value); return opt.connections > 0;
  case 'd': opt.seconds = atof(value); return true;
  case 'w': opt.warm_seconds = atof(value); return true;
  case 'n': opt.answers = atol(value); return true;
  case 'H': add_header(value); return true;
  case 'm': set_method(value); return true;
  case 't': COPY(opt.tool, value); return true;
  case 'a': COPY(opt.arguments, value); return true;
  case 'k': COPY(opt.marker, value); return true;
  case 'p': COPY(opt.revision, value); return true;
  case 's': opt.sessions = true; return true;
  case 'M': set_modern(); return true;
  case 'I': opt.check_ids = false; return true;
  case 'T': opt.timeout_seconds = atof(value); return true;
  case 'S': opt.setup_seconds = atof(value); return true;
  default: return false;
  }
}

int main(int argc, char **argv) {
  int option;
  while ((option = getopt(argc, argv, "u:c:d:w:n:H:m:t:a:k:p:sMIT:S:")) != -1) {
    if (read_option(option, optarg)) continue;
    fputs(usage, stderr);
    return 2;
  }
  run();
  report();
  return 0;
}
