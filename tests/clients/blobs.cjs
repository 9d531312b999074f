// The official Blob Storage client for JavaScript and the checkpoint store on it against the emulator.
// Usage: node blobs.cjs CONNECTION_STRING

const assert = require("node:assert/strict");
const { randomUUID } = require("node:crypto");
const { BlobServiceClient } = require("@azure/storage-blob");
const { BlobCheckpointStore } = require("@azure/eventhubs-checkpointstore-blob");
const { run } = require("./report.cjs");

const service = BlobServiceClient.fromConnectionString(process.argv[2]);
const EVENTS = { fullyQualifiedNamespace: "shop.servicebus.windows.net", eventHubName: "orders", consumerGroup: "$Default" };

async function container() {
  const client = service.getContainerClient(`c-${randomUUID()}`);
  await client.create();
  return client;
}

const promises = {
  async "a blob comes back as it was put"() {
    const blob = (await container()).getBlockBlobClient("claims/a file ü+%.bin");
    const content = Buffer.from("content of a claim");
    await blob.upload(content, content.length, { metadata: { kind: "claim" }, blobHTTPHeaders: { blobContentType: "text/x-claim" } });
    assert.deepEqual(await blob.downloadToBuffer(), content);
    assert.deepEqual(await blob.downloadToBuffer(8, 2), content.subarray(8, 10));
    const about = await blob.getProperties();
    assert.deepEqual([about.contentType, about.metadata.kind, about.contentLength], ["text/x-claim", "claim", content.length]);
    await blob.delete();
    assert.equal(await blob.exists(), false);
  },
  async "a large blob is made of blocks"() {
    const blob = (await container()).getBlockBlobClient("large");
    const content = Buffer.alloc(300_000, "block");
    await blob.uploadData(content, { blockSize: 64 * 1024, maxSingleShotSize: 1024, concurrency: 3 });
    assert.deepEqual(await blob.downloadToBuffer(0, undefined, { blockSize: 64 * 1024, concurrency: 3 }), content);
  },
  async "only one of two writers wins"() {
    const blob = (await container()).getBlockBlobClient("lease");
    const first = await blob.upload("", 0, { conditions: { ifNoneMatch: "*" } });
    await assert.rejects(blob.upload("", 0, { conditions: { ifNoneMatch: "*" } }), { statusCode: 409, code: "BlobAlreadyExists" });
    await blob.setMetadata({ owner: "a" }, { conditions: { ifMatch: first.etag } });
    await assert.rejects(blob.setMetadata({ owner: "b" }, { conditions: { ifMatch: first.etag } }), { statusCode: 412, code: "ConditionNotMet" });
  },
  async "who has the lease of a blob is the only one to write it"() {
    const blob = (await container()).getBlockBlobClient("leader");
    await blob.upload("", 0);
    const [mine, yours] = [blob.getBlobLeaseClient(), blob.getBlobLeaseClient()];
    const { leaseId } = await mine.acquireLease(60);
    await assert.rejects(yours.acquireLease(15), { statusCode: 409, code: "LeaseAlreadyPresent" });
    await assert.rejects(blob.setMetadata({ owner: "you" }), { statusCode: 412, code: "LeaseIdMissing" });
    await blob.setMetadata({ owner: "me" }, { conditions: { leaseId } });
    await mine.renewLease();
    const about = await blob.getProperties();
    assert.deepEqual([about.leaseState, about.leaseStatus, about.leaseDuration], ["leased", "locked", "fixed"]);
    assert.equal((await yours.breakLease(0)).leaseTime, 0);
    assert.equal((await blob.getProperties()).leaseState, "broken");
    await yours.acquireLease(-1);
    await assert.rejects(mine.renewLease(), { statusCode: 409, code: "LeaseIdMismatchWithLeaseOperation" });
    await yours.releaseLease();
    await blob.delete();
  },
  async "a listing has prefixes, metadata and pages"() {
    const box = await container();
    for (let n = 0; n < 12; n++) await box.getBlockBlobClient(`a/${n}`).upload("x", 1, { metadata: { n: `${n}` } });
    await box.getBlockBlobClient("b").upload("", 0);
    const pages = [];
    for await (const page of box.listBlobsFlat({ prefix: "a/", includeMetadata: true }).byPage({ maxPageSize: 5 })) pages.push(page.segment.blobItems);
    assert.deepEqual(pages.map((page) => page.length), [5, 5, 2]);
    for (const blob of pages.flat()) assert.equal(`a/${blob.metadata.n}`, blob.name);
    const top = [];
    for await (const entry of box.listBlobsByHierarchy("/")) top.push(`${entry.kind} ${entry.name}`);
    assert.deepEqual(top, ["prefix a/", "blob b"]);
  },
  async "the checkpoint store lets one owner have a partition"() {
    const store = new BlobCheckpointStore(await container());
    const claim = (ownerId, etag) => store.claimOwnership([{ ...EVENTS, partitionId: "0", ownerId, etag }]);
    const [mine] = await claim("me");
    assert.equal(mine.ownerId, "me");
    const [listed] = await store.listOwnership(EVENTS.fullyQualifiedNamespace, EVENTS.eventHubName, EVENTS.consumerGroup);
    const [yours] = await claim("you", listed.etag);
    assert.equal(yours.ownerId, "you");
    assert.deepEqual(await claim("me", listed.etag), []);
    await store.updateCheckpoint({ ...EVENTS, partitionId: "0", offset: "900", sequenceNumber: 9 });
    const saved = await store.listCheckpoints(EVENTS.fullyQualifiedNamespace, EVENTS.eventHubName, EVENTS.consumerGroup);
    assert.deepEqual(saved.map((c) => [c.partitionId, c.offset, c.sequenceNumber]), [["0", "900", 9]]);
  },
};

run(promises);
