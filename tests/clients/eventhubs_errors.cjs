// What goes wrong, as the official Event Hubs client for JavaScript sees it: its codes come from the service's
// conditions and, for entities, from the words of the description.
//
// Usage: node eventhubs_errors.cjs CONNECTION_STRING
//
// Needs: hub `order-events` with 4 partitions and the consumer group `analytics`.
"use strict";
const assert = require("node:assert/strict");
const { EventHubConsumerClient, EventHubProducerClient, earliestEventPosition } = require("@azure/event-hubs");
const { run } = require("./report.cjs");

const [, , CONNECTION] = process.argv;
const HUB = "order-events";
const options = { retryOptions: { maxRetries: 0, timeoutInMs: 10_000 } };
const open = [];
const producerOf = (hub) => {
  open.push(new EventHubProducerClient(CONNECTION, hub, options));
  return open.at(-1);
};
const producer = producerOf(HUB);

/** A reader of partition 0 unless said otherwise: what ends it, and what it gets first. */
function reader({ hub = HUB, group = "$Default", partition = "0", ...position }) {
  const client = new EventHubConsumerClient(group, CONNECTION, hub, options);
  open.push(client);
  const started = deferred();
  const ended = deferred();
  client.subscribe(partition, {
    processEvents: async (events) => events.length > 0 && started.resolve(),
    processError: async (error) => ended.resolve(error),
  }, { startPosition: earliestEventPosition, maxWaitTimeInSeconds: 1, ...position });
  return { started: started.promise, ended: ended.promise };
}

function deferred() {
  const deferred = {};
  deferred.promise = new Promise((resolve) => Object.assign(deferred, { resolve }));
  return deferred;
}

async function refused(position, code, message) {
  const error = await reader(position).ended;
  assert.deepEqual([error.code, message.test(error.message)], [code, true], error.message);
}

const promises = {
  async "a hub that is not there is not found"() {
    const nowhere = producerOf("nowhere");
    const code = "MessagingEntityNotFoundError";
    await assert.rejects(nowhere.getEventHubProperties(), { code });
    await assert.rejects(nowhere.sendBatch([{ body: "x" }]), { code });
    await refused({ hub: "nowhere" }, code, /'nowhere' could not be found/);
  },
  async "a consumer group that is not there is not found"() {
    await refused({ group: "nobody" }, "MessagingEntityNotFoundError", /nobody' could not be found/);
  },
  async "a partition that is not there is out of range"() {
    const code = "ArgumentOutOfRangeError";
    await assert.rejects(producer.getPartitionProperties("boo"), { code });
    await assert.rejects(producer.sendBatch([{ body: "x" }], { partitionId: "4" }), { code });
    await refused({ partition: "4" }, code, /between 0 and 3/);
  },
  async "a position behind the end is refused"() {
    await producer.sendBatch([{ body: "x" }], { partitionId: "0" });
    const { lastEnqueuedOffset, lastEnqueuedSequenceNumber } = await producer.getPartitionProperties("0");
    const offset = String(Number(lastEnqueuedOffset) + 1);
    await refused({ startPosition: { offset } }, "ArgumentError", new RegExp(`'${offset}' is invalid`));
    const sequenceNumber = lastEnqueuedSequenceNumber + 2;
    await refused({ startPosition: { sequenceNumber } }, "ArgumentError", new RegExp(`'${sequenceNumber}' is invalid`));
  },
  async "readers with levels are told who has the partition"() {
    await producer.sendBatch([{ body: "x" }], { partitionId: "1" });
    const code = "ReceiverDisconnectedError";
    const first = reader({ partition: "1", ownerLevel: 4 });
    await first.started;
    await refused({ partition: "1", ownerLevel: 3 }, code, /with a higher epoch of '4' already exists/);
    await refused({ partition: "1" }, code, /epoch of '4'.*non-epoch receiver is not allowed/);
    const second = reader({ partition: "1", ownerLevel: 4 });
    await second.started;
    const lost = await first.ended;
    assert.equal(lost.code, code);
    assert.match(lost.message, /higher epoch of '4' is created hence current receiver .* with epoch '4'/);
  },
  async "a sixth reader is one too many"() {
    await producer.sendBatch([{ body: "x" }], { partitionId: "2" });
    const five = [1, 2, 3, 4, 5].map(() => reader({ partition: "2" }));
    await Promise.all(five.map(({ started }) => started));
    await refused({ partition: "2" }, "QuotaExceededError", /which is 5\. .*- (\S+, ){4}\S+\.$/);
  },
  async "a message larger than its link takes is refused and the next one taken"() {
    const { lastEnqueuedSequenceNumber: before } = await producer.getPartitionProperties("3");
    const large = (size) => producer.sendBatch([{ body: Buffer.alloc(size) }], { partitionId: "3" });
    await assert.rejects(large(1024 * 1024), { code: "MessageTooLargeError" });
    await large(1_000_000);
    assert.equal((await producer.getPartitionProperties("3")).lastEnqueuedSequenceNumber, before + 1);
  },
};

run(promises, () => Promise.all(open.map((client) => client.close())));
