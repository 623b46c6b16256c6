"""Signs events as Amazon SNS (signature version 2) and SendGrid's signed event webhook do. No network here."""

from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

SIGNATURE_HEADER: Final = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP_HEADER: Final = "X-Twilio-Email-Event-Webhook-Timestamp"
_SIGNED_FIELDS: Final = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


def make_sns_key(valid_from: datetime | None = None) -> tuple[rsa.RSAPrivateKey, bytes]:
    """A new key of SNS with its certificate (PEM), which it has signed itself; valid for a year, from a day ago on."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    begin = valid_from or datetime.now(UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=366))
        .sign(key, SHA256())
    )
    return key, certificate.public_bytes(Encoding.PEM)


def make_sendgrid_key() -> ec.EllipticCurvePrivateKey:
    """A new key of the event webhook: P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def sandbox_key() -> ec.EllipticCurvePrivateKey:
    """The key of `SENDGRID_PUBLIC_KEY`. It is not a secret: it signs for receivers on this machine alone."""
    return ec.derive_private_key(int.from_bytes(sha256(b"WishCraft's sandbox: SendGrid").digest()), ec.SECP256R1())


def public_key_text(key: ec.EllipticCurvePrivateKey) -> str:
    """The public key as SendGrid shows it: DER in base64."""
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b64encode(der).decode()


def sign_sns(envelope: Mapping[str, str], key: rsa.RSAPrivateKey) -> dict[str, str]:
    """The envelope of SNS with `SignatureVersion` and `Signature`: RSA with SHA-256 over its fields, a line each."""
    fields = _SIGNED_FIELDS[envelope["Type"]]
    text = "".join(f"{name}\n{envelope[name]}\n" for name in fields if name in envelope)
    signature = key.sign(text.encode(), padding.PKCS1v15(), SHA256())
    return {**envelope, "SignatureVersion": "2", "Signature": b64encode(signature).decode()}


def sign_sendgrid(body: bytes, timestamp: str, key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """The headers of a webhook of SendGrid: ECDSA with SHA-256 over the timestamp and the raw body."""
    signature = key.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
    return {SIGNATURE_HEADER: b64encode(signature).decode(), TIMESTAMP_HEADER: timestamp}
