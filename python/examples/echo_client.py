"""Sends one message, prints the answer, closes.

python echo_client.py ws://localhost:8080/ hello"""

import sys

import wscengine


class Echo(wscengine.Client):
    def __init__(self, text):
        self.text = text

    def on_open(self, session, response, restarting):
        session.send(self.text)

    def on_message(self, session, message):
        print(message)
        session.exit()

    def on_close(self, session, close):
        return 1000, "bye"


url, text = sys.argv[1:]
with wscengine.Engine(url, Echo(text)) as engine:
    engine.wait()
