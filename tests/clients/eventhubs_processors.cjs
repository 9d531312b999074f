// Two processors of the official Event Hubs client for JavaScript share a hub through checkpoints in blobs; one is
// killed.
//
// Usage: node eventhubs_processors.cjs CONNECTION_STRING BLOBS_CONNECTION_STRING
//
// Needs: hub `order-events` with 4 partitions and the consumer group `analytics`. Each processor is a process of its
// own: this file once more, with `worker` as its last argument.
"use strict";
const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { createInterface } = require("node:readline");
const { setTimeout: sleep } = require("node:timers/promises");
const { EventHubConsumerClient, EventHubProducerClient, earliestEventPosition } = require("@azure/event-hubs");
const { BlobCheckpointStore } = require("@azure/eventhubs-checkpointstore-blob");
const { BlobServiceClient } = require("@azure/storage-blob");
const { run } = require("./report.cjs");

const [connection, blobs, role] = process.argv.slice(2);
const [hub, group, partitions, each, checkpointEvery] = ["order-events", "analytics", ["0", "1", "2", "3"], 60, 3];
const container = BlobServiceClient.fromConnectionString(blobs).getContainerClient("processors-js");

/** A processor that says what it sees, and checkpoints some of it. */
function work() {
  const loadBalancingOptions = { strategy: "greedy", updateIntervalInMs: 1000, partitionOwnershipExpirationIntervalInMs: 5000 };
  const client = new EventHubConsumerClient(group, connection, hub, new BlobCheckpointStore(container), { loadBalancingOptions });
  const seen = {};
  client.subscribe({
    processEvents: async (events, context) => {
      for (const event of events) {
        console.log(context.partitionId, event.body);
        seen[context.partitionId] = (seen[context.partitionId] ?? 0) + 1;
        if (seen[context.partitionId] % checkpointEvery === 0) await context.updateCheckpoint(event);
      }
    },
    processError: async (error) => console.error(error.message),
  }, { startPosition: earliestEventPosition, maxWaitTimeInSeconds: 1, maxBatchSize: 5 });
}

/** A process at work, and what it has seen: numbers by partition, in its order. */
function processor() {
  const child = spawn(process.execPath, [__filename, connection, blobs, "worker"], { stdio: ["ignore", "pipe", "ignore"] });
  const seen = Object.fromEntries(partitions.map((partition) => [partition, []]));
  const lines = createInterface(child.stdout);
  lines.on("line", (line) => {
    const [partition, number] = line.split(" ");
    seen[partition].push(Number(number));
  });
  const ended = new Promise((resolve) => lines.on("close", resolve));
  return { seen, kill: () => (child.kill("SIGKILL"), ended) };
}

async function until(condition, what) {
  const end = Date.now() + 60_000;
  while (!condition()) {
    assert(Date.now() < end, `never: ${what}`);
    await sleep(50);
  }
}

const promises = {
  async "after a kill the other processor goes on, and every event is seen in order"() {
    await container.create();
    const producer = new EventHubProducerClient(connection, hub);
    const publish = async (from, to) => {
      for (let body = from; body < to; body++) {
        for (const partitionId of partitions) await producer.sendBatch([{ body }], { partitionId });
      }
    };
    const first = processor();
    let second, before;
    try {
      await publish(0, 10);
      await until(() => partitions.every((p) => first.seen[p].length === 10), "the first has all partitions");
      second = processor();
      await until(() => partitions.filter((p) => second.seen[p].length > 0).length === 2, "the second has its half");
      const published = publish(10, each);
      await until(() => partitions.every((p) => Math.max(...first.seen[p], ...second.seen[p]) > 20), "both are in the middle");
      await first.kill();
      before = Object.fromEntries(partitions.map((p) => [p, [...second.seen[p]]]));
      await published;
      await until(() => partitions.every((p) => second.seen[p].at(-1) === each - 1), "the second has all partitions, to the end");
    } finally {
      await Promise.all([first.kill(), second?.kill(), producer.close()]);
    }
    for (const p of partitions) {
      const all = new Set([...first.seen[p], ...second.seen[p]]);
      assert.deepEqual([...all].sort((a, b) => a - b), Array.from({ length: each }, (_, n) => n));
      for (const seen of [first.seen[p], second.seen[p]]) {
        // It may begin again at a checkpoint, and leaves nothing out.
        seen.forEach((number, n) => assert(n === 0 || number <= seen[n - 1] + 1, `${p}: ${number} after ${seen[n - 1]}`));
      }
      for (const takenOver of second.seen[p].slice(before[p].length, before[p].length + 1)) {
        assert(takenOver <= Math.max(...before[p], ...first.seen[p]) + 1, `${p}: begins with ${takenOver}`);
      }
    }
  },
};

if (role === "worker") work();
else run(promises);
