// The official Event Hubs client for JavaScript as an idempotent publisher. Its buffered producer has that as an
// option; what goes wrong is driven by the producer below it, whose fields the buffered one sets in the same way.
//
// Usage: node eventhubs_idempotent.cjs CONNECTION_STRING MANAGEMENT_ENDPOINT
//
// Needs: hub `order-events` with 4 partitions.
"use strict";
const assert = require("node:assert/strict");
const { EventHubBufferedProducerClient, EventHubProducerClient } = require("@azure/event-hubs");
const { run } = require("./report.cjs");

const [, , CONNECTION, MANAGEMENT] = process.argv;
const HUB = "order-events";
const plain = new EventHubProducerClient(CONNECTION, HUB);
const open = [plain];
// It waits this long for an answer, also when the connection is gone.
const retryOptions = { maxRetries: 5, retryDelayInMs: 100, timeoutInMs: 2000 };

/** A publisher that numbers its events; `state` is what it has from an earlier one of its id. */
function publisher(partitionId, state) {
  const producer = new EventHubProducerClient(CONNECTION, HUB, { retryOptions });
  producer._enableIdempotentRetries = true;
  if (state) producer._partitionOptions = { [partitionId]: state };
  open.push(producer);
  return {
    send: (...bodies) => producer.sendBatch(bodies.map((body) => ({ body })), { partitionId }),
    state: () => producer.getPartitionPublishingProperties(partitionId),
  };
}

const last = async (partition) => (await plain.getPartitionProperties(partition)).lastEnqueuedSequenceNumber;

async function faults(rules) {
  const body = JSON.stringify({ seed: 1, rules });
  assert((await fetch(`${MANAGEMENT}faults`, rules ? { method: "PUT", body } : { method: "DELETE" })).ok);
}

const promises = {
  async "a publisher is given an id, and numbers from one on"() {
    const { send, state } = publisher("0");
    const { producerGroupId, ownerLevel, lastPublishedSequenceNumber } = await state();
    assert(Number.isSafeInteger(producerGroupId) && producerGroupId >= 0);
    assert.deepEqual([ownerLevel, lastPublishedSequenceNumber], [0, 0]);
    await send("a", "b", "c");
    await send("d");
    assert.equal((await state()).lastPublishedSequenceNumber, 4);
  },
  async "what was stored and is sent again is stored once"() {
    const { send, state } = publisher("1");
    await send("first");
    const before = await last("1");
    // The answer is lost with the connection, and the client sends the same numbers again.
    await faults({ lose_outcome: { rate: 1, limit: 1 } });
    try {
      await send("second", "third");
    } finally {
      await faults();
    }
    await send("fourth");
    assert.equal(await last("1"), before + 3);
    assert.equal((await state()).lastPublishedSequenceNumber, 4);
  },
  async "another one without numbers stores it every time"() {
    const before = await last("1");
    const hasty = new EventHubProducerClient(CONNECTION, HUB, { retryOptions });
    open.push(hasty);
    await faults({ lose_outcome: { rate: 1, limit: 1 } });
    try {
      await hasty.sendBatch([{ body: "twice" }], { partitionId: "1" });
    } finally {
      await faults();
    }
    assert.equal(await last("1"), before + 2);
  },
  async "a buffered producer with idempotent retries stores each event once"() {
    const before = await last("2");
    const failures = [];
    const buffered = new EventHubBufferedProducerClient(CONNECTION, HUB, {
      maxWaitTimeInMs: 20,
      enableIdempotentRetries: true,
      retryOptions,
      onSendEventsErrorHandler: async ({ error }) => failures.push(error),
    });
    await faults({ lose_outcome: { rate: 0.3, limit: 2 } });
    try {
      for (let n = 0; n < 100; n++) {
        await buffered.enqueueEvent({ body: n }, { partitionId: "2" });
        if (n % 10 === 9) await buffered.flush();
      }
      await buffered.close();
    } finally {
      await faults();
    }
    assert.deepEqual(failures, []);
    assert.equal(await last("2"), before + 100);
  },
  async "a higher owner level goes on, and the lower one is out"() {
    const first = publisher("3");
    await first.send("one");
    const { producerGroupId, ownerLevel, lastPublishedSequenceNumber } = await first.state();
    const state = { producerGroupId, ownerLevel: ownerLevel + 1, startingSequenceNumber: lastPublishedSequenceNumber };
    const second = publisher("3", state);
    await second.send("two");
    const after = await second.state();
    assert.deepEqual([after.producerGroupId, after.ownerLevel, after.lastPublishedSequenceNumber],
      [producerGroupId, 1, lastPublishedSequenceNumber + 1]);
    const out = { code: "ProducerDisconnectedError", message: /Received:0 Current:1/ };
    await assert.rejects(first.send("late"), out);
    await assert.rejects(publisher("3", { ...state, ownerLevel: 0 }).send("late"), out);
  },
  async "old numbers and gaps are refused"() {
    const first = publisher("0");
    await first.send("one", "two", "three", "four", "five");
    const { producerGroupId } = await first.state();
    const before = await last("0");
    for (const [startingSequenceNumber, message] of [[1, /old sequence/], [8, /gap in the sequence/]]) {
      const again = publisher("0", { producerGroupId, startingSequenceNumber });
      await assert.rejects(again.send("not the next"), { code: "SequenceOutOfOrderError", message });
    }
    assert.equal(await last("0"), before);
    await first.send("six");
  },
  async "a state below zero is refused"() {
    const refused = { code: "ArgumentOutOfRangeError", message: /must be zero or positive/ };
    await assert.rejects(publisher("0", { ownerLevel: -1 }).send("x"), refused);
  },
};

run(promises, () => Promise.all(open.map((producer) => producer.close())));
