// The official Event Hubs client for JavaScript against an emulator with one throughput unit.
//
// Usage: node eventhubs_throttled.cjs CONNECTION_STRING
//
// Needs: hub `order-events`.
"use strict";
const assert = require("node:assert/strict");
const { EventHubProducerClient } = require("@azure/event-hubs");
const { run } = require("./report.cjs");

const [, , CONNECTION] = process.argv;
const events = (count) => Array.from({ length: count }, (_, body) => ({ body }));

const promises = {
  async "who sends too much is told that the server is busy"() {
    const hasty = new EventHubProducerClient(CONNECTION, "order-events", { retryOptions: { maxRetries: 0 } });
    let accepted = 0, refused;
    while (!refused && accepted < 20_000) {
      try {
        await hasty.sendBatch(events(500), { partitionId: "0" });
        accepted += 500;
      } catch (error) {
        refused = error;
      }
    }
    assert.equal(refused?.code, "ServerBusyError", refused);
    assert(accepted >= 500, "nothing was taken at all");
    assert.equal((await hasty.getPartitionProperties("0")).lastEnqueuedSequenceNumber, accepted - 1);
    await hasty.close();
  },
  async "who tries again by itself gets through, with each event once"() {
    const patient = new EventHubProducerClient(CONNECTION, "order-events", { retryOptions: { maxRetries: 50, retryDelayInMs: 200 } });
    for (let n = 0; n < 4; n++) await patient.sendBatch(events(600), { partitionId: "1" });
    assert.equal((await patient.getPartitionProperties("1")).lastEnqueuedSequenceNumber, 4 * 600 - 1);
    await patient.close();
  },
};

run(promises);
