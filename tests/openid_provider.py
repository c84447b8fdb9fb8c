"""An OpenID provider on this computer: who asks it is asked which account to be, without a password.

It keeps to what providers have to do (a registered client and addresses, codes for one use, PKCE, signed ID tokens), so
that what is tested against it would work with another; `write_token` is what a test changes to have it lie.
"""

import base64
import contextlib
import hashlib
import html
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT = "skinai-page"
CLIENT_SECRET = "a secret of the page and the provider"


class Provider:
    """What the provider knows.

    Attributes
    ----------
    accounts : dict
        The claims of each account, by its name on the provider's page.
    redirects : set of str
        Addresses to which it may send a browser back.
    write_token : callable
        Takes the claims of an ID token and returns it signed.
    ended : list of dict
        The parameters with which it was asked to end a session.
    """

    def __init__(self, issuer, accounts):
        self.issuer, self.accounts = issuer, accounts
        self.redirects, self.codes, self.ended = set(), {}, []
        self.key = RSAKey.generate_key(2048, {"kid": "first", "use": "sig", "alg": "RS256"})
        self.write_token = self.sign

    def sign(self, claims, *, key=None, **header):
        key = key or self.key
        return jwt.encode({"alg": "RS256", "kid": "first"} | header, claims, key)

    def describe(self):
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "end_session_endpoint": f"{self.issuer}/end",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": ["openid", "email", "profile"],
        }

    def list_keys(self):
        return {"keys": [self.key.as_dict(private=False)]}

    def ask(self, asked):
        """Return the page on which one chooses an account."""
        assert asked["client_id"] == CLIENT
        assert asked["response_type"] == "code"
        assert {"openid", "email"} <= set(asked["scope"].split())
        assert asked["redirect_uri"] in self.redirects
        assert asked["code_challenge_method"] == "S256"
        links = "".join(
            f'<p><a href="/allow?{html.escape(urlencode(asked | {"account": name}))}">{html.escape(name)}</a></p>'
            for name in self.accounts
        )
        return f"<!doctype html><title>Provider</title><h1>Who are you?</h1>{links}"

    def allow(self, asked):
        """Return where the browser is sent back to, with a code."""
        assert asked["redirect_uri"] in self.redirects
        code = secrets.token_urlsafe()
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def exchange(self, given, authorization):
        """Return an ID token for a code, once, to the client that proves to have asked for it; else None."""
        asked = self.codes.pop(given.get("code"), None)
        known = base64.b64encode(f"{CLIENT}:{CLIENT_SECRET}".encode()).decode()
        if asked is None or authorization != f"Basic {known}" or given["redirect_uri"] != asked["redirect_uri"]:
            return None
        proof = hashlib.sha256(given["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(proof).rstrip(b"=").decode() != asked["code_challenge"]:
            return None
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        token = self.write_token(claims | self.accounts[asked["account"]])
        return {"access_token": secrets.token_urlsafe(), "token_type": "Bearer", "expires_in": 300, "id_token": token}

    def end(self, asked):
        assert asked["post_logout_redirect_uri"] in self.redirects
        self.ended.append(asked)
        return asked["post_logout_redirect_uri"]


@contextlib.contextmanager
def providing(accounts):
    """Yield a provider that answers as long as the test runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            answers = {"/.well-known/openid-configuration": provider.describe, "/keys": provider.list_keys}
            if parts.path in answers:
                self.answer(200, json.dumps(answers[parts.path]()), "application/json")
            elif parts.path == "/authorize":
                self.answer(200, provider.ask(asked), "text/html")
            elif parts.path in ("/allow", "/end"):
                where = provider.allow(asked) if parts.path == "/allow" else provider.end(asked)
                self.answer(302, "", "text/plain", Location=where)
            else:
                self.answer(404, "", "text/plain")

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            given = {name: values[0] for name, values in parse_qs(body).items()}
            token = provider.exchange(given, self.headers.get("Authorization"))
            refused = {"error": "invalid_grant"}
            self.answer(200 if token else 400, json.dumps(token or refused), "application/json")

        def answer(self, status, text, kind, **headers):
            content = text.encode()
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": len(content), **headers}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        provider = Provider(f"http://127.0.0.1:{server.server_port}", accounts)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join()
