// Publishes or consumes events of 1 KB with the official client, and prints events a second.
//
// Usage: eventhubs.cjs publish|consume EVENT_HUBS_CONNECTION_STRING HUB BLOBS_CONNECTION_STRING COUNT
"use strict";
const { EventHubBufferedProducerClient, EventHubConsumerClient, earliestEventPosition } = require("@azure/event-hubs");

const [what, connection, hub, blobs] = process.argv.slice(2, 6);
const count = Number(process.argv[6]);
const keys = 1000;

async function publish() {
  const producer = new EventHubBufferedProducerClient(connection, hub, {
    maxWaitTimeInMs: 1000,
    onSendEventsErrorHandler: async ({ error }) => { throw error; },
  });
  await producer.getPartitionIds();
  const body = Buffer.alloc(1000, "x");
  const began = performance.now();
  for (let number = 0; number < count; number++) {
    await producer.enqueueEvent({ body }, { partitionKey: `order-${number % keys}` });
  }
  await producer.flush();
  const took = performance.now() - began;
  await producer.close();
  return took;
}

async function consume() {
  const { ContainerClient } = require("@azure/storage-blob");
  const { BlobCheckpointStore } = require("@azure/eventhubs-checkpointstore-blob");
  const container = new ContainerClient(blobs, "javascript");
  await container.create();
  const client = new EventHubConsumerClient("javascript", connection, hub, new BlobCheckpointStore(container), {
    loadBalancingOptions: { strategy: "greedy", updateIntervalInMs: 5000 },
  });
  let seen = 0, first, last;
  await new Promise((resolve, reject) => {
    client.subscribe({
      processEvents: async (events, context) => {
        if (events.length === 0) return;
        first ??= performance.now();
        await context.updateCheckpoint(events[events.length - 1]);
        seen += events.length;
        last = performance.now();
        if (seen >= count) resolve();
      },
      processError: async (error) => reject(error),
    }, { startPosition: earliestEventPosition, maxBatchSize: 300, maxWaitTimeInSeconds: 1 });
  });
  return last - first;
}

({ publish, consume })[what]().then((took) => {
  console.log(count / (took / 1000));
  process.exit(0);
}, (error) => {
  console.error(error);
  process.exit(1);
});
