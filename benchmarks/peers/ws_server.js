// A server to compare with: `ws`, the WebSocket server of most Node.js programs.
// It sends what it hears on a Redis channel to every client: no permissions, no subscriptions.
//
//   node ws_server.js PORT REDIS_URL CHANNEL [deflate]

import { createClient } from "@redis/client";
import { WebSocket, WebSocketServer } from "ws";

const [port, url, channel, deflate] = process.argv.slice(2);

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(port),
  backlog: 4096,
  perMessageDeflate: deflate ? { threshold: 512, zlibDeflateOptions: { level: 1 } } : false,
});

const redis = await createClient({ url }).connect();
await redis.subscribe(
  channel,
  (message) => {
    for (const client of server.clients) {
      if (client.readyState === WebSocket.OPEN) client.send(message, { binary: false });
    }
  },
  true,
);
