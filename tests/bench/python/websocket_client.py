"""websocket-client: WebSocketApp and its on_message."""

import threading
import time

import common
import websocket

messages = 0
BINARY = websocket.ABNF.OPCODE_BINARY


def ask(app):
    global asked
    asked = time.perf_counter()
    app.send(common.PAYLOAD, BINARY)


def send_all(app):
    def work():
        for _ in range(common.COUNT):
            app.send(common.PAYLOAD, BINARY)
        app.send("count")

    threading.Thread(target=work).start()


def on_open(app):
    if common.MODE == "rtt":
        ask(app)
    elif common.MODE == "send":
        send_all(app)


def on_message(app, message):
    global messages
    messages += 1
    if common.MODE == "send":
        common.end(int(message.split()[0]))
    elif common.MODE == "rtt":
        common.latencies.append(time.perf_counter() - asked)
        if len(common.latencies) == common.COUNT:
            common.end(messages)
        ask(app)


common.begin()
websocket.WebSocketApp(common.URL, on_open=on_open, on_message=on_message).run_forever()
common.end(messages)
