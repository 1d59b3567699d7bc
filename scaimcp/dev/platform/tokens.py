"""RS256 tokens of the platform's own key pair, and the key set that checks them."""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import cache

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

Claims = dict[str, object]
KEY_BITS = 2048


def encode_segment(data: bytes) -> str:
    """Return base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_segment(text: str) -> bytes:
    """Read base64url without padding; ValueError for anything else."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@cache
def process_key() -> RSAPrivateKey:
    """Return a key pair made once per process, since making one takes a noticeable time."""
    return generate_private_key(65537, KEY_BITS)


class TokenKeys:
    """Sign and check tokens.

    Args:
        pem: the private key kept from an earlier run; None takes the process's own.
    """

    def __init__(self, pem: bytes | None = None) -> None:
        loaded = process_key() if pem is None else load_pem_private_key(pem, None)
        if not isinstance(loaded, RSAPrivateKey):
            raise TypeError("the kept signing key is not an RSA key")
        self._private = loaded
        self._public = loaded.public_key()
        numbers = self._public.public_numbers()
        modulus = encode_segment(numbers.n.to_bytes(KEY_BITS // 8, "big"))
        self.key_id = hashlib.sha256(modulus.encode()).hexdigest()[:16]
        self.jwks: dict[str, object] = {
            "keys": [
                {
                    "kty": "RSA",
                    "use": "sig",
                    "alg": "RS256",
                    "kid": self.key_id,
                    "n": modulus,
                    "e": encode_segment(numbers.e.to_bytes(3, "big")),
                }
            ]
        }

    def pem(self) -> bytes:
        """Return the private key for keeping."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def mint(self, claims: Claims, *, bad_signature: bool = False) -> str:
        """Return a signed token; `bad_signature` breaks the signature and nothing else."""
        header = {"alg": "RS256", "typ": "JWT", "kid": self.key_id}
        signed = ".".join(encode_segment(msgspec.json.encode(part)) for part in (header, claims))
        signature = bytearray(self._private.sign(signed.encode(), PKCS1v15(), SHA256()))
        if bad_signature:
            signature[0] ^= 1
        return f"{signed}.{encode_segment(bytes(signature))}"

    def verify(self, token: str) -> Claims | None:
        """Return the claims of a token signed by this key; None for any other text.

        Expiry is not looked at: it depends on the platform's clock.
        """
        try:
            head, payload, signature = token.split(".")
            header = msgspec.json.decode(decode_segment(head), type=dict[str, object])
            if header.get("alg") != "RS256":
                return None
            signed = f"{head}.{payload}".encode()
            self._public.verify(decode_segment(signature), signed, PKCS1v15(), SHA256())
            return msgspec.json.decode(decode_segment(payload), type=Claims)
        except (ValueError, InvalidSignature):
            return None
