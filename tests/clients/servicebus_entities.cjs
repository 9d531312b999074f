// The official Service Bus client for JavaScript against what entities do by themselves: limits, locks, time and
// faults.
// Usage: node servicebus_entities.cjs CONNECTION_STRING MANAGEMENT_ENDPOINT
// Needs nothing; makes entities of its own and moves the emulator's clock.

const assert = require("node:assert/strict");
const { ServiceBusClient } = require("@azure/service-bus");
const { Management } = require("./emulator.cjs");
const { run } = require("./report.cjs");

const client = new ServiceBusClient(process.argv[2], { retryOptions: { maxRetries: 5, retryDelayInMs: 50 } });
const hasty = new ServiceBusClient(process.argv[2], { retryOptions: { maxRetries: 0 } });
const management = new Management(process.argv[3]);
const MINUTE = 60_000;
const WAIT = { maxWaitTimeInMs: 20_000 }; // an answer comes at once, or something is broken

async function send(queue, messages, by = client) {
  const sender = by.createSender(queue);
  try {
    await sender.sendMessages(messages);
  } finally {
    await sender.close();
  }
}

async function take(receiver) {
  const [message] = await receiver.receiveMessages(1, WAIT);
  assert(message, "nothing came");
  return message;
}

async function receiving(receiver, work) {
  try {
    return await work(receiver);
  } finally {
    await receiver.close();
  }
}

const bodies = (messages) => messages.map((message) => message.body);

/** Takes and deletes what is there. */
const emptied = (queue, options = {}) =>
  receiving(client.createReceiver(queue, { receiveMode: "receiveAndDelete", ...options }), async (receiver) => {
    const found = [];
    for (;;) {
      const some = await receiver.receiveMessages(50, { maxWaitTimeInMs: 300 });
      if (some.length === 0) return found;
      found.push(...some);
    }
  });
const deadLetters = async (queue, subQueueType = "deadLetter") =>
  (await emptied(queue, { subQueueType })).map((message) => [message.body, message.deadLetterReason]);

const promises = {
  async "locks are renewed by themselves"() { // before the clocks differ
    await send("brief", { body: "slow" });
    const receiver = client.createReceiver("brief");
    await new Promise((done, failed) => receiver.subscribe({
      processMessage: () => new Promise((handled) => setTimeout(handled, 5500)).then(() => setTimeout(done, 100)),
      processError: async ({ error }) => failed(error),
    }));
    await receiver.close();
    assert.deepEqual(await emptied("brief"), []);
  },
  async "a batch knows how large it may be"() {
    const sender = client.createSender("plain");
    const batch = await sender.createMessageBatch();
    assert.equal(batch.maxSizeInBytes, 256 * 1024);
    assert.equal(batch.tryAddMessage({ body: "x".repeat(300_000) }), false);
    assert.equal(batch.tryAddMessage({ body: "x".repeat(200_000) }), true);
    await sender.sendMessages(batch);
    await assert.rejects(sender.sendMessages({ body: "x".repeat(300_000) }), { code: "MessageSizeExceeded" });
    await sender.close();
    assert.equal((await emptied("plain")).length, 1);
  },
  async "properties that are too large are refused"() {
    const properties = (count, size) => ({ body: "p", applicationProperties: Object.fromEntries(
      Array.from({ length: count }, (_, n) => [`p${n}`, "x".repeat(size)])) });
    await send("plain", properties(2, 20_000));
    await assert.rejects(send("plain", properties(4, 20_000), hasty), { code: "MessageSizeExceeded" });
    await assert.rejects(send("plain", properties(1, 33_000), hasty), { name: "ServiceBusError" });
    assert.equal((await emptied("plain")).length, 1);
  },
  async "what outgrows its limits in a queue is dead-lettered"() {
    await send("plain", { body: "grows", applicationProperties: { sent: "x".repeat(30_000) } });
    await receiving(client.createReceiver("plain"), async (receiver) => {
      for (const name of ["first", "second"])
        await receiver.abandonMessage(await take(receiver), { [name]: "x".repeat(30_000) });
    });
    assert.deepEqual(await deadLetters("plain"), [["grows", "HeaderSizeExceeded"]]);
  },
  async "what expires is dead-lettered where the queue says so"() {
    await send("mortal", [{ body: "soon", timeToLive: MINUTE }, { body: "later" }]);
    await management.advance(2 * MINUTE);
    assert.deepEqual(await deadLetters("mortal"), [["soon", "TTLExpiredException"]]);
    await management.advance(10 * MINUTE);
    assert.deepEqual(await deadLetters("mortal"), [["later", "TTLExpiredException"]]);
  },
  async "a message is taken once within the time of its history"() {
    for (let n = 0; n < 3; n++) await send("once", { body: "a", messageId: "1" });
    assert.deepEqual(bodies(await emptied("once")), ["a"]);
    await management.advance(11 * MINUTE);
    await send("once", { body: "b", messageId: "1" });
    assert.deepEqual(bodies(await emptied("once")), ["b"]);
  },
  async "forwarding ends after four hops"() {
    await send("hop0", { body: "far" });
    assert.deepEqual(await deadLetters("hop4", "transferDeadLetter"), [["far", "MaxTransferHopCountExceeded"]]);
  },
  async "dead letters are peeked and stay"() {
    await send("plain", { body: "bad" });
    await receiving(client.createReceiver("plain"), async (receiver) =>
      receiver.deadLetterMessage(await take(receiver), { deadLetterReason: "Bad" }));
    await receiving(client.createReceiver("plain", { subQueueType: "deadLetter" }), async (receiver) => {
      for (let n = 0; n < 2; n++) {
        const seen = await receiver.peekMessages(10, { fromSequenceNumber: require("long").fromNumber(0) });
        assert.deepEqual(seen.map((m) => [m.body, m.deadLetterReason]), [["bad", "Bad"]]);
      }
    });
    assert.deepEqual(await deadLetters("plain"), [["bad", "Bad"]]);
  },
  async "a receiver that stops waiting loses nothing"() {
    await receiving(client.createReceiver("plain"), async (first) => {
      assert.deepEqual(await first.receiveMessages(5, { maxWaitTimeInMs: 500 }), []);
      await send("plain", { body: "later" });
      await receiving(client.createReceiver("plain"), async (second) => {
        const message = await take(second);
        assert.deepEqual([message.body, message.deliveryCount], ["later", 0]);
        await second.completeMessage(message);
      });
    });
  },
  async "a lock that has run out is lost"() {
    await send("plain", { body: "slow" });
    await receiving(client.createReceiver("plain"), async (receiver) => {
      const message = await take(receiver);
      await management.advance(2 * MINUTE);
      await assert.rejects(receiver.completeMessage(message), { code: "MessageLockLost" });
      const again = await take(receiver);
      assert.equal(again.deliveryCount, 1);
      await receiver.completeMessage(again);
    });
  },
  async "a session whose lock has run out is lost"() {
    await send("session", { body: "s", sessionId: "a" });
    await receiving(await client.acceptSession("session", "a"), async (session) => {
      const message = await take(session);
      assert.deepEqual(bodies(await session.peekMessages(5, { fromSequenceNumber: message.sequenceNumber })), ["s"]);
      await management.advance(2 * MINUTE);
      await assert.rejects(session.completeMessage(message), { code: "SessionLockLost" });
    });
    await receiving(await client.acceptSession("session", "a", { receiveMode: "receiveAndDelete" }), async (session) => {
      assert.equal((await take(session)).body, "s");
    });
  },
  async "no session is free, and sessions are for queues that have them"() {
    await assert.rejects(send("session", { body: "none" }, hasty), { name: "ServiceBusError" });
    await assert.rejects(receiving(hasty.createReceiver("session"), take), { name: "ServiceBusError" });
  },
  async "a busy server is asked again"() {
    await management.fail("server_busy", 2);
    await send("plain", { body: "patient" });
    assert.deepEqual(await management.heal(), { server_busy: 2 });
    await management.fail("server_busy", 1);
    await assert.rejects(send("plain", { body: "hasty" }, hasty), { code: "ServiceBusy" });
    await management.heal();
    assert.deepEqual(bodies(await emptied("plain")), ["patient"]);
  },
  async "a receiver is told why its link was detached"() {
    await send("plain", { body: "later" });
    await receiving(hasty.createReceiver("plain"), async (receiver) => {
      await management.fail("detach_link", 1, { condition: "com.microsoft:entity-disabled" });
      await assert.rejects(take(receiver), { code: "MessagingEntityDisabled" });
      await management.heal();
    });
    assert.deepEqual(bodies(await emptied("plain")), ["later"]);
  },
  async "a processor goes on after its link was detached or its connection lost"() {
    // A sender would wait for an answer for a minute, either way, before it sends again. What was under way when the
    // connection was lost is locked for a while.
    for (const kind of ["detach_link", "drop_connection"]) {
      await send("brief", { body: kind });
      await management.fail(kind, 1);
      const receiver = client.createReceiver("brief");
      const got = await new Promise((done) => receiver.subscribe({
        processMessage: async (message) => done(message.body),
        processError: async () => {},
      }));
      assert.equal(got, kind);
      assert.deepEqual(await management.heal(), { [kind]: 1 });
      await receiver.close();
    }
    await management.advance(MINUTE);
    await emptied("brief");
  },
  async "locks are lost on purpose"() {
    await send("plain", { body: "unlucky" });
    await receiving(client.createReceiver("plain"), async (receiver) => {
      let message = await take(receiver);
      await management.fail("lose_settle", 1);
      await assert.rejects(receiver.completeMessage(message), { code: "MessageLockLost" });
      message = await take(receiver);
      await management.fail("expire_lock", 1);
      await assert.rejects(receiver.renewMessageLock(message), { code: "MessageLockLost" });
      await management.heal();
      await receiver.completeMessage(await take(receiver));
    });
    assert.deepEqual(await emptied("plain"), []);
  },
};

async function main() {
  await management.create(`
queue = [
    { name = "plain", lock_duration = "60s", max_delivery_count = 5 },
    { name = "brief", lock_duration = "5s" },
    { name = "session", sessions = true, lock_duration = "60s" },
    { name = "mortal", time_to_live = "10m", dead_letter_on_expiration = true },
    { name = "once", duplicate_detection = "10m" },
    { name = "hop0", forward_to = "hop1" }, { name = "hop1", forward_to = "hop2" },
    { name = "hop2", forward_to = "hop3" }, { name = "hop3", forward_to = "hop4" },
    { name = "hop4", forward_to = "hop5" }, { name = "hop5" },
]`);
  await run(promises, () => Promise.all([client.close(), hasty.close()]));
}

main();
