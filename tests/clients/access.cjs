// The official clients for JavaScript under TLS and over WebSockets, with tokens of a directory, at an emulator that was
// told to require a claim.
// Usage: NODE_EXTRA_CA_CERTS=AUTHORITY.pem node access.cjs SERVICEBUS_CONNECTION_STRING EVENTHUBS_CONNECTION_STRING
//        COSMOS_ENDPOINT COSMOS_KEY
// Needs: queue `work`, hub `order-events`, and the claim `tenant` to be `shop`.

const assert = require("node:assert/strict");
const { CosmosClient } = require("@azure/cosmos");
const { EventHubProducerClient } = require("@azure/event-hubs");
const { ServiceBusClient } = require("@azure/service-bus");
const WebSocket = require("ws");
const { run } = require("./report.cjs");

const [servicebus, eventhubs, cosmos, key] = process.argv.slice(2);
const webSocketOptions = { webSocket: WebSocket };

/** Has a token with these claims, but for the signature, whenever a client asks. */
function credential(claims) {
  const expiresOnTimestamp = Date.now() + 3_600_000;
  const parts = [{ alg: "RS256", typ: "JWT" }, { exp: Math.floor(expiresOnTimestamp / 1000), ...claims }, {}];
  const token = parts.map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  return { getToken: async () => ({ token, expiresOnTimestamp }) };
}
const ours = credential({ tenant: "shop" });
const stranger = credential({ tenant: "other" });

/** Where a namespace is reached at, under TLS. */
const reached = (connectionString, more) => ({
  customEndpointAddress: `https://localhost:${/:(\d+);/.exec(connectionString)[1]}`, retryOptions: { maxRetries: 0 }, ...more,
});

async function passesAMessage(client) {
  const body = "x".repeat(100_000);
  try {
    await client.createSender("work").sendMessages({ body });
    const receiver = client.createReceiver("work");
    const [message] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 20_000 });
    assert.equal(message.body, body);
    await receiver.completeMessage(message);
  } finally {
    await client.close();
  }
}
const withToken = (token, more) => new ServiceBusClient("localhost", token, reached(servicebus, more));
/** As for Azure itself, without the word that makes clients speak plain TCP. */
const withKey = (more) => new ServiceBusClient(
  servicebus.replace("UseDevelopmentEmulator=true;", "").replace(/127\.0\.0\.1:\d+/, "localhost"), reached(servicebus, more));

async function partitions(token, more) {
  const client = new EventHubProducerClient("localhost", "order-events", token, reached(eventhubs, more));
  try {
    return (await client.getPartitionIds()).length;
  } finally {
    await client.close();
  }
}

const databases = async (options) => {
  const client = new CosmosClient({ endpoint: cosmos.replace("http://127.0.0.1", "https://localhost"), ...options });
  return (await client.databases.readAll().fetchAll()).resources.length;
};

const promises = {
  "a message passes under TLS": () => passesAMessage(withKey({})),
  "a message passes over WebSockets": () => passesAMessage(withKey({ webSocketOptions })),
  "Service Bus takes a token with the claim": () => passesAMessage(withToken(ours, {})),
  "Service Bus takes it over WebSockets": () => passesAMessage(withToken(ours, { webSocketOptions })),
  "Service Bus takes no token without it": () =>
    assert.rejects(passesAMessage(withToken(stranger, {})), { code: "UnauthorizedAccess" }),
  "Event Hubs takes a token with the claim": async () => assert.equal(await partitions(ours), 4),
  "Event Hubs takes it over WebSockets": async () => assert.equal(await partitions(ours, { webSocketOptions }), 4),
  "Event Hubs takes no token without it": () => assert.rejects(partitions(stranger), { code: "UnauthorizedError" }),
  "Cosmos DB takes a token with the claim": async () => assert.equal(await databases({ aadCredentials: ours }), 0),
  "Cosmos DB takes no token without it": () => assert.rejects(databases({ aadCredentials: stranger }), { code: 401 }),
  "a key opens all the same": async () => assert.equal(await databases({ key }), 0),
};

run(promises);
