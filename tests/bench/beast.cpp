// Boost.Beast: synchronous stream on a plain socket, every message into one re-used flat_buffer.
#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>
#include <string>

#include "bench.h"

namespace net = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using tcp = net::ip::tcp;

static void receive(bench &b, websocket::stream<tcp::socket> &s) {
  beast::flat_buffer buffer;
  beast::error_code error;
  for (;;) {
    size_t n = s.read(buffer, error);
    if (error) return;
    b.messages++;
    b.bytes += n;
    buffer.consume(buffer.size());
  }
}

int main(int argc, char **argv) {
  bench b;
  bench_args(&b, argc, argv);
  std::string payload(b.size, 'x');
  bench_start(&b);
  net::io_context io;
  websocket::stream<tcp::socket> s(io);
  s.next_layer().connect(tcp::endpoint(net::ip::make_address(b.host), static_cast<unsigned short>(b.port)));
  s.next_layer().set_option(tcp::no_delay(true));
  s.read_message_max(0);
  s.handshake(b.host, b.path);
  s.binary(true);

  beast::flat_buffer buffer;
  if (mode_is(&b, "recv")) {
    receive(b, s);
  } else if (mode_is(&b, "send")) {
    for (long i = 0; i < b.count; i++) s.write(net::buffer(payload));
    s.text(true);
    s.write(net::buffer("count", 5));
    s.read(buffer);
    b.messages = strtoull(beast::buffers_to_string(buffer.data()).c_str(), nullptr, 10);
  } else {
    for (long i = 0; i < b.count; i++) {
      double t = now_s();
      s.write(net::buffer(payload));
      s.read(buffer);
      buffer.consume(buffer.size());
      b.latency[b.messages++] = now_s() - t;
    }
  }
  bench_report(&b);
  _exit(0);
}
