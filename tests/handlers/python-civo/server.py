#!/usr/bin/env python3
"""A Civo webhook handler in Python's standard library, as it would stand behind hooklatch.

It checks the signature again itself: X-Civo-Signature is the hex HMAC-SHA1 of the raw body. X-Civo-Event is an id that
stays the same when Civo sends an event again; it is not signed, so use it to recognise a retry, never to decide anything.

    WEBHOOK_SECRET=… PORT=8000 python3 server.py
"""

import hashlib
import hmac
import json
import os
import signal
import stat
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ.get("WEBHOOK_SECRET", "").encode()
MAX_BODY = 1024 * 1024


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps the connection open, so that the gateway can use it again
    timeout = 75
    wbufsize = -1  # head and body of an answer leave together
    seen = 0

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))  # hooklatch always sets it
        if length > MAX_BODY:
            self.close_connection = True
            return self.answer(413, {"error": "too large"})
        body = self.rfile.read(length)

        Handler.seen += 1
        if not is_signed(body, self.headers.get("X-Civo-Signature", "")):
            return self.answer(401, {"verified": False, "error": "the signature does not match"})
        delivery = json.loads(body)
        self.answer(200, {
            "verified": True,
            "event": delivery["event"],
            "resource": delivery["resourceID"],
            "id": self.headers.get("X-Civo-Event"),
            "gateway": {
                "verified": self.headers.get("Hooklatch-Verified"),
                "route": self.headers.get("Hooklatch-Route"),
                "secret_id": self.headers.get("Hooklatch-Secret-Id"),
            },
            "body": {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()},
        })

    def do_GET(self):
        # How many deliveries came in, good or bad: the tests ask it, past the gateway.
        self.answer(200, {"seen": Handler.seen})

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def is_signed(body, signature):
    """Whether the signature is the MAC of the body, compared as bytes in constant time."""
    try:
        given = bytes.fromhex(signature)
    except ValueError:
        return False
    return hmac.compare_digest(hmac.new(SECRET, body, hashlib.sha1).digest(), given)


def stop(*_):
    sys.exit(0)


def stop_when_stdin_closes():
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    if not SECRET:
        sys.exit("set WEBHOOK_SECRET to the secret of the Civo webhook")
    # Stop when asked to, or when the program that started this one (and holds the other end of its stdin) is gone.
    signal.signal(signal.SIGTERM, stop)
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=stop_when_stdin_closes, daemon=True).start()

    server = ThreadingHTTPServer((os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", 0))), Handler)
    print("listening", server.server_port, flush=True)
    server.serve_forever()
