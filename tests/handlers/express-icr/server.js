// An ICR webhook handler in Express, as it would stand behind hooklatch.
//
// It checks the signature again itself, the way ICR documents it: HMAC-SHA256 over the string value of `signedData`,
// compared with the header x-icr-signature-256. It then reads the event from the decoded `signedData` alone: the fields
// beside it are not signed (hooklatch has compared them; a handler without a gateway must not trust them).
//
//     WEBHOOK_SECRET=… PORT=4040 node server.js

import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { fstatSync } from "node:fs";
import express from "express";

const secret = process.env.WEBHOOK_SECRET;
if (!secret) throw new Error("set WEBHOOK_SECRET to the secret of the ICR app");

const app = express();
let seen = 0;

// express.raw, not express.json: what is checked must be what was sent.
app.post("/webhook", express.raw({ type: () => true, limit: "1mb" }), (req, res) => {
  seen += 1;
  const body = Buffer.isBuffer(req.body) ? req.body : Buffer.alloc(0);
  const signedData = signedDataOf(body);
  if (!isSigned(signedData, req.get("x-icr-signature-256"))) {
    res.status(401).json({ verified: false, error: "the signature does not match" });
    return;
  }
  const payload = JSON.parse(Buffer.from(signedData, "base64").toString("utf8"));

  // Here the work would be queued; ICR does not send again, so acknowledge only what is kept.
  res.json({
    verified: true,
    event: payload.event,
    organization: payload.installation?.organization?.name,
    gateway: {
      verified: req.get("hooklatch-verified"),
      route: req.get("hooklatch-route"),
      secret_id: req.get("hooklatch-secret-id"),
    },
    body: { bytes: body.length, sha256: createHash("sha256").update(body).digest("hex") },
  });
});

// How many deliveries came in, good or bad: the tests ask it, past the gateway.
app.get("/seen", (_req, res) => res.json({ seen }));

/** The string under `signedData`, or null if the body has none. */
function signedDataOf(body) {
  try {
    const { signedData } = JSON.parse(body.toString("utf8"));
    return typeof signedData === "string" && signedData !== "" ? signedData : null;
  } catch {
    return null;
  }
}

/** Whether `header` is `sha256=` and the MAC of `signedData`, compared as bytes in constant time. */
function isSigned(signedData, header = "") {
  if (signedData === null || !/^sha256=[0-9a-f]{64}$/i.test(header)) return false;
  const expected = createHmac("sha256", secret).update(signedData).digest();
  return timingSafeEqual(expected, Buffer.from(header.slice("sha256=".length), "hex"));
}

const server = app.listen(Number(process.env.PORT ?? 0), "127.0.0.1", (error) => {
  if (error) throw error;
  console.log(`listening ${server.address().port}`);
});

// Stop when asked to, or when the program that started this one (and holds the other end of its stdin) is gone.
const stop = () => process.exit(0);
process.on("SIGTERM", stop);
if (fstatSync(0).isFIFO()) process.stdin.on("end", stop).resume();
