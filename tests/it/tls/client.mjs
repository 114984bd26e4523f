// Sends a request with Node's client of HTTP/2, and prints the status of the answer, whether the whole body was sent, and the
// code of the stream's reset.
//
// node client.mjs URL CA PATH BODY NAME VALUE: the files of the authority and of the body, the name and value of a header.

import { createReadStream, readFileSync } from "node:fs";
import { connect } from "node:http2";

const [url, ca, path, body, name, value] = process.argv.slice(2);
const session = connect(url, { ca: readFileSync(ca), servername: "gateway.example" });
const signal = AbortSignal.timeout(30_000);
const request = session.request({ ":method": "POST", ":path": path, [name]: value }, { signal });
let status = "none";
request.on("response", (headers) => {
  status = headers[":status"];
});
request.on("close", () => {
  // On a busy machine a stream closes before Node says that what it has written is finished.
  const sent = request.writableFinished || (request.writableEnded && request.writableLength === 0);
  console.log(`status ${status}, sent ${sent}, reset with ${request.rstCode}`);
  session.close();
});
request.resume();
// Piece by piece: of a body that was handed over whole, Node itself drops the rest once the response has ended.
createReadStream(body).pipe(request);
