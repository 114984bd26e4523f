// Each provider's own library takes what hooklatch signs and refuses it with another body, and hooklatch takes what the
// library signs, where it can sign, and refuses it with another body. `scripts/test sdk` runs this.

import crypto from "node:crypto";
import { createRequire } from "node:module";
import { gzipSync } from "node:zlib";

import { HOST, accepts, send, sign } from "./gateway.mjs";

const require = createRequire(import.meta.url);
const JSON_TYPE = { "content-type": "application/json" };
const FORM_TYPE = { "content-type": "application/x-www-form-urlencoded" };
const SECRET = "3f1c9a7e5b2d4c6f8a0e1b3d5f7a9c2e";
const WHSEC = `whsec_${Buffer.from("0123456789abcdef01234567").toString("base64")}`;
const BODY = '{"id":"evt_1","type":"order.paid","data":{"object":{"text":"café \\u0026"}}}';
const now = () => Math.floor(Date.now() / 1000);
const url = (one) => `https://${HOST}${one.target}`;

/** Whether a library's check passes: it returns true or an object, or does not throw. */
async function passes(check) {
  try {
    return (await check()) !== false;
  } catch {
    return false;
  }
}

const standard = (id, secret = WHSEC) => ({ scheme: id, secret, headers: { ...JSON_TYPE, "webhook-id": "msg_1" } });

// `takes` asks the library about a delivery; `makes` lets it sign one, and gives its headers, or headers and body.
const CASES = [
  async () => {
    const { default: Stripe } = await import("stripe");
    const stripe = new Stripe("sk_test_1");
    return {
      scheme: "stripe",
      takes: ({ headers, body, secret }) => stripe.webhooks.constructEvent(body, headers["stripe-signature"], secret),
      makes: ({ body, secret }) => ({
        "stripe-signature": stripe.webhooks.generateTestHeaderString({ payload: body.toString(), secret }),
      }),
    };
  },
  async () => {
    const { Webhook } = await import("svix");
    return {
      scheme: "svix",
      secret: WHSEC,
      headers: { ...JSON_TYPE, "svix-id": "msg_1" },
      takes: ({ headers, body, secret }) => new Webhook(secret).verify(body, headers),
      makes: ({ body, secret }) => ({
        "svix-id": "msg_2",
        "svix-timestamp": String(now()),
        "svix-signature": new Webhook(secret).sign("msg_2", new Date(now() * 1000), body.toString()),
      }),
    };
  },
  async () => {
    const { Webhook } = await import("standardwebhooks");
    return {
      ...standard("standard-webhooks"),
      takes: ({ headers, body, secret }) => new Webhook(secret).verify(body, headers),
      makes: ({ body, secret }) => ({
        "webhook-id": "msg_2",
        "webhook-timestamp": String(now()),
        "webhook-signature": new Webhook(secret).sign("msg_2", new Date(now() * 1000), body.toString()),
      }),
    };
  },
  async () => {
    const { sign: signed, verify } = await import("@octokit/webhooks-methods");
    return {
      scheme: "github",
      headers: { ...JSON_TYPE, "x-github-event": "push" },
      takes: ({ headers, body, secret }) => verify(secret, body.toString(), headers["x-hub-signature-256"]),
      makes: async ({ body, secret }) => ({ "x-hub-signature-256": await signed(secret, body.toString()) }),
    };
  },
  async () => {
    const { default: twilio } = await import("twilio");
    const fields = (body) => Object.fromEntries(new URLSearchParams(body.toString()));
    return {
      scheme: "twilio",
      what: "a form",
      options: { public_url: `https://${HOST}` },
      headers: FORM_TYPE,
      target: "/twilio?a=1",
      body: "CallSid=CA1&From=%2B14158675309&Body=a+b%26c",
      takes: (one) => twilio.validateRequest(one.secret, one.headers["x-twilio-signature"], url(one), fields(one.body)),
      makes: (one) => ({
        "x-twilio-signature": twilio.getExpectedTwilioSignature(one.secret, url(one), fields(one.body)),
      }),
    };
  },
  async () => {
    const { default: twilio } = await import("twilio");
    return {
      scheme: "twilio",
      what: "JSON",
      via: "send",
      options: { public_url: `https://${HOST}` },
      target: "/twilio?a=1",
      takes: (one) =>
        twilio.validateRequestWithBody(one.secret, one.headers["x-twilio-signature"], url(one), one.body.toString()),
    };
  },
  async () => {
    const { WorkOS } = await import("@workos-inc/node");
    const { webhooks } = new WorkOS("sk_test_1", { clientId: "client_1" });
    return {
      scheme: "workos",
      takes: ({ headers, body, secret }) =>
        webhooks.verifyHeader({ payload: JSON.parse(body), sigHeader: headers["workos-signature"], secret }),
      makes: async ({ body, secret }) => {
        const at = Date.now();
        return { "workos-signature": `t=${at}, v1=${await webhooks.computeSignature(at, JSON.parse(body), secret)}` };
      },
      // The library checks what JSON.stringify makes of the body.
      body: JSON.stringify(JSON.parse(BODY)),
      change: (body) => body.toString().replace("order.paid", "order.lost"),
    };
  },
  async () => {
    const { AccessToken, WebhookReceiver } = await import("livekit-server-sdk");
    const sha256 = (body) => crypto.createHash("sha256").update(body).digest("base64");
    return {
      scheme: "livekit",
      options: { api_key: "APIkey1" },
      headers: { "content-type": "application/webhook+json" },
      body: '{"event":"room_started","id":"EV_1","createdAt":"1700000000"}',
      takes: ({ headers, body, secret }) => new WebhookReceiver("APIkey1", secret).receive(body.toString(), headers.authorization),
      makes: async ({ body, secret }) => {
        const token = new AccessToken("APIkey1", secret);
        token.sha256 = sha256(body);
        return { authorization: await token.toJwt() };
      },
    };
  },
  async () => {
    const { verify } = require("messagebird/lib/webhook-signature-jwt.js");
    const key = (secret) => crypto.createSecretKey(Buffer.from(secret));
    return {
      scheme: "messagebird",
      options: { public_url: `https://${HOST}` },
      target: "/messagebird?b=2&a=1",
      takes: (one) => verify(url(one), one.body, one.headers["messagebird-signature-jwt"], key(one.secret)),
    };
  },
  ...[
    ["a form", "/plivo"],
    ["a form and a query", "/plivo?b=2&a=1"],
  ].map(([what, target]) => async () => {
    const { validateV3Signature } = require("plivo");
    const fields = (body) => Object.fromEntries(new URLSearchParams(body.toString()));
    return {
      scheme: "plivo-v3",
      what,
      target,
      options: { public_url: `https://${HOST}` },
      headers: { ...FORM_TYPE, "x-plivo-signature-v3-nonce": "12345" },
      body: "CallUUID=97ceeb52&From=15671234567",
      takes: (one) =>
        validateV3Signature("POST", url(one), "12345", one.secret, one.headers["x-plivo-signature-v3"], fields(one.body)),
    };
  }),
  async () => {
    const { WebhooksHelper } = await import("square");
    return {
      scheme: "square",
      options: { public_url: `https://${HOST}` },
      target: "/square",
      takes: (one) =>
        WebhooksHelper.verifySignature({
          requestBody: one.body.toString(),
          signatureHeader: one.headers["x-square-hmacsha256-signature"],
          signatureKey: one.secret,
          notificationUrl: url(one),
        }),
    };
  },
  async () => {
    const { Paddle } = await import("@paddle/paddle-node-sdk");
    const { webhooks } = new Paddle("key");
    return {
      scheme: "paddle",
      takes: ({ headers, body, secret }) =>
        webhooks.isSignatureValid(body.toString(), secret, headers["paddle-signature"]),
    };
  },
  async () => {
    const { default: OpenAI } = await import("openai");
    const client = new OpenAI({ apiKey: "sk-1" });
    return {
      ...standard("openai"),
      takes: ({ headers, body, secret }) => client.webhooks.unwrap(body.toString(), headers, secret),
    };
  },
  async () => {
    const { validateSignature } = await import("@line/bot-sdk");
    return {
      scheme: "line",
      takes: ({ headers, body, secret }) => validateSignature(body, secret, headers["x-line-signature"]),
    };
  },
  async () => {
    const { verifyKey } = await import("discord-interactions");
    const { publicKey, privateKey } = crypto.generateKeyPairSync("ed25519");
    const secret = publicKey.export({ format: "der", type: "spki" }).subarray(-32).toString("hex");
    return {
      scheme: "discord",
      secret,
      via: "nothing",
      body: '{"type":2,"id":"1"}',
      makes: ({ body }) => {
        const at = String(now());
        const signature = crypto.sign(null, Buffer.concat([Buffer.from(at), body]), privateKey).toString("hex");
        return { "x-signature-timestamp": at, "x-signature-ed25519": signature };
      },
      takes: ({ headers, body }) =>
        verifyKey(body, headers["x-signature-ed25519"], headers["x-signature-timestamp"], secret),
    };
  },
  async () => {
    await import("@shopify/shopify-api/adapters/node");
    const { ApiVersion, shopifyApi } = await import("@shopify/shopify-api");
    const of = (secret) =>
      shopifyApi({
        apiKey: "key",
        apiSecretKey: secret,
        apiVersion: Object.values(ApiVersion)[0],
        hostName: HOST,
        isEmbeddedApp: false,
        logger: { log: () => {} },
      });
    return {
      scheme: "shopify",
      headers: {
        ...JSON_TYPE,
        "x-shopify-topic": "orders/create",
        "x-shopify-shop-domain": "a.myshopify.com",
        "x-shopify-api-version": "2026-01",
        "x-shopify-webhook-id": "1",
        "x-shopify-event-id": "2",
      },
      takes: async ({ headers, body, secret }) => {
        const rawRequest = { method: "POST", url: "/", headers };
        const verdict = await of(secret).webhooks.validate({ rawBody: body.toString(), rawRequest, rawResponse: {} });
        return verdict.valid;
      },
    };
  },
  async () => {
    const { EventWebhook } = require("@sendgrid/eventwebhook");
    const { publicKey, privateKey } = crypto.generateKeyPairSync("ec", { namedCurve: "prime256v1" });
    const secret = publicKey.export({ format: "der", type: "spki" }).toString("base64");
    return {
      scheme: "sendgrid",
      secret,
      via: "nothing",
      makes: ({ body }) => {
        const at = String(now());
        const signature = crypto.sign("sha256", Buffer.concat([Buffer.from(at), body]), privateKey).toString("base64");
        return {
          "x-twilio-email-event-webhook-timestamp": at,
          "x-twilio-email-event-webhook-signature": signature,
        };
      },
      takes: ({ headers, body }) => {
        const library = new EventWebhook();
        const key = library.convertPublicKeyToECDSA(secret);
        const signature = headers["x-twilio-email-event-webhook-signature"];
        return library.verifySignature(key, body, signature, headers["x-twilio-email-event-webhook-timestamp"]);
      },
    };
  },
  async () => {
    const { verifySignature } = require("stream-chat");
    return {
      scheme: "getstream",
      takes: ({ headers, body, secret }) => verifySignature(body, headers["x-signature"], secret),
    };
  },
  async () => {
    const { verifyAndParseWebhook } = require("stream-chat");
    return {
      scheme: "getstream",
      what: "gzip",
      headers: { ...JSON_TYPE, "content-encoding": "gzip" },
      via: "nothing",
      body: gzipSync(BODY),
      other: gzipSync(`${BODY} `),
      makes: ({ secret }) => ({ "x-signature": crypto.createHmac("sha256", secret).update(BODY).digest("hex") }),
      takes: ({ headers, body, secret }) => verifyAndParseWebhook(body, headers["x-signature"], secret),
    };
  },
  async () => {
    const Razorpay = require("razorpay");
    return {
      scheme: "razorpay",
      takes: ({ headers, body, secret }) =>
        Razorpay.validateWebhookSignature(body.toString(), headers["x-razorpay-signature"], secret),
    };
  },
  async () => {
    const braintree = require("braintree");
    const [publicKey, privateKey] = ["public1", SECRET];
    const environment = braintree.Environment.Sandbox;
    const gateway = new braintree.BraintreeGateway({ environment, merchantId: "m", publicKey, privateKey });
    const sample = () => gateway.webhookTesting.sampleNotification("subscription_went_active", "1");
    return {
      scheme: "braintree",
      via: "nothing",
      secret: privateKey,
      headers: FORM_TYPE,
      body: new URLSearchParams(sample()).toString(),
      makes: () => ({}),
      takes: async ({ body }) => {
        const fields = new URLSearchParams(body.toString());
        return await gateway.webhookNotification.parse(fields.get("bt_signature"), fields.get("bt_payload"));
      },
    };
  },
  async () => {
    const Pusher = require("pusher");
    return {
      scheme: "pusher",
      headers: { ...JSON_TYPE, "x-pusher-key": "key1" },
      takes: ({ headers, body, secret }) =>
        new Pusher({ appId: "1", key: "key1", secret, cluster: "eu" }).webhook({ headers, rawBody: body.toString() }).isValid(),
    };
  },
  async () => {
    const { Receiver } = await import("@upstash/qstash");
    return {
      scheme: "qstash",
      options: { public_url: `https://${HOST}` },
      target: "/qstash",
      takes: (one) =>
        new Receiver({ currentSigningKey: one.secret, nextSigningKey: "other" }).verify({
          signature: one.headers["upstash-signature"],
          body: one.body.toString(),
          url: url(one),
          clockTolerance: 2,
        }),
    };
  },
  async () => {
    const { default: Mux } = await import("@mux/mux-node");
    const mux = new Mux({ tokenId: "1", tokenSecret: "2" });
    return {
      scheme: "mux",
      takes: ({ headers, body, secret }) => mux.webhooks.verifySignature(body.toString(), headers, secret),
    };
  },
  async () => {
    const { signRequest, verifyRequest } = require("@contentful/node-apps-toolkit");
    const secret = SECRET.repeat(2);
    const canonical = ({ headers, body, target }) => ({ method: "POST", path: target, headers, body: body.toString() });
    return {
      scheme: "contentful",
      secret,
      target: "/contentful",
      headers: { "content-type": "application/vnd.contentful.management.v1+json" },
      takes: (one) => verifyRequest(secret, canonical(one), 300),
      makes: (one) => signRequest(secret, canonical(one), Date.now()),
    };
  },
  async () => {
    const { encodeSignatureHeader, isValidSignature } = await import("@sanity/webhook");
    return {
      scheme: "sanity",
      takes: ({ headers, body, secret }) => isValidSignature(body.toString(), headers["sanity-webhook-signature"], secret),
      makes: async ({ body, secret }) => ({
        "sanity-webhook-signature": await encodeSignatureHeader(body.toString(), Date.now(), secret),
      }),
    };
  },
  async () => {
    const { WebhookSignatureValidator } = require("mercadopago");
    return {
      scheme: "mercado-pago",
      target: "/mp?data.id=ORD01ABC&type=order",
      headers: { ...JSON_TYPE, "x-request-id": "d0d1e4c4" },
      // The body is not signed: another id is.
      otherTarget: "/mp?data.id=ORD01ABD&type=order",
      takes: ({ headers, target, secret }) =>
        WebhookSignatureValidator.validate({
          xSignature: headers["x-signature"],
          xRequestId: headers["x-request-id"],
          dataId: new URLSearchParams(target.split("?")[1]).get("data.id"),
          secret,
        }),
    };
  },
  async () => {
    const { verifySignature } = await import("gocardless-nodejs");
    return {
      scheme: "gocardless",
      takes: ({ headers, body, secret }) => verifySignature(body.toString(), secret, headers["webhook-signature"]),
    };
  },
  async () => {
    const { LinearWebhookClient } = await import("@linear/sdk/webhooks");
    const body = () => JSON.stringify({ type: "Issue", webhookTimestamp: Date.now() });
    return {
      scheme: "linear",
      body: body(),
      takes: ({ headers, body, secret }) => new LinearWebhookClient(secret).verify(body, headers["linear-signature"]),
    };
  },
  async () => {
    const { EventCallbackHelper, EventCallbackRequest } = require("@dropbox/sign");
    // Node's reader of forms wants a long boundary.
    const type = "multipart/form-data; boundary=hooklatch-hooklatch-hooklatch";
    const [, delimiter] = type.split("boundary=");
    const part = (json) =>
      `--${delimiter}\r\nContent-Disposition: form-data; name="json"\r\n\r\n${json}\r\n--${delimiter}--\r\n`;
    const event = (type) => part(JSON.stringify({ event: { event_time: "1700000000", event_type: type } }));
    return {
      scheme: "dropbox-sign",
      via: "send",
      headers: { "content-type": type },
      body: event("signature_request_sent"),
      change: (body) => body.toString().replace("signature_request_sent", "signature_request_lost"),
      takes: async ({ body, secret }) => {
        const form = await new Response(body, { headers: { "content-type": type } }).formData();
        return EventCallbackHelper.isValid(secret, EventCallbackRequest.init(JSON.parse(form.get("json"))));
      },
    };
  },
  async () => {
    const { signParams, verifyWebhookSignature } = await import("@transloadit/utils");
    return {
      scheme: "transloadit-json",
      takes: ({ headers, body, secret }) =>
        verifyWebhookSignature({
          rawBody: body.toString(),
          signatureHeader: headers["transloadit-signature"],
          authSecret: secret,
        }),
      makes: async ({ body, secret }) => ({ "transloadit-signature": await signParams(body.toString(), secret) }),
    };
  },
];

/** Everything about one provider; gives what is wrong. */
async function check(made) {
  const one = { secret: SECRET, headers: JSON_TYPE, target: "/hook", via: "sign", body: BODY, ...made };
  one.body = Buffer.from(one.body);
  const wrong = [];
  const expect = (right, what) => right || wrong.push(what);
  const other = (delivery) => {
    if (one.otherTarget) return { ...delivery, target: one.otherTarget };
    const change = one.change ?? ((body) => one.other ?? body.toString().replace(/.(?=.$)/su, (letter) => `${letter} `));
    return { ...delivery, body: Buffer.from(change(delivery.body)) };
  };
  const both = async (delivery, by) => {
    const whole = { secret: one.secret, ...delivery };
    expect(await passes(() => one.takes(whole)), `the library refuses what ${by} has signed`);
    expect(!(await passes(() => one.takes(other(whole)))), `the library takes another delivery than ${by} has signed`);
    const verdict = await accepts(one, delivery);
    expect(verdict.accepted, `hooklatch refuses what ${by} has signed: ${verdict.why}`);
    expect(!(await accepts(one, other(delivery))).accepted, `hooklatch takes another delivery than ${by} has signed`);
  };
  const { body, target } = one;
  if (one.via === "sign") await both({ headers: await sign(one), target, body }, "hooklatch");
  if (one.via === "send") await both(await send(one), "hooklatch");
  if (one.makes) await both({ headers: { ...one.headers, ...(await one.makes(one)) }, target, body }, "the library");
  return wrong;
}

let failed = 0;
for (const load of CASES) {
  const made = await load();
  const name = made.what ? `${made.scheme} (${made.what})` : made.scheme;
  const wrong = await check(made).catch((error) => [error.stack]);
  failed += wrong.length > 0 ? 1 : 0;
  console.log(wrong.length === 0 ? `ok      ${name}` : `FAILED  ${name}\n    ${wrong.join("\n    ")}`);
}
console.log(`${CASES.length - failed} of ${CASES.length}`);
process.exit(failed === 0 ? 0 : 1);
