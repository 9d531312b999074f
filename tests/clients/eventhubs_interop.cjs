// The official Event Hubs client on a hub and a container of checkpoints that it shares with ours.
//
// Usage: eventhubs_interop.cjs CONNECTION_STRING BLOBS_CONNECTION_STRING CONTAINER
//
// Before: 5 events each of 8 keys were published and checkpointed by ours. After: this has published and
// checkpointed 5 more of each, and published one more.
"use strict";
const assert = require("node:assert");
const { EventHubConsumerClient, EventHubProducerClient, earliestEventPosition } = require("@azure/event-hubs");
const { BlobCheckpointStore } = require("@azure/eventhubs-checkpointstore-blob");
const { ContainerClient } = require("@azure/storage-blob");
const { run } = require("./report.cjs");

const [connection, blobs, container] = process.argv.slice(2);
const [hub, group, keys, each] = ["order-events", "analytics", 8, 5];
const store = new BlobCheckpointStore(new ContainerClient(blobs, container));
const producer = new EventHubProducerClient(connection, hub);
// This client's name for an emulator, without the port.
const namespace = connection.split("sb://")[1].split(/[:;/]/)[0];

// The first `count` events, by key; each checkpointed where there is a store.
async function receive(count, group, checkpoints, options) {
  const balancing = { loadBalancingOptions: { strategy: "greedy", updateIntervalInMs: 1000, partitionOwnershipExpirationIntervalInMs: 6000 } };
  const client = checkpoints
    ? new EventHubConsumerClient(group, connection, hub, checkpoints, balancing)
    : new EventHubConsumerClient(group, connection, hub, balancing);
  const byKey = new Map();
  let total = 0, subscription;
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${total} of ${count} events`)), 60000);
    subscription = client.subscribe({
      processEvents: async (events, context) => {
        for (const event of events) {
          byKey.set(event.partitionKey, [...(byKey.get(event.partitionKey) ?? []), event]);
          total += 1;
          if (checkpoints) await context.updateCheckpoint(event);
        }
        if (total >= count) { clearTimeout(timer); resolve(); }
      },
      processError: async (error) => reject(error),
    }, { maxWaitTimeInSeconds: 1, ...options });
  });
  await subscription.close();
  await client.close();
  return byKey;
}

async function publish(begin, each) {
  for (let key = 0; key < keys; key++) {
    const batch = await producer.createBatch({ partitionKey: `order-${key}` });
    for (let line = begin; line < begin + each; line++) {
      const event = { body: Buffer.from(`{"line":${line}}`), contentType: "application/json", properties: { attempt: 3 } };
      assert(batch.tryAdd(event));
    }
    await producer.sendBatch(batch);
  }
}

const lines = (events) => events.map((event) => Buffer.isBuffer(event.body) ? event.body.toString() : JSON.stringify(event.body));
const expected = (begin, each) => Array.from({ length: each }, (_, line) => `{"line":${begin + line}}`);

const promises = {
  async "our events come with every field in order"() {
    const byKey = await receive(keys * each, "$Default", null, { startPosition: earliestEventPosition });
    assert.deepEqual([...byKey.keys()].sort(), Array.from({ length: keys }, (_, key) => `order-${key}`));
    for (const [key, events] of byKey) {
      assert.deepEqual(lines(events), expected(0, each));
      events.forEach((event, line) => {
        assert.equal(event.messageId, `${key}/${line}`);
        assert.equal(event.contentType, "application/json");
        assert.equal(event.getRawAmqpMessage().properties.subject, "LineAdded");
        assert.equal(event.properties["azevents-version"], String(line + 1));
      });
    }
  },
  async "our checkpoints are found"() {
    const found = await store.listCheckpoints(namespace, hub, group);
    assert.equal(found.reduce((sum, checkpoint) => sum + checkpoint.sequenceNumber + 1, 0), keys * each);
    for (const owner of await store.listOwnership(namespace, hub, group)) assert.equal(owner.ownerId ?? "", "");
  },
  async "reading goes on behind our checkpoints"() {
    await publish(each, each);
    const byKey = await receive(keys * each, group, store, {});
    for (const events of byKey.values()) assert.deepEqual(lines(events), expected(each, each));
    await publish(2 * each, 1);
  },
};

run(promises, () => producer.close());
