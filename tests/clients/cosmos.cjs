// The official Cosmos DB client for JavaScript against the emulator.
//
// Usage: cosmos.cjs ENDPOINT KEY

const { CosmosClient } = require("@azure/cosmos");
const { deepStrictEqual: equal } = require("node:assert");
const { run } = require("./report.cjs");

const [endpoint, key] = process.argv.slice(2);
const client = new CosmosClient({ endpoint, key });

async function status(promise) {
  try {
    return (await promise).statusCode;
  } catch (error) {
    return error.code;
  }
}

async function main() {
  const { database } = await client.databases.createIfNotExists({ id: "javascript" });
  const definition = { id: "items", partitionKey: { paths: ["/pk"] }, defaultTtl: -1 };
  const { container } = await database.containers.createIfNotExists(definition);

  const promises = {
    "an item is read back, a taken id refused, a stale etag too": async () => {
      const { resource } = await container.items.create({ id: "a", pk: "1", n: 1 });
      equal((await container.item("a", "1").read()).resource.n, 1);
      equal(await status(container.items.create({ id: "a", pk: "1" })), 409);
      await container.item("a", "1").replace({ id: "a", pk: "1", n: 2 });
      const accessCondition = { type: "IfMatch", condition: resource._etag };
      equal(await status(container.item("a", "1").replace({ id: "a", pk: "1", n: 3 }, { accessCondition })), 412);
    },
    "a charge is told": async () => equal((await container.item("a", "1").read()).requestCharge, 1),
    "a patch looks at its condition": async () => {
      const patch = (n) => ({ condition: `from c where c.n = ${n}`, operations: [{ op: "incr", path: "/n", value: 5 }] });
      equal(await status(container.item("a", "1").patch(patch(1))), 412);
      equal(await status(container.item("a", "1").patch(patch(2))), 200);
      equal((await container.item("a", "1").read()).resource.n, 7);
    },
    "a batch happens as a whole or not at all": async () => {
      const create = (id) => ({ operationType: "Create", resourceBody: { id, pk: "1" } });
      const patch = { operationType: "Patch", id: "a", resourceBody: { operations: [{ op: "set", path: "/n", value: 9 }] } };
      await container.items.create({ id: "c", pk: "1" });
      const refused = await container.items.batch([create("b"), patch, create("c")], "1");
      equal(refused.result.map((result) => result.statusCode), [424, 424, 409]);
      equal(await status(container.item("b", "1").read()), 404);
      const done = await container.items.batch([create("b"), patch], "1");
      equal(done.result.map((result) => result.statusCode), [201, 200]);
    },
    "operations in bulk stand alone": async () => {
      const operations = [
        { operationType: "Create", partitionKey: "2", resourceBody: { id: "x", pk: "2" } },
        { operationType: "Create", partitionKey: "1", resourceBody: { id: "a", pk: "1" } },
        { operationType: "Read", partitionKey: "1", id: "b" },
        { operationType: "Delete", partitionKey: "1", id: "b" },
      ];
      const results = await container.items.executeBulkOperations(operations);
      equal(results.map((result) => result.response?.statusCode ?? result.error.code), [201, 409, 200, 204]);
    },
    "a query goes through all partitions": async () => {
      const { resources } = await container.items.query("SELECT * FROM c ORDER BY c.id").fetchAll();
      equal(resources.map((item) => item.id), ["a", "c", "x"]);
    },
    "an item expires": async () => {
      await container.items.create({ id: "short", pk: "1", ttl: 1 });
      await new Promise((resolve) => setTimeout(resolve, 1100));
      equal(await status(container.item("short", "1").read()), 404);
    },
    "the change feed has every item in order": async () => {
      const feed = container.items.getChangeFeedIterator({ changeFeedStartFrom: require("@azure/cosmos").ChangeFeedStartFrom.Beginning("1") });
      const page = await feed.readNext();
      equal(page.result.map((item) => item.id), ["c", "a"]);
    },
    "another key is refused": async () => {
      const stranger = new CosmosClient({ endpoint, key: "d3Jvbmc=" });
      equal(await status(stranger.databases.readAll().fetchAll()), 401);
    },
  };
  await run(promises);
}

main();
