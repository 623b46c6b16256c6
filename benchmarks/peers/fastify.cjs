// The same route with Fastify and ioredis: node fastify.cjs, in the folder where both are installed.
const { createHmac, timingSafeEqual } = require("node:crypto");
const installed = (name) => require(require.resolve(name, { paths: [process.cwd()] }));
const fastify = installed("fastify");
const Redis = installed("ioredis");

const SECRET = process.env.SHOPIFY_API_SECRET;
const TOLERANCE_SECONDS = 300;
const TAG_SIZE = 16;

const redis = new Redis(process.env.REDIS_URL, { enableAutoPipelining: true });
const app = fastify();

function isSigned({ signature, ...fields }) {
  const message = Object.entries(fields).map(([name, value]) => `${name}=${value}`).sort().join("");
  const expected = createHmac("sha256", SECRET).update(message).digest();
  const shown = Buffer.from(String(signature), "hex");
  return shown.length === expected.length && timingSafeEqual(shown, expected);
}

app.get("/api/registries/:slug", async (request, reply) => {
  const age = Math.abs(Date.now() / 1000 - Number(request.query.timestamp));
  if (!isSigned(request.query) || !(age <= TOLERANCE_SECONDS)) return reply.code(401).send();
  const stored = await redis.getBuffer(`bench:${request.query.shop}:${request.params.slug}`);
  if (stored === null) return reply.code(404).send();
  const tag = stored.toString("latin1", 0, TAG_SIZE);
  return reply.header("ETag", `"${tag}"`).type("application/json").send(stored.subarray(TAG_SIZE));
});

app.listen({ host: "127.0.0.1", port: Number(process.env.API_PORT) });
