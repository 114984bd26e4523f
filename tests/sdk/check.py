"""As check.mjs, for providers whose library in Python says more: `scripts/test sdk` runs this."""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

from polar.webhooks import _verify_signature as polar_verifies
from slack_sdk.signature import SignatureVerifier
from standardwebhooks import Webhook
from whop_sdk.lib.verify_webhook import unwrap

BINARY = os.environ.get("HOOKLATCH_BINARY", "hooklatch")
BODY = '{"id":"evt_1","type":"order.paid","data":{"text":"caf\u00e9"}}'
STANDARD = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
ID = {"webhook-id": "msg_1"}


def run(args, folder, secret):
    env = {**os.environ, "HOOK_SECRET": secret}
    return subprocess.run([BINARY, *args], cwd=folder, env=env, capture_output=True, text=True)


def signed(scheme, secret, headers):
    """The headers of a delivery that hooklatch signs."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "body").write_text(BODY, encoding="utf-8")
        more = [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
        done = run(["sign", "--scheme", scheme, "--secret-env", "HOOK_SECRET", "--body", "body", *more], folder, secret)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return {**headers, **dict(line.split(": ", 1) for line in done.stdout.splitlines())}


def accepts(scheme, secret, headers, body):
    """Whether the gateway would accept this delivery."""
    with tempfile.TemporaryDirectory() as folder:
        route = {
            "name": "hook",
            "path": "/hook",
            "scheme": scheme,
            "secrets": [{"env": "HOOK_SECRET"}],
            "upstream": "http://127.0.0.1:9/",
        }
        Path(folder, "gateway.yaml").write_text(json.dumps({"routes": [route]}), encoding="utf-8")
        data = body.encode()
        lines = ["POST /hook HTTP/1.1", "Host: hooks.example.com", *(f"{name}: {value}" for name, value in headers.items())]
        head = "\r\n".join([*lines, f"Content-Length: {len(data)}", "", ""])
        Path(folder, "request.http").write_bytes(head.encode() + data)
        done = run(["explain", "hook", "-c", "gateway.yaml", "--request", "request.http"], folder, secret)
        if done.returncode not in (0, 1):
            raise RuntimeError(done.stderr)
        return done.returncode == 0


def passes(check):
    try:
        return check() is not False
    except Exception:
        return False


def slack_signs(secret):
    at = str(int(time.time()))
    return {
        "x-slack-request-timestamp": at,
        "x-slack-signature": SignatureVerifier(secret).generate_signature(timestamp=at, body=BODY),
    }


def standard_signs(key):
    """As the provider signs with this key, by the library of Standard Webhooks."""
    at = int(time.time())
    library = Webhook(base64.b64encode(key).decode())
    signature = library.sign("msg_1", datetime.fromtimestamp(at, timezone.utc), BODY)
    return {**ID, "webhook-timestamp": str(at), "webhook-signature": signature}


# Scheme, secret, headers, the library's check, and what the library or the provider signs.
CASES = [
    ("slack", "8f742231b10e8888abcd99yyyzzz85a5", {}, lambda secret, headers, body: SignatureVerifier(secret).is_valid_request(body, headers), slack_signs),
    ("whop", "ws_0123456789abcdef0123456789abcdef", ID, lambda secret, headers, body: unwrap(body, headers=headers, key=secret), lambda secret: standard_signs(secret.encode())),
    ("polar", "polar_whs_0123456789abcdef01234567", ID, lambda secret, headers, body: polar_verifies(body, headers, secret), lambda secret: standard_signs(secret.encode())),
    ("polar", STANDARD, ID, lambda secret, headers, body: polar_verifies(body, headers, secret), lambda secret: standard_signs(base64.b64decode(secret.removeprefix("whsec_")))),
    ("polar", STANDARD, ID, lambda secret, headers, body: polar_verifies(body, headers, secret), lambda secret: standard_signs(secret.encode())),
]


def main():
    failed = 0
    for scheme, secret, headers, takes, makes in CASES:
        wrong = []
        for by, delivery in (("hooklatch", signed(scheme, secret, headers)), ("the library", {**headers, **makes(secret)})):
            if not passes(lambda: takes(secret, delivery, BODY)):
                wrong.append(f"the library refuses what {by} has signed")
            if passes(lambda: takes(secret, delivery, BODY + " ")):
                wrong.append(f"the library takes another body than {by} has signed")
            if not accepts(scheme, secret, delivery, BODY):
                wrong.append(f"hooklatch refuses what {by} has signed")
            if accepts(scheme, secret, delivery, BODY + " "):
                wrong.append(f"hooklatch takes another body than {by} has signed")
        failed += bool(wrong)
        print("\n    ".join([f"{'FAILED' if wrong else 'ok':7} {scheme} ({secret[:6]}…)", *wrong]))
    print(f"{len(CASES) - failed} of {len(CASES)}")
    return 1 if failed else 0


sys.exit(main())
