// The official Event Hubs client for JavaScript against the emulator.
// Usage: node eventhubs.cjs CONNECTION_STRING MANAGEMENT_ENDPOINT
// Needs: hub `order-events` with 4 partitions and the consumer group `analytics`; `geo` with opaque offsets; `short`
// that keeps events for an hour.

const assert = require("node:assert/strict");
const { EventHubBufferedProducerClient, EventHubConsumerClient, EventHubProducerClient, earliestEventPosition,
  latestEventPosition } = require("@azure/event-hubs");
const { run } = require("./report.cjs");

const [, , CONNECTION, MANAGEMENT] = process.argv;
const HUB = "order-events";
const producer = new EventHubProducerClient(CONNECTION, HUB);
const texts = (prefix, count) => Array.from({ length: count }, (_, n) => `${prefix}${n}`);

/** The events of one partition, or of all, until there are `count`. `ready` is called once the readers read. */
async function collect(count, partition, startPosition, { options = {}, ready, hub = HUB, group = "analytics" } = {}) {
  const consumer = new EventHubConsumerClient(group, CONNECTION, hub);
  const events = [];
  try {
    await new Promise((done, failed) => {
      const handlers = {
        processInitialize: async () => ready?.(),
        processEvents: async (some, { partitionId }) => {
          events.push(...some.map((event) => ({ partitionId, ...event })));
          if (events.length >= count) done();
        },
        processError: async (error) => failed(error),
      };
      const all = { startPosition, maxWaitTimeInSeconds: 1, ...options };
      if (partition === undefined) consumer.subscribe(handlers, all);
      else consumer.subscribe(partition, handlers, all);
      setTimeout(() => failed(new Error(`${events.length} of ${count} events came`)), 30_000).unref();
    });
  } finally {
    await consumer.close();
  }
  return events;
}
const bodies = (events) => events.map((event) => event.body);

const promises = {
  async "the hub describes itself"() {
    assert.deepEqual((await producer.getEventHubProperties()).partitionIds, ["0", "1", "2", "3"]);
    const partition = await producer.getPartitionProperties("0");
    assert.deepEqual([partition.eventHubName, partition.partitionId], [HUB, "0"]);
  },
  async "events of a key stay in one partition and in order"() {
    const keys = texts("order-", 8);
    for (const partitionKey of keys) {
      const batch = await producer.createBatch({ partitionKey });
      for (const body of texts(`${partitionKey}/`, 10)) assert(batch.tryAdd({ body }));
      await producer.sendBatch(batch);
    }
    const events = await collect(80, undefined, earliestEventPosition);
    for (const key of keys) {
      const mine = events.filter((event) => event.partitionKey === key);
      assert.deepEqual(bodies(mine), texts(`${key}/`, 10));
      assert.equal(new Set(mine.map((event) => event.partitionId)).size, 1);
    }
  },
  async "properties and bodies survive"() {
    const { lastEnqueuedOffset: offset } = await producer.getPartitionProperties("1");
    const properties = { version: "3", count: 7, ratio: 0.5, flag: true };
    await producer.sendBatch([{ body: { total: 12.5 }, properties, contentType: "application/json", messageId: "m", correlationId: "c" }],
      { partitionId: "1" });
    const [event] = await collect(1, "1", { offset });
    assert.deepEqual(event.body, { total: 12.5 });
    assert.deepEqual([event.properties, event.contentType, event.messageId, event.correlationId],
      [properties, "application/json", "m", "c"]);
  },
  async "a reader starts by offset, by sequence number or at the end"() {
    await producer.sendBatch(texts("n", 3).map((body) => ({ body })), { partitionId: "3" });
    const { lastEnqueuedSequenceNumber: last } = await producer.getPartitionProperties("3");
    assert.deepEqual(bodies(await collect(3, "3", { sequenceNumber: last - 2, isInclusive: true })), texts("n", 3));
    assert.deepEqual(bodies(await collect(2, "3", { sequenceNumber: last - 2 })), ["n1", "n2"]);
    const ready = () => setTimeout(() => producer.sendBatch([{ body: "newest" }], { partitionId: "3" }), 1000);
    assert.deepEqual(bodies(await collect(1, "3", latestEventPosition, { ready })), ["newest"]);
  },
  async "a higher owner level takes a partition over"() {
    await producer.sendBatch([{ body: "x" }], { partitionId: "0" });
    const lower = new EventHubConsumerClient("analytics", CONNECTION, HUB);
    const lost = new Promise((done) => {
      lower.subscribe("0", { processEvents: async () => {}, processError: async (error) => done(error) },
        { startPosition: earliestEventPosition, ownerLevel: 1 });
    });
    await new Promise((done) => setTimeout(done, 500));
    assert((await collect(1, "0", earliestEventPosition, { options: { ownerLevel: 2 } })).length > 0);
    assert.equal((await lost).code, "ReceiverDisconnectedError");
    await lower.close();
  },
  async "a reader is told how far its partition goes by now"() {
    await producer.sendBatch(texts("t", 3).map((body) => ({ body })), { partitionId: "1" });
    const end = await producer.getPartitionProperties("1");
    const start = { sequenceNumber: end.lastEnqueuedSequenceNumber - 2, isInclusive: true };
    const told = [];
    const consumer = new EventHubConsumerClient("analytics", CONNECTION, HUB);
    await new Promise((done, failed) => {
      consumer.subscribe("1", {
        processEvents: async (events, { lastEnqueuedEventProperties }) => {
          if (events.length > 0) told.push(lastEnqueuedEventProperties);
          if (events.some((event) => event.body === "t2")) done();
        },
        processError: async (error) => failed(error),
      }, { startPosition: start, maxWaitTimeInSeconds: 1, trackLastEnqueuedEventProperties: true });
    });
    await consumer.close();
    for (const { sequenceNumber, offset, enqueuedOn, retrievedOn } of told) {
      assert.deepEqual([sequenceNumber, offset, enqueuedOn], [end.lastEnqueuedSequenceNumber, end.lastEnqueuedOffset, end.lastEnqueuedOnUtc]);
      assert(retrievedOn >= enqueuedOn);
    }
  },
  async "a batch ends at a megabyte"() {
    const batch = await producer.createBatch();
    assert.equal(batch.maxSizeInBytes, 1024 * 1024);
    assert.equal(batch.tryAdd({ body: Buffer.alloc(1024 * 1024) }), false);
  },
  async "a buffered producer delivers all it took"() {
    const { lastEnqueuedSequenceNumber: before } = await producer.getPartitionProperties("2");
    const failures = [];
    const buffered = new EventHubBufferedProducerClient(CONNECTION, HUB, {
      maxWaitTimeInMs: 50,
      onSendEventsErrorHandler: async ({ error }) => failures.push(error),
    });
    for (const body of texts("b", 200)) await buffered.enqueueEvent({ body }, { partitionId: "2" });
    await buffered.close();
    assert.deepEqual(failures, []);
    assert.equal((await producer.getPartitionProperties("2")).lastEnqueuedSequenceNumber, before + 200);
  },
  async "offsets need not be numbers"() {
    const geo = new EventHubProducerClient(CONNECTION, "geo");
    for (const body of ["a", "b", "c"]) await geo.sendBatch([{ body }], { partitionId: "1" });
    const { lastEnqueuedOffset: offset } = await geo.getPartitionProperties("1");
    assert.equal(Number(offset), NaN);
    await geo.sendBatch([{ body: "d" }], { partitionId: "1" });
    const of = { hub: "geo", group: "$Default" };
    assert.deepEqual(bodies(await collect(1, "1", { offset }, of)), ["d"]);
    assert.deepEqual(bodies(await collect(2, "1", { offset, isInclusive: true }, of)), ["c", "d"]);
    await geo.close();
  },
  async "events are gone when their time is over"() {
    const short = new EventHubProducerClient(CONNECTION, "short");
    await short.sendBatch([{ body: "old" }], { partitionId: "1" });
    assert((await fetch(`${MANAGEMENT}clock`, { method: "POST", body: JSON.stringify({ advance_ms: 3_600_000 }) })).ok);
    assert.equal((await short.getPartitionProperties("1")).isEmpty, true);
    await short.sendBatch([{ body: "new" }], { partitionId: "1" });
    const of = { hub: "short", group: "$Default" };
    assert.deepEqual(bodies(await collect(1, "1", earliestEventPosition, of)), ["new"]);
    await short.close();
  },
};

run(promises, () => producer.close());
