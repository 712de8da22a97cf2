"""Certificates: roots, and those of services, as SPIFFE's X.509-SVID wants them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from modularity_registry.errors import InvalidRequest
from modularity_registry.integrations.envoy.resources.places import server_name
from modularity_registry.integrations.mesh.authority.record import Root

ROOT_LASTS: Final = timedelta(days=3650)

SKEW: Final = timedelta(minutes=5)
"""So far may the clock of another machine be behind."""

LONGEST_REQUEST: Final = 16_384
"""Characters of a request for a certificate."""

_PEM: Final = serialization.Encoding.PEM
_KEYS: Final = (
    "the key of the csr must be an EC key on the curve P-256 or P-384, or an RSA key of"
    " 2048 to 4096 bits"
)


class Signer(NamedTuple):
    """A root that can sign. ``chain`` is its certificate."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class Issued(NamedTuple):
    """A certificate in PEM; its serial number is in hexadecimal digits."""

    certificate: str
    serial: str
    not_after: datetime


def spiffe_id(trust_domain: str, service_id: str) -> str:
    """Return the name of a service in certificates."""
    return f"spiffe://{trust_domain}/service/{service_id}"


def new_root(
    trust_domain: str, now: datetime, signs_from: datetime, password: bytes | None
) -> Root:
    """Return a new root; its key is encrypted if there is a ``password``."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # No two roots have the same name: the issuer of a certificate is found by it.
    name = _name(f"{trust_domain} {serial:x}"[:64])
    usage = _usage(signs=True)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), serial)
        .not_valid_before(now - SKEW)
        .not_valid_after(now + ROOT_LASTS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(_names(f"spiffe://{trust_domain}"), critical=False)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    protection: serialization.KeySerializationEncryption
    protection = serialization.NoEncryption()
    if password is not None:
        protection = serialization.BestAvailableEncryption(password)
    private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, protection)
    return Root(_text(certificate), private.decode(), signs_from)


def signer(root: Root, password: bytes | None) -> Signer:
    """Return a root that can sign. Takes some time if its key is encrypted.

    Raises `ValueError` if the password is missing, another one, or not needed.
    """
    try:
        key = serialization.load_pem_private_key(root.key.encode(), password)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(str(error)) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is not an EC key")
    return Signer(x509.load_pem_x509_certificate(root.certificate.encode()), key)


def issue(
    root: Signer,
    spiffe: str,
    capabilities: Sequence[str],
    csr: str,
    now: datetime,
    lasts: timedelta,
    at_most: datetime | None = None,
) -> Issued:
    """Return a certificate for the key of ``csr``, of which nothing else counts.

    It names the service, and the capabilities that it may provide, and ends with the
    trust in its root, which is ``at_most``. Raises `InvalidRequest`.
    """
    public_key = _public_key(csr)
    own = root.certificate
    not_after = min(now + lasts, at_most or own.not_valid_after_utc)
    not_before = max(now - SKEW, own.not_valid_before_utc)
    serial = x509.random_serial_number()
    certificate = (
        x509.CertificateBuilder(
            own.subject, x509.Name([]), public_key, serial, not_before, not_after
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
        # RFC 5280: it has to be understood where there is no subject.
        .add_extension(
            _names(spiffe, *dict.fromkeys(map(server_name, capabilities))),
            critical=True,
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root.key.public_key()),
            critical=False,
        )
        .sign(root.key, hashes.SHA256())
    )
    # A certificate tells whole seconds.
    return Issued(_text(certificate), f"{serial:x}", certificate.not_valid_after_utc)


def _public_key(csr: str) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    if len(csr) > LONGEST_REQUEST:
        raise InvalidRequest(f"csr must have at most {LONGEST_REQUEST} characters")
    try:
        request = x509.load_pem_x509_csr(csr.encode())
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidRequest(
            "csr must be a certificate signing request (PKCS #10) in PEM"
        ) from None
    if isinstance(key, rsa.RSAPublicKey):
        good = 2048 <= key.key_size <= 4096
    else:
        curves = ec.SECP256R1, ec.SECP384R1
        good = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(
            key.curve, curves
        )
    if not good:
        raise InvalidRequest(_KEYS)
    if not request.is_signature_valid:
        raise InvalidRequest("csr is not signed by the key that is in it")
    assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    return key


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _names(uri: str, *hosts: str) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
    return x509.SubjectAlternativeName([*names, *map(x509.DNSName, hosts)])


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _text(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(_PEM).decode()
