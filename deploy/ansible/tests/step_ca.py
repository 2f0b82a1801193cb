"""Writes the files of a step-ca on 127.0.0.1:9443: step_ca.py DIRECTORY < PASSWORD. With cryptography, which ansible-core brings."""

import base64
import datetime
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

WRAPPING = "PBES2-HS256+A128KW"
ITERATIONS = 10_000


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk():
    key = ec.generate_private_key(ec.SECP256R1()).private_numbers()
    public = {
        "crv": "P-256",
        "kty": "EC",
        "x": encode(key.public_numbers.x.to_bytes(32, "big")),
        "y": encode(key.public_numbers.y.to_bytes(32, "big")),
    }
    kid = encode(hashlib.sha256(json.dumps(public, sort_keys=True, separators=(",", ":")).encode()).digest())
    public.update(kid=kid, alg="ES256", use="sig")
    return public, dict(public, d=encode(key.private_value.to_bytes(32, "big")))


def encrypted(private, password):
    """A JWE, as a CA gives it to anybody who asks."""
    salt, content_key, nonce = os.urandom(16), os.urandom(32), os.urandom(12)
    header = {"alg": WRAPPING, "cty": "jwk+json", "enc": "A256GCM", "p2c": ITERATIONS, "p2s": encode(salt)}
    header = encode(json.dumps(header).encode())
    wrapping_key = hashlib.pbkdf2_hmac("sha256", password, WRAPPING.encode() + b"\0" + salt, ITERATIONS, 16)
    sealed = AESGCM(content_key).encrypt(nonce, json.dumps(private).encode(), header.encode())
    parts = [aes_key_wrap(wrapping_key, content_key), nonce, sealed[:-16], sealed[-16:]]
    return ".".join([header] + [encode(part) for part in parts])


def authority(name, issuer, length):
    """A certificate of an X.509 CA, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    signer, by = issuer or (key, subject)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(True, length), True)
        .add_extension(x509.KeyUsage(*[False] * 5, True, True, False, False), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
        .sign(signer, hashes.SHA256())
    )
    return certificate, key


def main():
    directory = Path(sys.argv[1])
    password = sys.stdin.read().strip().encode()
    root, root_key = authority("Test Root", None, 1)
    intermediate, key = authority("Test Intermediate", (root_key, root.subject), 0)
    pem = serialization.Encoding.PEM
    (directory / "root.crt").write_bytes(root.public_bytes(pem))
    (directory / "intermediate.crt").write_bytes(intermediate.public_bytes(pem))
    (directory / "intermediate.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    for name in ("host_ca", "user_ca"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-C", "", "-f", directory / name], check=True)
    public, private = jwk()
    claims = {"enableSSHCA": True}
    config = {
        "root": str(directory / "root.crt"),
        "crt": str(directory / "intermediate.crt"),
        "key": str(directory / "intermediate.key"),
        "address": "127.0.0.1:9443",
        "dnsNames": ["127.0.0.1"],
        "logger": {"format": "json"},
        "db": {"type": "bbolt", "dataSource": str(directory / "db")},
        "ssh": {"hostKey": str(directory / "host_ca"), "userKey": str(directory / "user_ca")},
        "authority": {
            "provisioners": [
                {"type": "JWK", "name": "admin", "key": public, "encryptedKey": encrypted(private, password), "claims": claims},
                {"type": "SSHPOP", "name": "sshpop", "claims": claims},
            ]
        },
    }
    (directory / "ca.json").write_text(json.dumps(config))


if __name__ == "__main__":
    main()
