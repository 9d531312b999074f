// The emulator's management endpoint: entities, time and faults.

exports.Management = class Management {
  constructor(endpoint) {
    this.endpoint = endpoint.replace(/\/$/, "");
  }
  /** Creates the entities of a TOML file. */
  create(toml) {
    return this.#ask("PUT", "/topology", toml, "application/toml");
  }
  /** Makes the emulator's clock jump ahead. */
  advance(milliseconds) {
    return this.#ask("POST", "/clock", JSON.stringify({ advance_ms: milliseconds }));
  }
  /** Takes the next `limit` opportunities for a fault of that kind. */
  fail(kind, limit, more = {}) {
    return this.#ask("PUT", "/faults", JSON.stringify({ seed: 7, rules: { [kind]: { rate: 1, limit, ...more } } }));
  }
  /** Ends all faults, and tells how many there were of each kind. */
  async heal() {
    const { counts } = await (await this.#ask("GET", "/faults")).json();
    await this.#ask("DELETE", "/faults");
    const injected = Object.entries(counts).map(([kind, count]) => [kind, count.injected]);
    return Object.fromEntries(injected.filter(([, count]) => count > 0));
  }
  async #ask(method, path, body, kind = "application/json") {
    const answer = await fetch(this.endpoint + path, { method, body, headers: { "Content-Type": kind } });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer;
  }
};
