"""The emulator's management endpoint: entities, time and faults."""

import json
import urllib.request


class Management:
    def __init__(self, endpoint):
        self.endpoint = endpoint.rstrip("/")

    def create(self, toml):
        """Creates the entities of a TOML file."""
        self._ask("PUT", "/topology", toml, "application/toml")

    def advance(self, time):
        """Makes the emulator's clock jump ahead by a `timedelta`."""
        self._ask("POST", "/clock", json.dumps({"advance_ms": int(time.total_seconds() * 1000)}))

    def fail(self, kind, limit, **more):
        """Takes the next `limit` opportunities for a fault of that kind."""
        self._ask("PUT", "/faults", json.dumps({"seed": 7, "rules": {kind: {"rate": 1.0, "limit": limit, **more}}}))

    def heal(self):
        """Ends all faults, and tells how many there were of each kind."""
        counts = json.loads(self._ask("GET", "/faults"))["counts"]
        self._ask("DELETE", "/faults")
        return {kind: count["injected"] for kind, count in counts.items() if count["injected"]}

    def repartition(self, database, container, **change):
        """Splits a partition, or merges two, or neither; the ids there are then."""
        path = f"/partitions/{database}/{container}"
        answer = self._ask("POST", path, json.dumps(change)) if change else self._ask("GET", path)
        return json.loads(answer)["partitions"]

    def _ask(self, method, path, body=None, kind="application/json"):
        data = None if body is None else body.encode()
        request = urllib.request.Request(self.endpoint + path, data, {"Content-Type": kind}, method=method)
        with urllib.request.urlopen(request) as answer:
            return answer.read()
