"""Tokens as a directory gives them out, but for the signature."""

import base64
import json
import time

from azure.core.credentials import AccessToken


class Credential:
    """Has such a token whenever a client asks."""

    def __init__(self, **claims):
        self.end = int(time.time()) + 3600
        parts = [{"alg": "RS256", "typ": "JWT"}, {"exp": self.end, **claims}, {}]
        encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()) for part in parts)
        self.token = ".".join(part.decode().rstrip("=") for part in encoded)

    def get_token(self, *scopes, **options):
        return AccessToken(self.token, self.end)
