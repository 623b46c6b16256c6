// Signs and verifies with Shopify's own package for Node: a JSON object on stdin has its folder, the app and the tasks.
const { readFileSync } = require("node:fs");

const { folder, app, tasks } = JSON.parse(readFileSync(0));
const modules = `${folder}/node_modules`;
const built = `${modules}/@shopify/shopify-api/dist/cjs`;
require(`${built}/adapters/node/index.js`);
const { shopifyApi, ApiVersion, LogSeverity } = require(`${built}/lib/index.js`);
const { createSHA256HMAC, HashFormat } = require(`${built}/runtime/index.js`);
const { generateLocalHmac } = require(`${built}/lib/utils/hmac-validator.js`);
const { SignJWT } = require(`${modules}/jose`);

const shopify = shopifyApi({
  apiKey: app.client_id,
  apiSecretKey: app.secret,
  apiVersion: ApiVersion.July25,
  hostName: "registry.example",
  isEmbeddedApp: true,
  logger: { level: LogSeverity.Error },
});

const operations = {
  signWebhook: ({ body }) => createSHA256HMAC(app.secret, body, HashFormat.Base64),
  checkWebhook: async ({ body, headers }) =>
    (await shopify.webhooks.validate({ rawBody: body, rawRequest: { method: "POST", url: "/", headers } })).valid,
  signQuery: ({ query }) => generateLocalHmac(shopify.config)(query, "appProxy"),
  checkQuery: ({ query }) => shopify.utils.validateHmac(query, { signator: "appProxy" }),
  signToken: ({ claims }) =>
    new SignJWT(claims).setProtectedHeader({ alg: "HS256", typ: "JWT" }).sign(Buffer.from(app.secret)),
  checkToken: async ({ token }) => Boolean(await shopify.session.decodeSessionToken(token)),
};

async function run() {
  const results = [];
  for (const { operation, ...task } of tasks) {
    try {
      results.push(await operations[operation](task));
    } catch (error) {
      if (!/^Invalid(Hmac|Jwt)Error$/.test(error.constructor.name)) throw error;
      results.push(false);
    }
  }
  process.stdout.write(JSON.stringify(results));
}

run();
