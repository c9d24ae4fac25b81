/* Options: one described table. `wsc --help`, the bindings' keyword arguments and the reference page come from it. */
#ifndef WSCENGINE_OPTIONS_H
#define WSCENGINE_OPTIONS_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* XX(NAME, id, type, scope, default, min, max, unit, Python name, wsc flag, Go name, doc)
 *   type   BOOL | INT | STR (the last value counts) | LIST (each set appends)
 *   scope  ENGINE | CONNECTION (also honoured by a connection without an engine) | LOOP
 *   names  "" where that language has no such option; Python counts times in seconds (float), so the names lose _ms
 * Ids are frozen; rows are only added.
 *
 * CREW_MAX_THREADS is one value a process: of the first engine or connection that uses the library's own loop, until
 * the last of them is gone. What later ones say is judged and then ignored; so is what wsc_loop_new is given. */
#define WSC_OPTION_MAP(XX) \
  XX(READER_COUNT, 1, INT, ENGINE, 1, 1, 1024, "", "reader_count", "", "ReaderRoutinesCount", \
     "callbacks of one engine that may run at once; 1 keeps messages strictly in order") \
  XX(AUTO_RECONNECT, 2, BOOL, ENGINE, 1, 0, 1, "", "auto_reconnect", "--no-reconnect", "AutoReconnect", \
     "reconnect after every kind of loss and every close code") \
  XX(RECONNECT_BASE_S, 3, INT, ENGINE, 5, 1, 86400, "s", "reconnect_base", "", "AutoReconnectRetryDelayBaseSeconds", \
     "delays are base^0, base^1, ... base^max_exponent seconds") \
  XX(RECONNECT_MAX_EXPONENT, 4, INT, ENGINE, 1, 1, 63, "", "reconnect_max_exponent", "", \
     "AutoReconnectRetryDelayMaxExponent", "largest exponent of the delay table") \
  XX(ON_OPEN_TIMEOUT_MS, 5, INT, ENGINE, 300000, 0, INT64_C(604800000), "ms", "on_open_timeout", "", \
     "OnOpenTimeoutMs", \
     "dial and OnOpen together, with retry_first_start over all attempts of the start; 0: no limit") \
  XX(STOP_TIMEOUT_MS, 6, INT, ENGINE, 300000, 0, INT64_C(604800000), "ms", "stop_timeout", "", "StopTimeoutMs", \
     "how long stop waits; 0: no limit") \
  XX(JITTER_PERCENT, 7, INT, ENGINE, 10, 0, 100, "%", "jitter_percent", "", "JitterPercent", \
     "largest part of a delay that chance may take away") \
  XX(FIRST_DELAY_SPREAD_MS, 8, INT, ENGINE, 0, 0, 86400000, "ms", "first_delay_spread", "", "FirstDelaySpreadMs", \
     "spreads the first reconnect of a fleet over this long") \
  XX(STABLE_AFTER_MS, 9, INT, ENGINE, 10000, 0, 86400000, "ms", "stable_after", "", "StableAfterMs", \
     "a session at least this long sets the delays back to their start; 0: every session does, so a server that " \
     "accepts and closes at once is dialed again without a delay") \
  XX(RETRY_AFTER_MAX_MS, 10, INT, ENGINE, 300000, 0, 86400000, "ms", "retry_after_max", "", "RetryAfterMaxMs", \
     "longest Retry-After of a 429 or 503 that is obeyed; 0: ignored") \
  XX(RETRY_FIRST_START, 11, BOOL, ENGINE, 0, 0, 1, "", "retry_first_start", "", "RetryFirstStart", \
     "let start itself retry instead of failing at the first attempt") \
  XX(MAX_ATTEMPTS, 12, INT, ENGINE, 0, 0, INT32_MAX, "", "max_attempts", "", "MaxAttempts", \
     "give up after this many failed attempts in a row; 0: never") \
  XX(GIVE_UP_ON, 13, INT, ENGINE, 0, 0, 15, "flags", "give_up_on", "", "GiveUpOn", \
     "causes that end the run: sum of WSC_GIVE_UP_* values") \
  XX(CALLBACK_GRACE_MS, 14, INT, ENGINE, 10000, 0, 86400000, "ms", "callback_grace", "", "CallbackGraceMs", \
     "how long OnClose waits for running callbacks of its session") \
  XX(SEND_WAITS_FOR_SESSION, 15, BOOL, ENGINE, 0, 0, 1, "", "send_waits_for_session", "", "SendWaitsForSession", \
     "engine sends between sessions wait for the next one until their deadline instead of failing") \
  XX(HOST_ADAPTER, 16, BOOL, ENGINE, 0, 0, 1, "", "", "", "", \
     "the host dials and reads: the engine asks by DO_ events (tier 2)") \
  XX(ASK_BEFORE_ATTEMPT, 17, BOOL, ENGINE, 0, 0, 1, "", "", "", "", \
     "raise BEFORE_ATTEMPT events (tier 2; set by itself when the callback is given)") \
  XX(LOG_LEVEL, 18, INT, ENGINE, 0, 0, 5, "", "log_level", "-v", "LogLevel", \
     "0 off, 1 errors, 2 warnings, 3 information, 4 debug, 5 every frame too") \
  XX(LOG_PREVIEW_BYTES, 20, INT, ENGINE, 0, 0, 256, "bytes", "log_preview_bytes", "--log-preview", "LogPreviewBytes", \
     "how much of each frame's payload level 5 shows; 0: none of it") \
  XX(CONNECT_TIMEOUT_MS, 30, INT, CONNECTION, 30000, 0, 86400000, "ms", "connect_timeout", "--connect-timeout", \
     "ConnectTimeoutMs", "one dial: look-up, TCP, TLS and upgrade together; 0: no limit") \
  XX(CLOSE_TIMEOUT_MS, 31, INT, CONNECTION, 5000, 1, 86400000, "ms", "close_timeout", "", "CloseTimeoutMs", \
     "how long the close handshake may take before the socket is closed") \
  XX(KEEPALIVE_INTERVAL_MS, 32, INT, CONNECTION, 20000, 0, 86400000, "ms", "ping_interval", "--ping-interval", \
     "KeepAliveIntervalMs", "ping when nothing was received for this long; 0: no keepalive") \
  XX(KEEPALIVE_TIMEOUT_MS, 33, INT, CONNECTION, 20000, 1, 86400000, "ms", "ping_timeout", "--ping-timeout", \
     "KeepAliveTimeoutMs", "no sign of life for this long after the ping left: the link is dead") \
  XX(DATA_IDLE_TIMEOUT_MS, 34, INT, CONNECTION, 0, 0, 86400000, "ms", "data_idle_timeout", "", "DataIdleTimeoutMs", \
     "no data message for this long: the link is dead, whatever pings say; 0: off") \
  XX(MAX_MESSAGE_BYTES, 35, INT, CONNECTION, 16777216, 1, INT64_C(4294967295), "bytes", "max_message_bytes", \
     "--max-message", "MaxMessageBytes", "largest message that is accepted") \
  XX(RECEIVE_QUEUE_BYTES, 36, INT, CONNECTION, 16777216, 65536, INT64_C(1099511627776), "bytes", \
     "receive_queue_bytes", "", "ReceiveQueueBytes", "received and not yet taken; full: the socket is not read") \
  XX(SEND_QUEUE_BYTES, 37, INT, CONNECTION, 16777216, 1, INT64_C(1099511627776), "bytes", "send_queue_bytes", "", \
     "SendQueueBytes", \
     "accepted and not yet written; full: sends wait (one larger message is legal when it is empty)") \
  XX(FRAGMENT_BYTES, 38, INT, CONNECTION, 65536, 1024, INT64_C(1073741824), "bytes", "fragment_bytes", "", \
     "FragmentBytes", "outgoing messages above this are fragmented, so that pings pass between") \
  XX(HEADER, 39, LIST, CONNECTION, 0, 0, 0, "", "headers", "--header", "Headers", \
     "a header of the upgrade request, as \"Name: value\"") \
  XX(SUBPROTOCOL, 40, LIST, CONNECTION, 0, 0, 0, "", "subprotocols", "--subprotocol", "Subprotocols", \
     "a subprotocol that is offered, in order of preference") \
  XX(ORIGIN, 41, STR, CONNECTION, 0, 0, 0, "", "origin", "--origin", "Origin", "the Origin header") \
  XX(COOKIE, 42, LIST, CONNECTION, 0, 0, 0, "", "cookies", "--cookie", "Cookies", "a cookie, as \"name=value\"") \
  XX(CA_FILE, 43, STR, CONNECTION, 0, 0, 0, "", "ca_file", "--ca", "CaFile", \
     "trust the certificates in this PEM file instead of the system's") \
  XX(CA_DIR, 44, STR, CONNECTION, 0, 0, 0, "", "ca_dir", "--ca-dir", "CaDir", \
     "trust the certificates in this hashed directory instead of the system's") \
  XX(CA_PEM, 45, STR, CONNECTION, 0, 0, 0, "", "ca_pem", "", "CaPem", \
     "trust these certificates (PEM text) instead of the system's") \
  XX(CERT_FILE, 46, STR, CONNECTION, 0, 0, 0, "", "cert_file", "--cert", "CertFile", \
     "client certificate chain, PEM file") \
  XX(KEY_FILE, 47, STR, CONNECTION, 0, 0, 0, "", "key_file", "--key", "KeyFile", "its private key, PEM file") \
  XX(INSECURE, 48, BOOL, CONNECTION, 0, 0, 1, "", "insecure", "--insecure", "Insecure", \
     "do not check the server's certificate: anyone on the path can read and change everything") \
  XX(HAPPY_EYEBALLS_DELAY_MS, 49, INT, CONNECTION, 250, 10, 2000, "ms", "happy_eyeballs_delay", "", \
     "HappyEyeballsDelayMs", "head start of one address before the next is tried beside it (RFC 8305)") \
  XX(KERNEL_STAMPS, 50, BOOL, CONNECTION, 0, 0, 1, "", "kernel_stamps", "", "KernelStamps", \
     "received_ns is when the kernel got the bytes, not when they were read; plain connections only, TLS has no " \
     "stamps") \
  XX(CREW_MAX_THREADS, 60, INT, LOOP, 64, 1, 4096, "", "", "", "", \
     "most C threads that run callbacks; at it, callbacks of other engines wait for a free thread") \
  XX(COMPRESSION, 70, BOOL, CONNECTION, 0, 0, 1, "", "compression", "--compress", "Compression", \
     "offer permessage-deflate (RFC 7692); a server that does not know it is talked to without") \
  XX(COMPRESSION_THRESHOLD_BYTES, 71, INT, CONNECTION, 128, 0, INT64_C(4294967295), "bytes", "compression_threshold", \
     "", "CompressionThresholdBytes", "outgoing messages below this are sent as they are") \
  XX(COMPRESSION_LEVEL, 72, INT, CONNECTION, 6, 1, 9, "", "compression_level", "", "CompressionLevel", \
     "effort for outgoing messages: 1 is fastest, 9 smallest") \
  XX(CLIENT_MAX_WINDOW_BITS, 73, INT, CONNECTION, 15, 9, 15, "bits", "client_max_window_bits", "", \
     "ClientMaxWindowBits", "window of outgoing messages, as a power of two; less saves memory here and there") \
  XX(SERVER_MAX_WINDOW_BITS, 74, INT, CONNECTION, 15, 8, 15, "bits", "server_max_window_bits", "", \
     "ServerMaxWindowBits", \
     "window the server is asked to keep to; below 15 a server that does not grant it is refused") \
  XX(CLIENT_NO_CONTEXT_TAKEOVER, 75, BOOL, CONNECTION, 0, 0, 1, "", "client_no_context_takeover", "", \
     "ClientNoContextTakeover", "compress every outgoing message for itself: larger, less memory at the server") \
  XX(SERVER_NO_CONTEXT_TAKEOVER, 76, BOOL, CONNECTION, 0, 0, 1, "", "server_no_context_takeover", "", \
     "ServerNoContextTakeover", \
     "ask the server to compress every message for itself: no window is kept here between messages; a server that " \
     "does not grant it is refused") \
  XX(PROXY, 80, STR, CONNECTION, 0, 0, 0, "", "proxy", "--proxy", "Proxy", \
     "go through this proxy: http://, https://, socks5:// or socks5h:// (the proxy looks the host up), with " \
     "user:password@ where it asks for one; \"none\": go directly. Not set: as the environment says by curl's rules " \
     "(wss_proxy, https_proxy, all_proxy, no_proxy ...), and this machine itself is always reached directly") \
  XX(MAX_REDIRECTS, 81, INT, CONNECTION, 0, 0, 20, "", "max_redirects", "--max-redirects", "MaxRedirects", \
     "follow so many 301, 302, 303, 307 and 308 to another URL (never from wss to ws; headers, cookies, " \
     "credentials and client certificates stay with the host they were meant for); 0: none, the answer is an error") \
  XX(BIND_ADDRESS, 90, STR, CONNECTION, 0, 0, 0, "", "bind_address", "--bind", "BindAddress", \
     "go out from this IPv4 or IPv6 address of this machine; addresses of the other family are not tried then") \
  XX(BIND_INTERFACE, 91, STR, CONNECTION, 0, 0, 0, "", "bind_interface", "--interface", "BindInterface", \
     "go out through this network interface only (Linux: SO_BINDTODEVICE)") \
  XX(UNIX_SOCKET, 92, STR, CONNECTION, 0, 0, 0, "", "unix_socket", "--unix", "UnixSocket", \
     "connect to this Unix socket (\"@name\": an abstract one) instead of the URL's host, which is still asked for") \
  XX(TCP_NODELAY, 93, BOOL, CONNECTION, 1, 0, 1, "", "tcp_nodelay", "--no-nodelay", "TcpNoDelay", \
     "small writes leave at once instead of waiting for more to join them (Nagle)") \
  XX(TCP_KEEPALIVE, 94, BOOL, CONNECTION, 0, 0, 1, "", "tcp_keepalive", "--tcp-keepalive", "TcpKeepAlive", \
     "the kernel probes a quiet connection, beside the engine's own pings; the three options below switch it on too") \
  XX(TCP_KEEPALIVE_IDLE_S, 95, INT, CONNECTION, 0, 0, 32767, "s", "tcp_keepalive_idle", "--tcp-keepalive-idle", \
     "TcpKeepAliveIdleSeconds", "seconds of quiet before the kernel's first probe; 0: the system's") \
  XX(TCP_KEEPALIVE_INTERVAL_S, 96, INT, CONNECTION, 0, 0, 32767, "s", "tcp_keepalive_interval", \
     "--tcp-keepalive-interval", "TcpKeepAliveIntervalSeconds", \
     "seconds between two probes that nobody answers; 0: the system's") \
  XX(TCP_KEEPALIVE_COUNT, 97, INT, CONNECTION, 0, 0, 127, "", "tcp_keepalive_count", "--tcp-keepalive-count", \
     "TcpKeepAliveCount", "unanswered probes until the link is dead; 0: the system's") \
  XX(SOCKET_RECEIVE_BYTES, 98, INT, CONNECTION, 0, 0, INT64_C(1073741824), "bytes", "socket_receive_bytes", \
     "--socket-receive-bytes", "SocketReceiveBytes", \
     "the kernel's receive buffer (SO_RCVBUF: the kernel doubles it and has a limit of its own); 0: it decides") \
  XX(SOCKET_SEND_BYTES, 99, INT, CONNECTION, 0, 0, INT64_C(1073741824), "bytes", "socket_send_bytes", \
     "--socket-send-bytes", "SocketSendBytes", "the kernel's send buffer (SO_SNDBUF, likewise); 0: it decides") \
  XX(TCP_USER_TIMEOUT_MS, 100, INT, CONNECTION, 0, 0, 86400000, "ms", "tcp_user_timeout", "--tcp-user-timeout", \
     "TcpUserTimeoutMs", \
     "the kernel ends a link whose peer acknowledges nothing of what was sent, or keeps its window shut, for this " \
     "long; 0: the system's") \
  XX(HOST_HEADER, 110, STR, CONNECTION, 0, 0, 0, "", "host_header", "--host", "HostHeader", \
     "the Host header, instead of the URL's host and port") \
  XX(TLS_SERVER_NAME, 111, STR, CONNECTION, 0, 0, 0, "", "tls_server_name", "--tls-server-name", "TlsServerName", \
     "the host whose certificate is asked for (SNI) and expected, instead of the URL's") \
  XX(TLS_MIN_VERSION, 112, STR, CONNECTION, 0, 0, 0, "", "tls_min_version", "--tls-min", "TlsMinVersion", \
     "oldest TLS version that is spoken, \"1.2\" or \"1.3\"; not set: 1.2") \
  XX(TLS_CIPHERS, 113, STR, CONNECTION, 0, 0, 0, "", "tls_ciphers", "--tls-ciphers", "TlsCiphers", \
     "ciphers of TLS 1.2, as an OpenSSL cipher list; not set: OpenSSL's") \
  XX(TLS_CIPHERSUITES, 114, STR, CONNECTION, 0, 0, 0, "", "tls_ciphersuites", "--tls-ciphersuites", "TlsCiphersuites", \
     "cipher suites of TLS 1.3, separated by colons; not set: OpenSSL's") \
  XX(TLS_ALPN, 115, LIST, CONNECTION, 0, 0, 0, "", "tls_alpn", "--tls-alpn", "TlsAlpn", \
     "a protocol that is offered by ALPN, in order of preference; not set: http/1.1") \
  XX(TLS_PIN, 116, LIST, CONNECTION, 0, 0, 0, "", "tls_pins", "--tls-pin", "TlsPins", \
     "a public key that the server's certificate may have, as \"sha256//\" and the base64 of its SPKI's SHA-256; any " \
     "other is refused, also with insecure; the error for a wrong one shows the right one") \
  XX(TLS_KEYLOG_FILE, 117, STR, CONNECTION, 0, 0, 0, "", "tls_keylog_file", "--tls-keylog", "TlsKeylogFile", \
     "append the secrets of TLS sessions to this file, for Wireshark: who reads it reads everything") \
  XX(TLS_RESUME, 118, BOOL, CONNECTION, 1, 0, 1, "", "tls_resume", "--no-tls-resume", "TlsResume", \
     "a reconnect goes on with the TLS session of the connection before it: one round trip and a signature less")

/* Options whose values are secrets, or may contain one: never in a log record. */
#define WSC_SECRET_OPTION_MAP(XX) XX(HEADER) XX(COOKIE) XX(PROXY)

enum wsc_option {
#define XX(name, id, type, scope, def, min, max, unit, py, flag, go, doc) WSC_OPT_##name = id,
  WSC_OPTION_MAP(XX)
#undef XX
};

enum wsc_option_type { WSC_OPTION_BOOL = 1, WSC_OPTION_INT = 2, WSC_OPTION_STR = 3, WSC_OPTION_LIST = 4 };
enum wsc_option_scope { WSC_SCOPE_ENGINE = 1, WSC_SCOPE_CONNECTION = 2, WSC_SCOPE_LOOP = 3 };

/* GIVE_UP_ON: without them these causes are retried at the longest delay, as the seed promised. */
enum wsc_give_up {
  WSC_GIVE_UP_REFUSED = 1,   /* an HTTP answer that waiting hardly mends: 2xx, 3xx, 4xx but 408, 425 and 429 */
  WSC_GIVE_UP_UPGRADE = 2,   /* a 101 that is malformed or that nobody asked for */
  WSC_GIVE_UP_TLS_TRUST = 4, /* a certificate that is not trusted or not for this host */
  WSC_GIVE_UP_RESOLVE = 8    /* a host name that does not exist */
};

enum wsc_option_flags { WSC_OPTION_SECRET = 1 }; /* show its name only */

typedef struct wsc_option_description {
  uint32_t struct_size;
  int id, type, scope;
  int64_t default_value, min, max;
  const char *name, *unit, *python_name, *flag, *go_name, *doc; /* static */
  uint32_t flags;                                               /* enum wsc_option_flags */
} wsc_option_description;

/* A set of options. Engines and connections copy what they need: it may be changed or freed right after.
 * set_int   INT and BOOL · set_str  STR replaces (NULL unsets), LIST appends
 * errors of a setter: WSC_ERR_INVALID for an unknown id, NULL handle or the wrong type, WSC_ERR_NOMEM. Values are
 *           judged by validate, so that all violations come together; what takes options (engine, connection, loop)
 *           validates itself
 * get_int   INT and BOOL: what was set, else the default · errors: as a setter's
 * validate  what: one error naming every violation (option, value, limit), one cause link each; NULL: the defaults
 *           errors: WSC_ERR_INVALID, WSC_ERR_NOMEM
 * info      what: row number index (0 ...) · errors: WSC_ERR_INVALID past the end, or without out's struct_size
 * new       NULL: out of memory · free: NULL is fine
 * owns: the caller frees; strings are copied · threads: one at a time a handle, info any · blocks: no */
WSC_API wsc_options *wsc_options_new(void);
WSC_API void wsc_options_free(wsc_options *o);
WSC_API int wsc_options_set_int(wsc_options *o, int id, int64_t value);
WSC_API int wsc_options_set_str(wsc_options *o, int id, const char *value);
WSC_API int wsc_options_get_int(const wsc_options *o, int id, int64_t *value);
WSC_API int wsc_options_validate(const wsc_options *o, wsc_error **all);
WSC_API int wsc_option_info(int index, wsc_option_description *out);

#ifdef __cplusplus
}
#endif
#endif
