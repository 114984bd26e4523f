// A CircleCI webhook handler in plain Node.js, as it would stand behind hooklatch.
//
// It checks the signature again itself: circleci-signature is a comma-separated list of version=hex, of which only v1
// counts, HMAC-SHA256 over the raw body. CircleCI may deliver an event twice, so it remembers the ids that it has seen.
//
//     WEBHOOK_SECRET=… PORT=1337 node server.mjs

import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { fstatSync } from "node:fs";
import { createServer } from "node:http";

const secret = process.env.WEBHOOK_SECRET;
if (!secret) throw new Error("set WEBHOOK_SECRET to the secret of the CircleCI webhook");

const MAX_IDS = 10_000;
const ids = new Set();
let seen = 0;

async function handle(req, res) {
  if (req.method === "GET" && req.url === "/seen") {
    // How many deliveries came in, good or bad: the tests ask it, past the gateway.
    answer(res, 200, { seen });
    return;
  }
  if (req.method !== "POST" || req.url !== "/log-circleci-webhook") {
    answer(res, 404, { error: "POST /log-circleci-webhook" });
    return;
  }
  const chunks = []; // hooklatch bounds the body (max_body, 1 MiB)
  for await (const chunk of req) chunks.push(chunk);
  const body = Buffer.concat(chunks);

  seen += 1;
  if (!isSigned(body, req.headers["circleci-signature"])) {
    answer(res, 401, { verified: false, error: "the signature does not match" });
    return;
  }
  const { id } = parse(body);
  answer(res, 200, {
    verified: true,
    event: req.headers["circleci-event-type"],
    id,
    duplicate: isDuplicate(id),
    gateway: {
      verified: req.headers["hooklatch-verified"],
      route: req.headers["hooklatch-route"],
      secret_id: req.headers["hooklatch-secret-id"],
    },
    body: { bytes: body.length, sha256: createHash("sha256").update(body).digest("hex") },
  });
}

/** Whether one of the v1 signatures in `header` is the MAC of `body`, compared as bytes in constant time. */
function isSigned(body, header = "") {
  const expected = createHmac("sha256", secret).update(body).digest();
  return header
    .split(",")
    .map((part) => /^\s*v1=([0-9a-f]{64})\s*$/i.exec(part)?.[1])
    .some((hex) => hex !== undefined && timingSafeEqual(expected, Buffer.from(hex, "hex")));
}

/** The delivery, or nothing if it is no JSON: it is signed, and sending it once more would not make it readable. */
function parse(body) {
  try {
    return JSON.parse(body.toString("utf8")) ?? {};
  } catch {
    return {};
  }
}

/** Whether `id` came before; of the ids the newest 10,000 are kept. */
function isDuplicate(id) {
  if (id === undefined) return false;
  if (ids.has(id)) return true;
  ids.add(id);
  if (ids.size > MAX_IDS) ids.delete(ids.values().next().value);
  return false;
}

function answer(res, status, content) {
  res.writeHead(status, { "content-type": "application/json" });
  res.end(JSON.stringify(content));
}

// A sender that hangs up half-way costs its own connection only.
const server = createServer((req, res) => handle(req, res).catch(() => res.destroy()));
server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
  console.log(`listening ${server.address().port}`);
});

// Stop when asked to, or when the program that started this one (and holds the other end of its stdin) is gone.
const stop = () => process.exit(0);
process.on("SIGTERM", stop);
if (fstatSync(0).isFIFO()) process.stdin.on("end", stop).resume();
