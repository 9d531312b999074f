// The official Service Bus administration client for JavaScript against the emulator.
// Usage: NODE_EXTRA_CA_CERTS=CA_FILE node administration.cjs ADMINISTRATION_CONNECTION_STRING SERVICEBUS_CONNECTION_STRING

const assert = require("node:assert/strict");
const { randomUUID } = require("node:crypto");
const { ServiceBusAdministrationClient, ServiceBusClient } = require("@azure/service-bus");
const { run } = require("./report.cjs");

const admin = new ServiceBusAdministrationClient(process.argv[2]);
const name = (prefix) => `${prefix}-${randomUUID().slice(0, 8)}`;

async function all(pages) {
  const found = [];
  for await (const one of pages) found.push(one);
  return found;
}

/** Deletes messages in batches; the client of the other name can't yet. */
function preview() {
  try {
    return require("@azure/service-bus-preview").ServiceBusClient;
  } catch {
    console.log("skipped messages are deleted in batches: npm install --prefix tests/clients");
  }
}

const Preview = preview();

const promises = {
  async "the namespace describes itself"() {
    const found = await admin.getNamespaceProperties();
    assert.deepEqual([found.messagingSku, found.name, found.messagingUnits], ["Standard", "azevents-emulator", undefined]);
    assert.ok(Math.abs(Date.now() - found.createdAt) < 3_600_000, found.createdAt);
  },
  async "entities know when they were created, changed and used"() {
    const queue = name("queue");
    const made = await admin.createQueue(queue);
    const before = await admin.getQueueRuntimeProperties(queue);
    assert.equal(before.accessedAt.toISOString(), "0001-01-01T00:00:00.000Z");
    assert.deepEqual(before.modifiedAt, before.createdAt);
    const client = new ServiceBusClient(process.argv[3]);
    await client.createSender(queue).sendMessages({ body: "used" });
    await client.close();
    made.userMetadata = "changed";
    await admin.updateQueue(made);
    const after = await admin.getQueueRuntimeProperties(queue);
    assert.deepEqual(after.createdAt, before.createdAt);
    assert.ok(after.createdAt < after.accessedAt && after.accessedAt < after.modifiedAt, JSON.stringify(after));
    await admin.deleteQueue(queue);
  },
  async "all that is set comes back"() {
    const authorizationRules = [
      { claimType: "SharedAccessKey", accessRights: ["Manage", "Send", "Listen"], keyName: "all", primaryKey: "a1",
        secondaryKey: "a2" },
      { claimType: "SharedAccessKey", accessRights: ["Listen"], keyName: "reader", primaryKey: "r1", secondaryKey: "r2" },
    ];
    const given = { userMetadata: "a <note> & more", enableBatchedOperations: false, enableExpress: true,
      maxSizeInMegabytes: 5120, authorizationRules };
    const [queue, topic] = [name("queue"), name("topic")];
    await admin.createQueue(queue, given);
    await admin.createTopic(topic, { ...given, supportOrdering: false });
    for (const found of [await admin.getQueue(queue), await admin.getTopic(topic)]) {
      for (const [key, value] of Object.entries(given)) assert.deepEqual(found[key], value, key);
    }
    assert.equal((await admin.getTopic(topic)).supportOrdering, false);
    const found = await admin.getQueue(queue);
    found.authorizationRules = authorizationRules.slice(1);
    assert.deepEqual((await admin.updateQueue(found)).authorizationRules, authorizationRules.slice(1));
    await admin.deleteQueue(queue);
    await admin.deleteTopic(topic);
  },
  async "a rule's key opens its entity for what the rule allows"() {
    const topic = name("topic");
    const rule = (keyName, accessRights) => ({ claimType: "SharedAccessKey", accessRights, keyName,
      primaryKey: `${keyName}-first`, secondaryKey: `${keyName}-second` });
    await admin.createTopic(topic, { authorizationRules: [rule("sender", ["Send"]), rule("reader", ["Listen"])] });
    await admin.createSubscription(topic, "s");
    const endpoint = process.argv[3].split("SharedAccessKeyName=")[0];
    const options = { retryOptions: { maxRetries: 0 } };
    const client = (key, secret) => new ServiceBusClient(
      `${endpoint}SharedAccessKeyName=${key};SharedAccessKey=${secret};UseDevelopmentEmulator=true;`, options);
    const [sends, reads, wrong] = [client("sender", "sender-first"), client("reader", "reader-second"), client("reader", "x")];
    await sends.createSender(topic).sendMessages({ body: "hello" });
    const receiver = reads.createReceiver(topic, "s");
    const [message] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 10_000 });
    await receiver.completeMessage(message);
    const rules = await reads.createRuleManager(topic, "s").getRules();
    assert.deepEqual(rules.map((rule) => rule.name), ["$Default"]);
    const unauthorized = { code: "UnauthorizedAccess" };
    await assert.rejects(reads.createSender(topic).sendMessages({ body: "no" }), unauthorized);
    await assert.rejects(sends.createReceiver(topic, "s").peekMessages(1), unauthorized);
    await assert.rejects(wrong.createReceiver(topic, "s").receiveMessages(1), unauthorized);
    await Promise.all([sends, reads, wrong].map((client) => client.close()));
    await admin.deleteTopic(topic);
  },
  async "what is chosen at creation stays"() {
    const queue = await admin.createQueue(name("queue"));
    await assert.rejects(admin.updateQueue({ ...queue, requiresDuplicateDetection: true }),
      /RequiresDuplicateDetection property of an existing Queue cannot be changed/);
    await assert.rejects(admin.updateQueue({ ...queue, name: name("missing") }), { statusCode: 404 });
    await assert.rejects(admin.createQueue(name("queue"), { lockDuration: "PT6M" }), { statusCode: 400 });
    await admin.deleteQueue(queue.name);
  },
  async "a queue is created with settings, changed and deleted"() {
    const queue = name("queue");
    const made = await admin.createQueue(queue, { lockDuration: "PT30S", maxDeliveryCount: 3, requiresSession: true,
      defaultMessageTimeToLive: "PT1H", requiresDuplicateDetection: true, duplicateDetectionHistoryTimeWindow: "PT2M",
      deadLetteringOnMessageExpiration: true });
    assert.deepEqual([made.name, made.lockDuration, made.maxDeliveryCount], [queue, "PT30S", 3]);
    await assert.rejects(admin.createQueue(queue), { statusCode: 409 });
    const found = await admin.getQueue(queue);
    assert.deepEqual([found.requiresSession, found.requiresDuplicateDetection, found.defaultMessageTimeToLive,
      found.duplicateDetectionHistoryTimeWindow], [true, true, "PT1H", "PT2M"]);
    found.maxDeliveryCount = 5;
    await admin.updateQueue(found);
    assert.equal((await admin.getQueue(queue)).maxDeliveryCount, 5);
    found.requiresSession = false;
    await assert.rejects(admin.updateQueue(found), { statusCode: 400 });
    assert.equal(await admin.queueExists(queue), true);
    await admin.deleteQueue(queue);
    assert.equal(await admin.queueExists(queue), false);
    await assert.rejects(admin.deleteQueue(queue), { statusCode: 404 });
  },
  async "what is created can be used and counted"() {
    const queue = name("queue");
    await admin.createQueue(queue);
    const client = new ServiceBusClient(process.argv[3]);
    await client.createSender(queue).sendMessages([1, 2, 3, 4, 5].map((body) => ({ body })));
    const receiver = client.createReceiver(queue);
    const [message] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 10_000 });
    await receiver.deadLetterMessage(message);
    await client.close();
    const counts = await admin.getQueueRuntimeProperties(queue);
    assert.deepEqual([counts.activeMessageCount, counts.deadLetterMessageCount, counts.totalMessageCount], [4, 1, 5]);
  },
  async "topics, subscriptions and rules are administered alike"() {
    const topic = name("topic");
    await admin.createTopic(topic, { defaultMessageTimeToLive: "P2D" });
    assert.equal((await admin.getTopic(topic)).defaultMessageTimeToLive, "P2D");
    await admin.createSubscription(topic, "billing", { maxDeliveryCount: 7 });
    assert.equal((await admin.getSubscription(topic, "billing")).maxDeliveryCount, 7);
    assert.equal((await admin.getTopicRuntimeProperties(topic)).subscriptionCount, 1);
    assert.deepEqual((await all(admin.listRules(topic, "billing"))).map((rule) => rule.name), ["$Default"]);
    await admin.deleteRule(topic, "billing", "$Default");
    await admin.createRule(topic, "billing", "large", { sqlExpression: "total > 1000 AND note LIKE '<%'" },
      { sqlExpression: "SET priority = 'high'" });
    await admin.createRule(topic, "billing", "mine", { correlationId: "c", applicationProperties: { tier: "gold", n: 3 } });
    const large = await admin.getRule(topic, "billing", "large");
    assert.deepEqual([large.filter.sqlExpression, large.action.sqlExpression],
      ["total > 1000 AND note LIKE '<%'", "SET priority = 'high'"]);
    const { filter } = await admin.getRule(topic, "billing", "mine");
    assert.deepEqual([filter.correlationId, filter.applicationProperties], ["c", { tier: "gold", n: 3 }]);
    const wanted = { at: new Date("2024-05-01T12:30:00.250Z"), rate: 2.5, n: 3, paid: true, tier: "gold" };
    await admin.createRule(topic, "billing", "exact", { applicationProperties: wanted });
    assert.deepEqual((await admin.getRule(topic, "billing", "exact")).filter.applicationProperties, wanted);
    const parameters = { "@least": 1.5, "@tier": "gold", "@since": new Date("2024-05-01T12:30:00Z"), "@yes": true };
    await admin.createRule(topic, "billing", "late", { sqlExpression: "total > @least AND tier = @tier AND at > @since",
      sqlParameters: parameters });
    assert.deepEqual((await admin.getRule(topic, "billing", "late")).filter.sqlParameters, parameters);
    large.filter = { sqlExpression: "total > 5" };
    await admin.updateRule(topic, "billing", large);
    assert.equal((await admin.getRule(topic, "billing", "large")).filter.sqlExpression, "total > 5");
    await assert.rejects(admin.createRule(topic, "billing", "wrong", { sqlExpression: "total >" }), /the end/);
    assert.equal(await admin.ruleExists(topic, "billing", "wrong"), false);
    await admin.deleteSubscription(topic, "billing");
    assert.equal(await admin.subscriptionExists(topic, "billing"), false);
    await admin.deleteTopic(topic);
    assert.equal(await admin.topicExists(topic), false);
  },
  async "what nobody uses may be deleted by itself"() {
    const queue = await admin.createQueue(name("queue"), { autoDeleteOnIdle: "PT90M" });
    assert.equal(queue.autoDeleteOnIdle, "PT1H30M");
    await assert.rejects(admin.createQueue(name("queue"), { autoDeleteOnIdle: "PT4M" }), /at least 5 minutes/);
    await admin.deleteQueue(queue.name);
  },
  async "lists come in pages"() {
    const prefix = name("many");
    const names = Array.from({ length: 105 }, (_, n) => `${prefix}-${String(n).padStart(3, "0")}`);
    for (const queue of names) await admin.createQueue(queue);
    const found = (await all(admin.listQueues())).map((queue) => queue.name).filter((queue) => queue.startsWith(prefix));
    assert.deepEqual(found, names);
    const sizes = [];
    for await (const page of admin.listQueues().byPage({ maxPageSize: 40 })) sizes.push(page.length);
    assert.ok(sizes.length >= 3 && sizes.slice(0, -1).every((size) => size === 40), sizes);
    for (const queue of names) await admin.deleteQueue(queue);
  },
  async "who has no key is kept out"() {
    const stranger = new ServiceBusAdministrationClient(process.argv[2].replace("SharedAccessKey=", "SharedAccessKey=x"));
    await assert.rejects(stranger.getQueue("q"), { statusCode: 401 });
  },
};

if (Preview) {
  promises["messages are deleted in batches of 500 in the Standard tier"] = async () => {
    const queue = name("queue");
    await admin.createQueue(queue);
    const client = new Preview(process.argv[3]);
    const [sender, receiver] = [client.createSender(queue), client.createReceiver(queue)];
    for (let n = 0; n < 2; n += 1) {
      await sender.sendMessages(Array.from({ length: 600 }, (_, body) => ({ body })));
    }
    const [locked] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 10_000 });
    assert.equal(await receiver.deleteMessages({ maxMessageCount: 1, beforeEnqueueTime: new Date(Date.now() - 3_600_000) }), 0);
    assert.equal(await receiver.deleteMessages({ maxMessageCount: 3 }), 3);
    await assert.rejects(receiver.deleteMessages({ maxMessageCount: 501 }), /in the Standard tier it may be from 1 to 500/);
    assert.equal(await receiver.purgeMessages(), 1200 - 3 - 1);
    assert.equal(await receiver.purgeMessages(), 0);
    await receiver.completeMessage(locked);
    await client.close();
    assert.equal((await admin.getQueueRuntimeProperties(queue)).totalMessageCount, 0);
    await admin.deleteQueue(queue);
    const partitioned = await admin.createQueue(name("queue"), { enablePartitioning: true });
    assert.deepEqual([partitioned.enablePartitioning, partitioned.maxSizeInMegabytes], [true, 16 * 1024]);
    const another = new Preview(process.argv[3]);
    await assert.rejects(another.createReceiver(partitioned.name).purgeMessages(), /not supported with partitioned entities/);
    await another.close();
    await admin.deleteQueue(partitioned.name);
  };
}

run(promises);
