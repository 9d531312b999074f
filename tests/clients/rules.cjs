// The official Service Bus client for JavaScript changes the rules of a subscription, on the emulator.
// Usage: node rules.cjs CONNECTION_STRING
// Needs: topic `orders` with the subscription `billing`.

const assert = require("node:assert/strict");
const { ServiceBusClient } = require("@azure/service-bus");
// The library underneath the client, wherever that one has it from.
const { types } = require(require.resolve("rhea-promise", { paths: [require.resolve("@azure/service-bus")] }));
const { run } = require("./report.cjs");

const client = new ServiceBusClient(process.argv[2]);
const rules = client.createRuleManager("orders", "billing");
const sender = client.createSender("orders");
const receiver = client.createReceiver("orders", "billing", { receiveMode: "receiveAndDelete" });

const all = () => rules.getRules();

/** Replaces all rules. */
async function only(...wanted) {
  for (const rule of await all()) await rules.deleteRule(rule.name);
  for (const [name, filter, action] of wanted) await rules.createRule(name, filter, action);
}

/** Sends messages and gives back the copies that arrive, a last one marking the end. */
async function copies(...messages) {
  await sender.sendMessages([...messages, { body: "end", applicationProperties: { end: true } }]);
  const got = [];
  for (;;) {
    const [message] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 10_000 });
    assert(message, "nothing arrives any more");
    if (message.body === "end") return got;
    got.push(message);
  }
}

const END = ["end", { sqlExpression: "end = TRUE" }];
const order = (body, total, more = {}) => ({ body, applicationProperties: { total }, ...more });

const promises = {
  async "a subscription begins with the rule that takes everything"() {
    assert.deepEqual((await all()).map((rule) => [rule.name, rule.filter.sqlExpression]), [["$Default", "1=1"]]);
  },
  async "a condition in SQL decides what arrives"() {
    await only(END, ["large", { sqlExpression: "total > 100 AND sys.Label LIKE 'o%' AND colour IS NULL" }]);
    const got = await copies(order("small", 5, { subject: "o" }), order("large", 500, { subject: "order" }),
      order("other", 500, { subject: "x" }), { body: "none" });
    assert.deepEqual(got.map((message) => message.body), ["large"]);
  },
  async "a correlation filter asks for equal values"() {
    await only(END, ["mine", { correlationId: "c", applicationProperties: { total: 7 } }]);
    const got = await copies(order("a", 7, { correlationId: "c" }), order("b", 8, { correlationId: "c" }), order("c", 7));
    assert.deepEqual(got.map((message) => message.body), ["a"]);
    const mine = (await all()).find((rule) => rule.name === "mine");
    assert.deepEqual([mine.filter.correlationId, mine.filter.applicationProperties], ["c", { total: 7 }]);
  },
  async "a correlation filter asks for times, fractions and guids, too"() {
    const at = new Date("2024-05-01T12:30:00.250Z");
    const id = types.wrap_uuid(Buffer.from("00112233445566778899aabbccddeeff", "hex"));
    await only(END, ["mine", { applicationProperties: { at, rate: 2.5, id, paid: true } }]);
    const sent = (body, changed) => ({ body, applicationProperties: { at, rate: 2.5, id, paid: true, ...changed } });
    const got = await copies(sent("same", {}), sent("later", { at: new Date(at.getTime() + 1) }),
      sent("more", { rate: 2.75 }), sent("text", { id: "00112233-4455-6677-8899-aabbccddeeff" }), sent("unpaid", { paid: false }));
    assert.deepEqual(got.map((message) => message.body), ["same"]);
    const { applicationProperties } = (await all()).find((rule) => rule.name === "mine").filter;
    assert.deepEqual([new Date(applicationProperties.at), applicationProperties.rate, applicationProperties.paid],
      [at, 2.5, true]);
    assert.equal(applicationProperties.id.toString("hex"), id.value.toString("hex"));
  },
  async "a condition knows what the broker knows of a message at its topic"() {
    await only(END, ["known", { sqlExpression: "sys.SequenceNumber > 0 AND sys.DeliveryCount = 0 AND sys.State = 0 AND "
      + "sys.EnqueuedSequenceNumber = 0 AND NOT sys.ForcePersistence AND sys.Size < 1000 AND sys.LockToken IS NULL AND "
      + "sys.LockedUntilUtc IS NULL AND EXISTS(sys.EnqueuedTimeUtc)" }]);
    assert.deepEqual((await copies({ body: "x" })).map((message) => message.body), ["x"]);
    await assert.rejects(rules.createRule("bad", { sqlExpression: "sys.Colour = 'red'" }), /no property sys.Colour/);
  },
  async "times and lengths of time are added and subtracted"() {
    await only(END, ["brief", { sqlExpression: "sys.ExpiresAtUtc - sys.EnqueuedTimeUtc = sys.TimeToLive AND "
      + "due - sys.TimeToLive < sys.EnqueuedTimeUtc AND due + sys.TimeToLive > sys.EnqueuedTimeUtc" }]);
    const due = (body, milliseconds, timeToLive) =>
      ({ body, timeToLive, applicationProperties: { due: new Date(Date.now() + milliseconds) } });
    const got = await copies(due("now", 0, 3_600_000), due("late", 7_200_000, 3_600_000), due("past", -7_200_000, 3_600_000));
    assert.deepEqual(got.map((message) => message.body), ["now"]);
  },
  async "a condition on values of another kind fails, and lets nothing in"() {
    await only(END, ["unlike", { sqlExpression: "total > 'five'" }], ["more", { sqlExpression: "total > 1 OR total = 'x'" }]);
    const got = await copies(order("number", 7), order("text", "seven"));
    assert.deepEqual(got.map((message) => message.body), ["number"]);
  },
  async "what an action sets keeps the type that was there, and reaches the broker's own properties"() {
    await only(END, ["all", { sqlExpression: "EXISTS(total)" }, { sqlExpression: "SET total = total + 1; SET rate = 3; "
      + "SET note = 5; SET text = 'n' + total; SET id = newid(); SET at = at + sys.TimeToLive; SET sys.Label = total; "
      + "SET sys.TimeToLive = '00:10:00'; SET sys.PartitionKey = 'key'" }]);
    const at = new Date("2024-05-01T12:30:00Z");
    const [got] = await copies({ body: "x", timeToLive: 60_000, applicationProperties: { total: 1, rate: 2.5, note: "n", at } });
    const { total, rate, note, text, id, at: later } = got.applicationProperties;
    assert.deepEqual([total, rate, note, text, new Date(later)], [2, 3, "5", "n2", new Date("2024-05-01T12:31:00Z")]);
    assert.equal(Object.keys(id).length, 16);
    assert.deepEqual([got.subject, got.timeToLive, got.partitionKey], ["2", 600_000, "key"]);
  },
  async "an action changes a copy of its own"() {
    await only(END, ["all", { sqlExpression: "total > 0" }],
      ["big", { sqlExpression: "total > 10" }, { sqlExpression: "SET tax = total / 5; SET sys.Label = 'big'; REMOVE note" }]);
    const got = await copies({ body: "x", applicationProperties: { total: 50, note: "n" } });
    assert.deepEqual(got.map((m) => [m.subject, m.applicationProperties.tax, m.applicationProperties.note]).sort(),
      [["big", 10, undefined], [undefined, undefined, "n"]].sort());
    const big = (await all()).find((rule) => rule.name === "big");
    assert.match(big.action.sqlExpression, /^SET tax/);
  },
  async "what is wrong is refused and changes nothing"() {
    await only(END);
    await assert.rejects(rules.createRule("bad", { sqlExpression: "total >" }), /the end/);
    // The client leaves the parameters out: a management link has no room for them.
    const parameters = { sqlExpression: "total > @least", sqlParameters: { "@least": 5 } };
    await assert.rejects(rules.createRule("bad", parameters), /no value to the parameter @least/);
    await assert.rejects(rules.createRule("end", { sqlExpression: "1=1" }), /already exists/);
    await assert.rejects(rules.deleteRule("absent"), /could not be found/);
    assert.deepEqual((await all()).map((rule) => rule.name), ["end"]);
  },
};

run(promises, () => client.close());
