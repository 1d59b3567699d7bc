"""What needs no bearer: probes, key set, discovery. Spec: scaigrid 1, 2."""

from scaimcp.dev.platform.answer import encoder
from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Endpoint, Family, Raw
from scaimcp.dev.platform.endpoints.login import AUTHORIZE_PATH, TOKEN_PATH, metadata
from scaimcp.dev.platform.minting import CLIENT_ID

JWKS_PATH = "/.well-known/jwks.json"
OPENID_PATH = "/.well-known/openid-configuration"
JSON = "application/json"


def health(call: Call) -> Raw:
    """Say that the process answers; a fault makes it fail."""
    return Raw(encoder.encode({"status": "ok"}), JSON)


def jwks(call: Call) -> Raw:
    """Return the public key set, without envelope as its readers expect it."""
    return Raw(encoder.encode(call.platform.keys.jwks), JSON)


def discover(call: Call) -> dict[str, object]:
    """Return issuer, endpoints and client of the platform's sign-in."""
    origin = call.base_url
    return {
        "issuer": origin,
        "authorization_endpoint": origin + AUTHORIZE_PATH,
        "token_endpoint": origin + TOKEN_PATH,
        "jwks_uri": f"{origin}{JWKS_PATH}",
        "client_id": CLIENT_ID,
        "audience": CLIENT_ID,
    }


def openid_configuration(call: Call) -> Raw:
    """Return the metadata of OpenID Connect Discovery 1.0, without envelope."""
    origin = call.base_url
    document = {**metadata(origin), "jwks_uri": f"{origin}{JWKS_PATH}"}
    return Raw(encoder.encode(document), JSON)


FAMILY = Family(
    endpoints=(
        Endpoint("GET", "/health", None, health),
        Endpoint("GET", "/health/ready", None, health),
        Endpoint("GET", JWKS_PATH, None, jwks),
        Endpoint("GET", OPENID_PATH, None, openid_configuration),
        Endpoint("GET", "/v1/scailink/auth/discover", None, discover),
    )
)
