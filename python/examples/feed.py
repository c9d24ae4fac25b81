"""A market-data bot: follows a numbered feed through everything its server does. It subscribes in on_open from the number it wants next, so
no message is missed and none comes twice, whatever happens in between.

python feed.py URL --count N [--ca FILE] [--ping-interval S] [--ping-timeout S]

Prints progress, and as its last line one JSON object (tests/demo/README.md). Status 0: N messages, no gap, no duplicate."""

import argparse
import json
import sys
import time

import wscengine


class Feed(wscengine.Client):
    def __init__(self, count):
        self.count, self.last, self.messages, self.sessions = count, 0, 0, 0
        self.gaps = self.duplicates = 0
        self.reconnects, self.lost_at = [], 0.0

    def on_open(self, session, response, restarting):
        self.sessions += 1
        print(f"session {session.epoch}: subscribes from {self.last + 1}", flush=True)
        session.send(json.dumps({"from": self.last + 1}))

    def on_message(self, session, message):
        if self.messages == self.count:
            return
        number = json.loads(message)["seq"]
        self.messages += 1
        self.duplicates += number <= self.last
        self.gaps += max(0, number - self.last - 1)
        self.last = max(self.last, number)
        if self.messages == self.count:
            session.exit()

    def on_close(self, session, close):
        if close is None:
            return 1000, "done"
        by_peer = close.initiator == wscengine.Initiator.PEER
        self.note(f"{'closed' if by_peer else 'lost'}: {close.code} {close.reason}")

    def on_restart_error(self, engine, error, retry, last):
        self.note(str(error))

    def before_attempt(self, engine, attempt):
        if self.reconnects and self.reconnects[-1]["delay_ms"] is None:
            self.reconnects[-1]["delay_ms"] = (time.monotonic() - self.lost_at) * 1000

    def note(self, cause):
        print(cause, flush=True)
        self.lost_at = time.monotonic()
        self.reconnects.append({"cause": cause, "delay_ms": None})

    def summary(self, rtt):
        return {
            "messages": self.messages,
            "sessions": self.sessions,
            "gaps": self.gaps,
            "duplicates": self.duplicates,
            "rtt_ms": None if rtt is None else rtt * 1000,
            "reconnects": [r for r in self.reconnects if r["delay_ms"] is not None],
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--ca", dest="ca_file")
    parser.add_argument("--ping-interval", type=float)
    parser.add_argument("--ping-timeout", type=float)
    options = vars(parser.parse_args())
    url, feed = options.pop("url"), Feed(options.pop("count"))
    with wscengine.Engine(url, feed, **options) as engine:
        while True:
            try:
                engine.wait(timeout=1)
                break
            except wscengine.TimeoutError:
                print(f"{feed.messages} messages, last number {feed.last}", flush=True)
        print(json.dumps(feed.summary(engine.stats.rtt_smoothed)))
    return feed.messages != feed.count or feed.gaps > 0 or feed.duplicates > 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except wscengine.Error as error:
        sys.exit(f"feed: {error}")
