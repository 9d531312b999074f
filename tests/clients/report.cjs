// Runs promises one by one, prints a line for each and how many there were, and ends with 0 only when all were kept.

/** `promises`: functions by what they promise. `close` is called at the end. */
exports.run = async function run(promises, close = async () => {}) {
  let broken = 0;
  for (const [title, promise] of Object.entries(promises)) {
    try {
      await promise();
      console.log(`ok      ${title}`);
    } catch (error) {
      broken += 1; // the others are still worth asking
      console.log(`BROKEN  ${title}\n${error.stack}`);
    }
  }
  console.log(`${Object.keys(promises).length} checks, ${broken} failed`);
  await close();
  process.exit(broken ? 1 : 0);
};
