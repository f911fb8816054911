// Verifies requests to webhooks as a receiver in Node does: with the library of Standard Webhooks, and by the recipe of
// Appwrite.
//
//   node verify.cjs
//
// Reads one request as JSON from standard input: {secret, format, url, headers, body}. `format` is "raw" for a secret
// that is the key itself. Writes {standard, appwrite}: what the library returned, or {refused: reason}; and whether the
// older signature is right.
"use strict";

const crypto = require("node:crypto");
const { Webhook } = require("standardwebhooks");

function standard({ secret, format, headers, body }) {
  try {
    const webhook = format === "raw" ? new Webhook(Buffer.from(secret), { format }) : new Webhook(secret);
    return webhook.verify(body, headers);
  } catch (error) {
    return { refused: error.message };
  }
}

function appwrite({ secret, url, headers, body }) {
  const expected = crypto.createHmac("sha1", secret).update(url + body).digest("base64");
  return headers["x-appwrite-webhook-signature"] === expected;
}

let input = "";
process.stdin.on("data", (data) => (input += data));
process.stdin.on("end", () => {
  const request = JSON.parse(input);
  process.stdout.write(JSON.stringify({ standard: standard(request), appwrite: appwrite(request) }));
});
