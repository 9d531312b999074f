// Sends or receives messages of 1 KB with the official client, and prints messages a second.
//
// Usage: servicebus.cjs send|batches|receive|sessions NUMBER CONNECTION_STRING QUEUE COUNT
// NUMBER is how many sends are in flight, the prefetch, or how many sessions there are. This client fetches
// ahead only in a subscription, as many as may be handled at once: NUMBER is that, where it isn't 0.
"use strict";
const { ServiceBusClient } = require("@azure/service-bus");

const [what, , connection, queue] = process.argv.slice(2, 6);
const number = Number(process.argv[3]);
const count = Number(process.argv[6]);
const page = 100;
const body = Buffer.alloc(1000, "x");
const client = new ServiceBusClient(connection);
const message = (id) => ({ body, messageId: String(id) });

async function opened() {
  const sender = client.createSender(queue);
  await sender.createMessageBatch();
  return sender;
}

async function send() {
  const sender = await opened();
  let next = 0;
  const began = performance.now();
  await Promise.all(Array.from({ length: number }, async () => {
    while (next < count) await sender.sendMessages(message(next++));
  }));
  return performance.now() - began;
}

async function batches() {
  const sender = await opened();
  const began = performance.now();
  let batch = await sender.createMessageBatch();
  for (let id = 0; id < count; id++) {
    if (batch.tryAddMessage(message(id))) continue;
    await sender.sendMessages(batch);
    batch = await sender.createMessageBatch();
    batch.tryAddMessage(message(id));
  }
  await sender.sendMessages(batch);
  return performance.now() - began;
}

async function complete(receiver, left) {
  let began;
  while (left > 0) {
    const messages = await receiver.receiveMessages(Math.min(page, left), { maxWaitTimeInMs: 30000 });
    if (messages.length === 0) throw new Error("messages are missing");
    began ??= performance.now();
    await Promise.all(messages.map((received) => receiver.completeMessage(received)));
    left -= messages.length;
  }
  return began;
}

async function subscribed(receiver) {
  let done = 0, began;
  await new Promise((resolve, reject) => {
    receiver.subscribe({
      processMessage: async (received) => {
        began ??= performance.now();
        await receiver.completeMessage(received);
        if (++done === count) resolve();
      },
      processError: async ({ error }) => reject(error),
    }, { autoCompleteMessages: false, maxConcurrentCalls: number });
  });
  return began;
}

async function receive() {
  const receiver = client.createReceiver(queue);
  const began = number === 0 ? await complete(receiver, count) : await subscribed(receiver);
  return performance.now() - began;
}

async function sessions() {
  const began = performance.now();
  for (let session = 0; session < number; session++) {
    const receiver = await client.acceptNextSession(queue);
    await complete(receiver, Math.floor(count / number));
    await receiver.close();
  }
  return performance.now() - began;
}

({ send, batches, receive, sessions })[what]().then((took) => {
  console.log(count / (took / 1000));
  process.exit(0);
}, (error) => {
  console.error(error);
  process.exit(1);
});
