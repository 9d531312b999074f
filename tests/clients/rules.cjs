// The official Service Bus client for JavaScript changes the rules of a subscription, on the emulator.
// Usage: node rules.cjs CONNECTION_STRING
// Needs: topic `orders` with the subscription `billing`.

const assert = require("node:assert/strict");
const { ServiceBusClient } = require("@azure/service-bus");
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
    await assert.rejects(rules.createRule("end", { sqlExpression: "1=1" }), /already exists/);
    await assert.rejects(rules.deleteRule("absent"), /could not be found/);
    assert.deepEqual((await all()).map((rule) => rule.name), ["end"]);
  },
};

run(promises, () => client.close());
