// The gateway's side: signs by `hooklatch sign` or `hooklatch send`, and asks `hooklatch explain` for its verdict.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

const BINARY = process.env.HOOKLATCH_BINARY ?? "hooklatch";
export const HOST = "hooks.example.com";

/** Runs the binary to its end. */
function run(args, folder, secret) {
  return new Promise((resolve, reject) => {
    const child = spawn(BINARY, args, { cwd: folder, env: { ...process.env, HOOK_SECRET: secret } });
    let output = "";
    let errors = "";
    child.stdout.on("data", (text) => (output += text));
    child.stderr.on("data", (text) => (errors += text));
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, output, errors }));
  });
}

async function inFolder(work) {
  const folder = mkdtempSync(join(tmpdir(), "hooklatch-sdk-"));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function configuration({ scheme, options = {}, path }) {
  const route = {
    name: "hook",
    path,
    scheme: { name: scheme, ...options },
    secrets: [{ env: "HOOK_SECRET" }],
    upstream: "http://127.0.0.1:9/",
    methods: ["POST", "GET"],
  };
  // JSON is YAML.
  return JSON.stringify({ routes: [route] });
}

function headerArguments(headers) {
  return Object.entries(headers).flatMap(([name, value]) => ["--header", `${name}: ${value}`]);
}

/** The headers of a delivery that `hooklatch sign` signs, those of the case included. */
export function sign(one) {
  return inFolder(async (folder) => {
    writeFileSync(join(folder, "body"), one.body);
    const options = Object.entries(one.options ?? {}).flatMap(([key, value]) => ["--option", `${key}=${value}`]);
    const args = ["sign", "--scheme", one.scheme, "--secret-env", "HOOK_SECRET", "--body", "body", "--target", one.target];
    const { status, output, errors } = await run([...args, ...options, ...headerArguments(one.headers)], folder, one.secret);
    if (status !== 0) throw new Error(`hooklatch sign: ${errors}`);
    const lines = output.trimEnd().split("\n").map((line) => line.split(/: (.*)/s));
    return { ...one.headers, ...Object.fromEntries(lines.map(([name, value]) => [name, value])) };
  });
}

/** A delivery that `hooklatch send` sends: its headers, target and body. */
export function send(one) {
  return inFolder(async (folder) => {
    const [path] = one.target.split("?");
    writeFileSync(join(folder, "gateway.yaml"), configuration({ ...one, path }));
    writeFileSync(join(folder, "body"), one.body);
    const received = [];
    const server = createServer((request, response) => {
      const pieces = [];
      request.on("data", (piece) => pieces.push(piece));
      request.on("end", () => {
        received.push({ headers: request.headers, target: request.url, body: Buffer.concat(pieces) });
        response.end();
      });
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${server.address().port}${one.target}`;
    const args = ["send", "hook", "-c", "gateway.yaml", "--url", url, "--body", "body"];
    const { status, errors } = await run([...args, ...headerArguments(one.headers)], folder, one.secret);
    server.close();
    if (status !== 0 || received.length !== 1) throw new Error(`hooklatch send: ${errors}`);
    return received[0];
  });
}

/** Whether the gateway would accept this delivery. */
export function accepts(one, { method = "POST", target = one.target, headers, body }) {
  return inFolder(async (folder) => {
    const [path] = target.split("?");
    writeFileSync(join(folder, "gateway.yaml"), configuration({ ...one, path }));
    const bytes = Buffer.from(body);
    const own = ["host", "content-length", "connection", "transfer-encoding"];
    const lines = Object.entries(headers).filter(([name]) => !own.includes(name.toLowerCase()));
    const head = [
      `${method} ${target} HTTP/1.1`,
      `Host: ${HOST}`,
      ...lines.map(([name, value]) => `${name}: ${value}`),
      `Content-Length: ${bytes.length}`,
    ];
    writeFileSync(join(folder, "request.http"), Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`), bytes]));
    const args = ["explain", "hook", "-c", "gateway.yaml", "--request", "request.http"];
    const { status, output, errors } = await run(args, folder, one.secret);
    if (status !== 0 && status !== 1) throw new Error(`hooklatch explain: ${errors}`);
    return { accepted: status === 0, why: output };
  });
}
