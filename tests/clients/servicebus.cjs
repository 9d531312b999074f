// The official Service Bus client for JavaScript sends, receives and settles on the emulator.
// Usage: node servicebus.cjs CONNECTION_STRING
// Needs: queue `work` (3 deliveries), session queue `sessions`, topic `orders` with the subscription `billing`
// and, with sessions, `fulfilment`.

const assert = require("node:assert/strict");
const { ServiceBusClient } = require("@azure/service-bus");
const { run } = require("./report.cjs");

const client = new ServiceBusClient(process.argv[2]);
const WAIT = { maxWaitTimeInMs: 20_000 }; // an answer comes at once, or something is broken

async function send(messages, entity = "work") {
  const sender = client.createSender(entity);
  await sender.sendMessages(messages);
  await sender.close();
}

async function take(receiver, count) {
  const taken = [];
  while (taken.length < count) {
    const some = await receiver.receiveMessages(count - taken.length, WAIT);
    assert(some.length, `nothing came after ${taken.map((m) => m.body)}`);
    taken.push(...some);
  }
  return taken;
}

const bodies = (messages) => messages.map((message) => message.body);
const texts = (prefix, count) => Array.from({ length: count }, (_, n) => `${prefix}${n}`);

/** Runs `work` with a receiver, and closes it. */
async function receiving(receiver, work) {
  try {
    await work(receiver);
  } finally {
    await receiver.close();
  }
}
const onWork = (work, options) => receiving(client.createReceiver("work", options), work);

const promises = {
  async "completed messages are gone"() {
    await send(texts("m", 5).map((body, n) => ({ body, messageId: `id-${n}` })));
    await onWork(async (receiver) => {
      const messages = await take(receiver, 5);
      assert.deepEqual(bodies(messages), texts("m", 5));
      assert.deepEqual(messages.map((m) => m.messageId), texts("id-", 5));
      for (const message of messages) await receiver.completeMessage(message);
      assert.deepEqual(await receiver.peekMessages(10), []);
    });
  },
  async "properties and bodies survive"() {
    const when = new Date("2024-02-29T12:00:00Z");
    const applicationProperties = { version: "3", count: 7, ratio: 0.5, flag: true, none: null, when };
    await send({ body: { total: 12.5 }, subject: "LineAdded", contentType: "application/json", correlationId: "c",
      replyTo: "answers", to: "x", partitionKey: "p", timeToLive: 60_000, applicationProperties });
    await onWork(async (receiver) => {
      const [message] = await take(receiver, 1);
      assert.deepEqual(message.body, { total: 12.5 });
      assert.deepEqual([message.subject, message.contentType, message.correlationId, message.replyTo, message.to,
        message.partitionKey, message.timeToLive],
        ["LineAdded", "application/json", "c", "answers", "x", "p", 60_000]);
      // The client gives a time back as a number.
    assert.deepEqual({ ...message.applicationProperties }, { ...applicationProperties, when: when.getTime() });
      await receiver.completeMessage(message);
    });
  },
  async "what a batch takes arrives together, and a full batch says so"() {
    const sender = client.createSender("work");
    const batch = await sender.createMessageBatch({ maxSizeInBytes: 2000 });
    let taken = 0;
    while (batch.tryAddMessage({ body: "x".repeat(300) })) taken += 1;
    assert(taken > 1 && taken < 7, `${taken} of 300 bytes in 2,000`);
    await sender.sendMessages(batch);
    await sender.close();
    await onWork((receiver) => take(receiver, taken), { receiveMode: "receiveAndDelete" });
  },
  async "an abandoned message comes again until its deliveries are used up"() {
    await send({ body: "poison" });
    await onWork(async (receiver) => {
      for (let delivery = 1; delivery <= 3; delivery++) {
        const [message] = await take(receiver, 1);
        assert.equal(message.deliveryCount, delivery - 1);
        await receiver.abandonMessage(message, { tried: delivery });
      }
    });
    await onWork(async (dead) => {
      const [message] = await take(dead, 1);
      assert.deepEqual([message.deadLetterReason, message.applicationProperties.tried], ["MaxDeliveryCountExceeded", 3]);
      await dead.completeMessage(message);
    }, { subQueueType: "deadLetter" });
  },
  async "a dead letter keeps its reason, description and properties"() {
    await send({ body: "bad" });
    await onWork(async (receiver) => {
      const [message] = await take(receiver, 1);
      await receiver.deadLetterMessage(message, { deadLetterReason: "Undecodable", deadLetterErrorDescription: "no total", by: "billing" });
    });
    await onWork(async (dead) => {
      const [message] = await take(dead, 1);
      assert.deepEqual([message.deadLetterReason, message.deadLetterErrorDescription, message.applicationProperties.by],
        ["Undecodable", "no total", "billing"]);
      await dead.completeMessage(message);
    }, { subQueueType: "deadLetter" });
  },
  async "a deferred message waits until it is asked for by its number"() {
    await send([{ body: "deferred" }, { body: "next" }]);
    await onWork(async (receiver) => {
      const [deferred] = await take(receiver, 1);
      await receiver.deferMessage(deferred);
      const [next] = await take(receiver, 1);
      assert.equal(next.body, "next");
      await receiver.completeMessage(next);
      const [again] = await receiver.receiveDeferredMessages(deferred.sequenceNumber);
      assert.equal(again.body, "deferred");
      await receiver.completeMessage(again);
      assert.deepEqual(await receiver.peekMessages(10, { fromSequenceNumber: deferred.sequenceNumber }), []);
    });
  },
  async "a lock is renewed"() {
    await send({ body: "slow" });
    await onWork(async (receiver) => {
      const [message] = await take(receiver, 1);
      const until = message.lockedUntilUtc;
      await new Promise((done) => setTimeout(done, 20));
      const renewed = await receiver.renewMessageLock(message);
      assert(renewed > until, `${renewed} after ${until}`);
      await receiver.completeMessage(message);
    });
  },
  async "a scheduled message waits for its time and can be cancelled"() {
    const sender = client.createSender("work");
    const soon = new Date(Date.now() + 1500);
    const [cancelled] = await sender.scheduleMessages([{ body: "never" }, { body: "later" }], soon);
    await sender.cancelScheduledMessages(cancelled);
    await sender.close();
    await onWork(async (receiver) => {
      const [message] = await take(receiver, 1);
      assert.equal(message.body, "later");
      assert(Date.now() >= soon.getTime() - 100, "it came too early");
      await receiver.completeMessage(message);
      assert.deepEqual(await receiver.peekMessages(10), []);
    });
  },
  async "a processor handles what comes and completes it"() {
    await send(texts("p", 20).map((body) => ({ body })));
    const receiver = client.createReceiver("work");
    const handled = [];
    await new Promise((done, failed) => {
      receiver.subscribe({
        processMessage: async (message) => { if (handled.push(message.body) === 20) setTimeout(done, 50); },
        processError: async ({ error }) => failed(error),
      }, { maxConcurrentCalls: 4 });
    });
    await receiver.close();
    assert.deepEqual(handled.sort(), texts("p", 20).sort());
    await onWork(async (again) => assert.deepEqual(await again.peekMessages(10), []));
  },
  async "a session keeps its order, its owner and its state"() {
    await send(texts("", 4).flatMap((n) => ["a", "b"].map((sessionId) => ({ body: `${sessionId}${n}`, sessionId }))), "sessions");
    const seen = {};
    for (let n = 0; n < 2; n++) {
      await receiving(await client.acceptNextSession("sessions"), async (session) => {
        await assert.rejects(client.acceptSession("sessions", session.sessionId), { code: "SessionCannotBeLocked" });
        const messages = await take(session, 4);
        for (const message of messages) await session.completeMessage(message);
        await session.setSessionState({ handled: messages.length });
        assert(await session.renewSessionLock() > new Date());
        seen[session.sessionId] = bodies(messages);
      });
    }
    assert.deepEqual(seen, { a: texts("a", 4), b: texts("b", 4) });
    await receiving(await client.acceptSession("sessions", "a"), async (session) => {
      assert.deepEqual(await session.getSessionState(), { handled: 4 });
      await session.setSessionState(null);
    });
  },
  async "every subscription of a topic gets a copy"() {
    await send({ body: "event", sessionId: "order-1" }, "orders");
    await receiving(client.createReceiver("orders", "billing"), async (billing) => {
      const [message] = await take(billing, 1);
      assert.equal(message.body, "event");
      await billing.completeMessage(message);
    });
    await receiving(await client.acceptSession("orders", "fulfilment", "order-1"), async (fulfilment) => {
      const [message] = await take(fulfilment, 1);
      assert.deepEqual([message.body, message.sessionId], ["event", "order-1"]);
      await fulfilment.completeMessage(message);
    });
  },
  async "what is not there says so"() {
    await assert.rejects(send({ body: "x" }, "absent"), { code: "MessagingEntityNotFound" });
    await onWork(async (receiver) => {
      await assert.rejects(receiver.receiveDeferredMessages(require("long").fromNumber(4711)), { code: "MessageNotFound" });
    });
  },
};

run(promises, () => client.close());
