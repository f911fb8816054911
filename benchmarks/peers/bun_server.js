// A server to compare with: Bun's native WebSockets and `publish` (uWebSockets beneath).
// It sends what it hears on a Redis channel to every client: no permissions, no subscriptions.
//
//   bun bun_server.js PORT REDIS_URL CHANNEL [deflate]

const [port, redisUrl, channel, deflate] = process.argv.slice(2);

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(port),
  fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("", { status: 400 })),
  websocket: {
    perMessageDeflate: Boolean(deflate),
    open: (socket) => socket.subscribe("all"),
    message: () => {},
  },
});

const redis = new Bun.RedisClient(redisUrl);
await redis.connect();
await redis.subscribe(channel, (message) => server.publish("all", message, Boolean(deflate)));
