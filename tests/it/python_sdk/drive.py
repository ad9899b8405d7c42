"""Drives examples/serve.rs with the Azure SDK for Python: every operation on keys, CryptographyClient included.

    python drive.py URL CA_FILE ISSUER KEY_FILE

The issuer is the attestation service that the server trusts, and the file its private key.

Prints the name of each part that passed, one a line; any failure ends it with a traceback.
"""

import base64
import hashlib
import json
import os
import sys
import time
from datetime import datetime, timezone

from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.keyvault.keys import (
    ApiVersion,
    JsonWebKey,
    KeyClient,
    KeyCurveName,
    KeyExportEncryptionAlgorithm,
    KeyOperation,
    KeyReleasePolicy,
    KeyRotationLifetimeAction,
    KeyRotationPolicy,
    KeyRotationPolicyAction,
    KeyType,
)
from azure.keyvault.keys.crypto import (
    CryptographyClient,
    EncryptionAlgorithm,
    KeyWrapAlgorithm,
    SignatureAlgorithm,
)
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from cryptography.hazmat.primitives.asymmetric import rsa as rsa_keys
from cryptography.hazmat.primitives import hashes, keywrap, serialization

URL, CA, ISSUER, ISSUER_KEY = sys.argv[1:5]


class Token:
    """A credential without any account."""

    def get_token(self, *scopes, **_):
        return AccessToken("a token", int(time.time()) + 86_400)


# The challenge's resource can only be verified for host names, and this is an address.
COMMON = {
    "credential": Token(),
    "verify_challenge_resource": False,
    "connection_verify": CA,
    # What is refused is not to be tried again.
    "retry_total": 0,
}
client = KeyClient(vault_url=URL, **COMMON)


def crypto(key, **options):
    return CryptographyClient(key, **COMMON, **options)


def refused(kind, status, code, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except kind as error:
        assert error.status_code == status, error
        assert error.error.code == code, error
        return error
    raise AssertionError("the call succeeded and must not")


def create_get_update():
    created = client.create_rsa_key(
        "payroll",
        size=2048,
        key_operations=[KeyOperation.sign, KeyOperation.verify],
        enabled=False,
        not_before=datetime(2020, 1, 1, tzinfo=timezone.utc),
        expires_on=datetime(2100, 1, 1, tzinfo=timezone.utc),
        tags={"team": "billing", " spaced ": " value "},
    )
    assert created.key_type == KeyType.rsa and len(created.key.n) == 256
    assert created.id.startswith(f"{URL}/keys/payroll/")
    for version in [None, created.properties.version]:
        read = client.get_key("payroll", version)
        assert read.id == created.id and read.key.n == created.key.n
        assert read.key_operations == ["sign", "verify"]
        assert read.properties.enabled is False
        assert read.properties.not_before.year == 2020 and read.properties.expires_on.year == 2100
        assert read.properties.tags == {"team": "billing", " spaced ": " value "}
        assert read.properties.recovery_level == "Recoverable+Purgeable"
        assert read.properties.recoverable_days == 90
    updated = client.update_key_properties(
        "payroll", created.properties.version, enabled=True, tags={}, key_operations=["sign"]
    )
    assert updated.properties.enabled and not updated.properties.tags
    assert updated.key_operations == ["sign"] and updated.properties.expires_on.year == 2100
    refused(ResourceNotFoundError, 404, "KeyNotFound", client.get_key, "nothing")


def create_each_kind():
    for curve in ["P-256", "P-384", "P-521", "P-256K"]:
        key = client.create_ec_key(f"ec-{curve}", curve=curve)
        assert key.key_type == KeyType.ec and key.key.crv == curve
        assert key.key_operations == ["sign", "verify"]
    key = client.create_key("oct-256", KeyType.oct, size=256)
    assert key.key_type == KeyType.oct and key.key.k is None
    key = client.create_rsa_key("rsa-e", public_exponent=65_539)
    assert int.from_bytes(key.key.e, "big") == 65_539
    error = refused(HttpResponseError, 400, "BadParameter", client.create_rsa_key, "bad", size=1_024)
    assert "1024" in error.message
    error = refused(
        HttpResponseError, 400, "BadParameter", client.create_ec_key, "bad", key_operations=["encrypt"]
    )


def import_keys():
    private = ec.generate_private_key(ec.SECP256R1())
    numbers = private.private_numbers()
    jwk = JsonWebKey(
        kty="EC",
        crv="P-256",
        d=numbers.private_value.to_bytes(32, "big"),
        x=numbers.public_numbers.x.to_bytes(32, "big"),
        y=numbers.public_numbers.y.to_bytes(32, "big"),
        key_ops=["sign", "verify"],
    )
    imported = client.import_key("imported-ec", jwk, tags={"from": "elsewhere"})
    assert imported.key.x == jwk.x and imported.key.d is None
    digest = hashlib.sha256(b"data").digest()
    signed = crypto(imported).sign(SignatureAlgorithm.es256, digest)
    verify_ecdsa(private.public_key(), signed.signature, b"data")

    private = rsa_keys.generate_private_key(65_537, 2_048)
    numbers = private.private_numbers()
    number = lambda value: value.to_bytes((value.bit_length() + 7) // 8, "big")
    jwk = JsonWebKey(
        kty="RSA",
        n=number(numbers.public_numbers.n),
        e=number(numbers.public_numbers.e),
        d=number(numbers.d),
        p=number(numbers.p),
        q=number(numbers.q),
        dp=number(numbers.dmp1),
        dq=number(numbers.dmq1),
        qi=number(numbers.iqmp),
    )
    imported = client.import_key("imported-rsa", jwk, hardware_protected=False)
    sealed = private.public_key().encrypt(
        b"data", padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    )
    opened = crypto(imported).decrypt(EncryptionAlgorithm.rsa_oaep_256, sealed)
    assert opened.plaintext == b"data" and opened.key_id == imported.id

    imported = client.import_key("imported-oct", JsonWebKey(kty="oct", k=bytes(range(32))))
    assert imported.key.k is None


def verify_ecdsa(public, signature, data):
    half = len(signature) // 2
    r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
    public.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))


def rotate_and_list_versions():
    versions = [client.create_ec_key("rotated", tags={"a": "1"}).properties.version]
    for _ in range(4):
        rotated = client.rotate_key("rotated")
        assert rotated.properties.tags == {"a": "1"}
        versions.append(rotated.properties.version)
    listed = list(client.list_properties_of_key_versions("rotated", max_page_size=2))
    assert [item.version for item in listed] == versions[::-1]
    assert all(item.name == "rotated" for item in listed)
    refused(
        ResourceNotFoundError, 404, "KeyNotFound", list, client.list_properties_of_key_versions("nothing")
    )


def list_keys():
    names = {f"listed-{number}" for number in range(7)}
    for name in names:
        client.create_ec_key(name)
    pages = list(client.list_properties_of_keys(max_page_size=3).by_page())
    listed = [item for page in pages for item in page]
    assert len(pages) > 2 and all(item.version is None for item in listed)
    assert names <= {item.name for item in listed}


def delete_recover_purge():
    created = client.create_ec_key("deleted")
    deleted = client.begin_delete_key("deleted").result()
    assert deleted.id == created.id and deleted.recovery_id == f"{URL}/deletedkeys/deleted"
    assert (deleted.scheduled_purge_date - deleted.deleted_date).days == 90
    refused(ResourceNotFoundError, 404, "KeyNotFound", client.get_key, "deleted")
    error = refused(ResourceExistsError, 409, "Conflict", client.create_ec_key, "deleted")
    assert error.error.innererror["code"] == "ObjectIsDeletedButRecoverable"
    assert client.get_deleted_key("deleted").id == created.id
    assert "deleted" in [item.name for item in client.list_deleted_keys()]
    poller = client.begin_delete_key("listed-0")
    poller.wait()
    assert client.begin_recover_deleted_key("listed-0").result().name == "listed-0"
    assert client.begin_recover_deleted_key("deleted").result().id == created.id
    assert client.get_key("deleted").id == created.id
    client.begin_delete_key("deleted").wait()
    client.purge_deleted_key("deleted")
    refused(ResourceNotFoundError, 404, "KeyNotFound", client.get_deleted_key, "deleted")


def backup_restore():
    created = client.create_ec_key("backed-up")
    blob = client.backup_key("backed-up")
    refused(ResourceExistsError, 409, "Conflict", client.restore_key_backup, blob)
    client.begin_delete_key("backed-up").wait()
    client.purge_deleted_key("backed-up")
    restored = client.restore_key_backup(blob)
    assert restored.id == created.id and restored.key.x == created.key.x
    refused(HttpResponseError, 400, "BadParameter", client.restore_key_backup, b"no backup")


def random_bytes():
    assert len(client.get_random_bytes(32)) == 32
    refused(HttpResponseError, 400, "BadParameter", client.get_random_bytes, 129)


def sign_verify():
    digest = hashlib.sha256(b"data").digest()
    key = client.create_ec_key("signer", curve=KeyCurveName.p_256)
    numbers = ec.EllipticCurvePublicNumbers(
        int.from_bytes(key.key.x, "big"), int.from_bytes(key.key.y, "big"), ec.SECP256R1()
    )
    # By its identifier, and without one of its versions.
    for target in [key, key.id, f"{URL}/keys/signer"]:
        signed = crypto(target).sign(SignatureAlgorithm.es256, digest)
        assert signed.key_id == key.id
        verify_ecdsa(numbers.public_key(), signed.signature, b"data")
        assert crypto(target).verify(SignatureAlgorithm.es256, digest, signed.signature).is_valid
    # By the service, and not with the public key here.
    assert service_only(key).verify(SignatureAlgorithm.es256, digest, signed.signature).is_valid
    other = hashlib.sha256(b"other").digest()
    assert not service_only(key).verify(SignatureAlgorithm.es256, other, signed.signature).is_valid

    key = client.create_rsa_key("rsa-signer")
    public = rsa_keys.RSAPublicNumbers(
        int.from_bytes(key.key.e, "big"), int.from_bytes(key.key.n, "big")
    ).public_key()
    signed = crypto(key).sign(SignatureAlgorithm.rs256, digest)
    public.verify(signed.signature, b"data", padding.PKCS1v15(), hashes.SHA256())
    signed = crypto(key).sign(SignatureAlgorithm.ps256, digest)
    public.verify(signed.signature, b"data", padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    refused(HttpResponseError, 400, "BadParameter", service_only(key).sign, SignatureAlgorithm.rs256, b"data")


def service_only(key):
    """A client that has no key of its own, as one that may not read keys, and so asks the service for everything."""
    asking = crypto(key.id)
    asking._keys_get_forbidden = True
    return asking


def encrypt_decrypt():
    rsa = client.create_rsa_key("rsa-encrypter")
    oct_key = client.create_key("oct-encrypter", KeyType.oct, size=256)
    for algorithm in [
        EncryptionAlgorithm.rsa_oaep,
        EncryptionAlgorithm.rsa_oaep_256,
        EncryptionAlgorithm.rsa1_5,
    ]:
        for encrypter in [crypto(rsa), service_only(rsa)]:
            sealed = encrypter.encrypt(algorithm, b"data")
            opened = service_only(rsa).decrypt(algorithm, sealed.ciphertext)
            assert opened.plaintext == b"data" and opened.key_id == rsa.id
    symmetric = service_only(oct_key)
    sealed = symmetric.encrypt(
        EncryptionAlgorithm.a256_gcm, b"data", additional_authenticated_data=b"row 7"
    )
    assert len(sealed.iv) == 12 and len(sealed.tag) == 16 and sealed.key_id == oct_key.id
    opened = symmetric.decrypt(
        EncryptionAlgorithm.a256_gcm,
        sealed.ciphertext,
        iv=sealed.iv,
        authentication_tag=sealed.tag,
        additional_authenticated_data=sealed.aad,
    )
    assert opened.plaintext == b"data"
    refused(
        HttpResponseError,
        400,
        "BadParameter",
        symmetric.decrypt,
        EncryptionAlgorithm.a256_gcm,
        sealed.ciphertext,
        iv=sealed.iv,
        authentication_tag=sealed.tag,
        additional_authenticated_data=b"row 8",
    )
    iv = bytes(range(16))
    sealed = symmetric.encrypt(EncryptionAlgorithm.a256_cbcpad, b"data", iv=iv)
    assert sealed.iv == iv
    assert symmetric.decrypt(EncryptionAlgorithm.a256_cbcpad, sealed.ciphertext, iv=iv).plaintext == b"data"


def wrap_unwrap():
    rsa = client.create_rsa_key("rsa-wrapper")
    oct_key = client.create_key("oct-wrapper", KeyType.oct, size=256)
    for wrapper, key, algorithm in [
        (crypto(rsa), rsa, KeyWrapAlgorithm.rsa_oaep),
        (crypto(rsa), rsa, KeyWrapAlgorithm.rsa_oaep_256),
        (service_only(rsa), rsa, KeyWrapAlgorithm.rsa_oaep_256),
        # Not crypto(oct_key): this SDK takes a symmetric key without `k`, as every service shows it, for a request to
        # make a random one, and wraps with that one where it runs.
        (service_only(oct_key), oct_key, KeyWrapAlgorithm.aes_256),
    ]:
        wrapped = wrapper.wrap_key(algorithm, bytes(range(32)))
        unwrapped = service_only(key).unwrap_key(algorithm, wrapped.encrypted_key)
        assert unwrapped.key == bytes(range(32)) and unwrapped.key_id == key.id


def what_a_key_may_not():
    digest = hashlib.sha256(b"data").digest()
    key = client.create_ec_key("verifier", key_operations=["verify"])
    error = refused(HttpResponseError, 403, "Forbidden", service_only(key).sign, SignatureAlgorithm.es256, digest)
    assert error.error.innererror["code"] == "KeyOperationForbidden"
    key = client.create_ec_key("disabled", enabled=False)
    error = refused(HttpResponseError, 403, "Forbidden", service_only(key).sign, SignatureAlgorithm.es256, digest)
    assert error.error.innererror["code"] == "KeyDisabled"


def rotation_policy():
    client.create_ec_key("policy")
    first = client.get_key_rotation_policy("policy")
    assert first.id == f"{URL}/keys/policy/rotationpolicy" and first.created_on is None
    assert [(each.action, each.time_before_expiry) for each in first.lifetime_actions] == [("Notify", "P30D")]
    rotate = KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P90D")
    wanted = KeyRotationPolicy(lifetime_actions=[rotate], expires_in="P1Y")
    updated = client.update_key_rotation_policy("policy", wanted)
    read = client.get_key_rotation_policy("policy")
    for policy in [updated, read]:
        assert policy.expires_in == "P1Y" and policy.created_on and policy.updated_on
        actions = [(each.action, each.time_after_create, each.time_before_expiry) for each in policy.lifetime_actions]
        assert actions == [("Rotate", "P90D", None), ("Notify", None, "P30D")]
    # What comes back from the service can be sent to it.
    again = client.update_key_rotation_policy("policy", read, expires_in="P2Y")
    assert again.expires_in == "P2Y" and again.created_on == read.created_on
    properties = client.rotate_key("policy").properties
    assert 730 <= (properties.expires_on - properties.created_on).days <= 731
    blank = client.update_key_rotation_policy("policy", KeyRotationPolicy())
    assert blank.expires_in is None and len(blank.lifetime_actions) == 1
    for bad in ["P27D", "P4W", "90"]:
        refused(
            HttpResponseError,
            400,
            "BadParameter",
            client.update_key_rotation_policy,
            "policy",
            KeyRotationPolicy(expires_in=bad),
        )
    refused(ResourceNotFoundError, 404, "KeyNotFound", client.get_key_rotation_policy, "nothing")


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def jwt(claims, key=None):
    """A token of the attestation service, or of who has another key."""
    if key is None:
        with open(ISSUER_KEY, "rb") as file:
            key = serialization.load_pem_private_key(file.read(), None)
    header = {"alg": "RS256", "typ": "JWT", "kid": "1"}
    signed = ".".join(base64url(json.dumps(part).encode()) for part in [header, claims])
    return f"{signed}.{base64url(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def identity():
    """The public key with which the vault signs its statements."""
    client.create_ec_key("any")
    attestation = client.get_key_attestation("any").properties.attestation
    return serialization.load_pem_public_key(attestation.certificate_pem_file)


def verified(jws):
    signed, _, signature = jws.rpartition(".")
    header, payload = (json.loads(decoded(part)) for part in signed.split("."))
    assert header["alg"] == "ES256"
    verify_ecdsa(identity(), decoded(signature), signed.encode())
    return payload


def release_policy(level, **options):
    conditions = [
        {"claim": "x-ms-isolation-tee.level", "equals": level},
        {"anyOf": [{"claim": "debug", "equals": False}, {"claim": "test", "equals": True}]},
    ]
    policy = {"version": "1.0.0", "anyOf": [{"authority": ISSUER, "allOf": conditions}]}
    return KeyReleasePolicy(json.dumps(policy).encode(), **options)


def release():
    environment = rsa_keys.generate_private_key(65_537, 2_048)
    numbers = environment.public_key().public_numbers()
    number = lambda value: base64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))
    jwk = {"kty": "RSA", "kid": "env", "key_ops": ["encrypt"], "n": number(numbers.n), "e": number(numbers.e)}
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "iat": now,
        "nbf": now,
        "exp": now + 3_600,
        "nonce": "fresh",
        "debug": False,
        "x-ms-isolation-tee": {"level": 2},
        "x-ms-runtime": {"keys": [jwk]},
    }
    token = jwt(claims)

    created = client.create_ec_key("released", exportable=True, release_policy=release_policy(2))
    assert created.properties.exportable is True and "export" in created.key_operations
    shown = created.properties.release_policy
    assert json.loads(shown.encoded_policy)["version"] == "1.0.0" and shown.immutable is False
    public = ec.EllipticCurvePublicNumbers(
        int.from_bytes(created.key.x, "big"), int.from_bytes(created.key.y, "big"), ec.SECP256R1()
    )
    for algorithm, oaep, version in [
        (None, hashes.SHA1(), None),
        (KeyExportEncryptionAlgorithm.ckm_rsa_aes_key_wrap, hashes.SHA1(), created.properties.version),
        (KeyExportEncryptionAlgorithm.rsa_aes_key_wrap_256, hashes.SHA256(), None),
        (KeyExportEncryptionAlgorithm.rsa_aes_key_wrap_384, hashes.SHA384(), None),
    ]:
        released = client.release_key("released", token, version=version, algorithm=algorithm, nonce="fresh")
        payload = verified(released.value)
        name = algorithm.value if algorithm else "CKM_RSA_AES_KEY_WRAP"
        assert payload["request"] == {"enc": name, "kid": created.id, "nonce": "fresh"}
        bundle = payload["response"]["key"]
        assert bundle["key"]["kid"] == created.id and bundle["attributes"]["exportable"] is True
        key_hsm = json.loads(decoded(bundle["key"]["key_hsm"]))
        assert key_hsm["header"] == {"kid": "env", "alg": "dir", "enc": name}
        ciphertext = decoded(key_hsm["ciphertext"])
        wrapping = environment.decrypt(ciphertext[:256], padding.OAEP(padding.MGF1(oaep), oaep, None))
        der = keywrap.aes_key_unwrap_with_padding(wrapping, ciphertext[256:])
        private = serialization.load_der_private_key(der, None)
        assert private.public_key().public_numbers() == public

    refuse = lambda status, code, *arguments, **options: refused(
        HttpResponseError, status, code, client.release_key, *arguments, **options
    )
    refuse(400, "BadParameter", "policy", token)
    refuse(400, "BadParameter", "released", "e30.e30.")
    refuse(400, "BadParameter", "released", token, algorithm="RSA-OAEP")
    refuse(403, "Forbidden", "released", token, nonce="stale")
    refuse(403, "Forbidden", "released", jwt({**claims, "exp": now - 3_600}))
    refuse(403, "Forbidden", "released", jwt({**claims, "debug": True}))
    refuse(403, "Forbidden", "released", jwt({**claims, "iss": "https://elsewhere.example"}))
    refuse(403, "Forbidden", "released", jwt(claims, environment))
    updated = client.update_key_properties("released", release_policy=release_policy(3, immutable=True))
    assert updated.properties.release_policy.immutable is True
    refuse(403, "Forbidden", "released", token)
    error = refused(
        HttpResponseError,
        400,
        "BadParameter",
        client.update_key_properties,
        "released",
        release_policy=release_policy(2),
    )
    assert "AKV.SKR.1020" in error.message
    error = refused(HttpResponseError, 400, "BadParameter", client.create_ec_key, "bad", exportable=True)
    assert "Exportable keys must have release policy" in error.message
    imported = client.import_key(
        "released-oct",
        JsonWebKey(kty="oct", k=bytes(range(32))),
        exportable=True,
        release_policy=release_policy(2),
    )
    assert imported.properties.exportable is True
    payload = verified(client.release_key("released-oct", token).value)
    key_hsm = json.loads(decoded(payload["response"]["key"]["key"]["key_hsm"]))
    ciphertext = decoded(key_hsm["ciphertext"])
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
    wrapping = environment.decrypt(ciphertext[:256], oaep)
    assert keywrap.aes_key_unwrap_with_padding(wrapping, ciphertext[256:]) == bytes(range(32))


def attestation():
    created = client.create_ec_key("attested")
    for version in [None, created.properties.version]:
        attested = client.get_key_attestation("attested", version)
        assert attested.id == created.id
        attestation = attested.properties.attestation
        assert attestation.version == "1.0"
        private = verified(attestation.private_key_attestation.decode())
        assert private["kid"] == created.id and private["origin"] == "generated"
        public = verified(attestation.public_key_attestation.decode())
        assert decoded(public["jwk"]["x"]) == created.key.x
    assert client.get_key("attested").properties.attestation is None
    refused(ResourceNotFoundError, 404, "KeyNotFound", client.get_key_attestation, "nothing")


def import_transferred_key():
    """Bring your own key: what a tool makes of a key and of the public half of the vault's."""
    kek = client.create_rsa_key("kek", size=2048, key_operations=[KeyOperation.import_key])
    public = rsa_keys.RSAPublicNumbers(
        int.from_bytes(kek.key.e, "big"), int.from_bytes(kek.key.n, "big")
    ).public_key()
    private = ec.generate_private_key(ec.SECP384R1())
    der = private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    wrapping = os.urandom(32)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
    ciphertext = public.encrypt(wrapping, oaep) + keywrap.aes_key_wrap_with_padding(wrapping, der)
    blob = {
        "schema_version": "1.0.0",
        "header": {"kid": kek.id, "alg": "dir", "enc": "CKM_RSA_AES_KEY_WRAP"},
        "ciphertext": base64url(ciphertext),
        "generator": "a test",
    }
    jwk = JsonWebKey(kty="EC", crv="P-384", key_ops=["sign"], t=json.dumps(blob).encode())
    imported = client.import_key("transferred", jwk)
    assert int.from_bytes(imported.key.x, "big") == private.public_key().public_numbers().x
    digest = hashlib.sha384(b"data").digest()
    signature = crypto(imported).sign(SignatureAlgorithm.es384, digest).signature
    half = len(signature) // 2
    r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
    private.public_key().verify(utils.encode_dss_signature(r, s), b"data", ec.ECDSA(hashes.SHA384()))
    jwk.crv = "P-256"
    refused(HttpResponseError, 400, "BadParameter", client.import_key, "bad", jwk)
    blob["header"]["kid"] = client.create_rsa_key("no-kek", size=2048).id
    jwk = JsonWebKey(kty="EC", crv="P-384", t=json.dumps(blob).encode())
    refused(HttpResponseError, 403, "Forbidden", client.import_key, "bad", jwk)


def every_api_version():
    for version in ["7.4", "7.5", "7.6", "2025-07-01"]:
        versioned = KeyClient(vault_url=URL, api_version=version, **COMMON)
        assert versioned.get_key("signer").name == "signer", version
    old = KeyClient(vault_url=URL, api_version=ApiVersion.V7_0, **COMMON)
    refused(HttpResponseError, 400, "BadParameter", old.get_key, "signer")


for part in [
    create_get_update,
    create_each_kind,
    import_keys,
    rotate_and_list_versions,
    list_keys,
    delete_recover_purge,
    backup_restore,
    random_bytes,
    sign_verify,
    encrypt_decrypt,
    wrap_unwrap,
    what_a_key_may_not,
    rotation_policy,
    release,
    attestation,
    import_transferred_key,
    every_api_version,
]:
    part()
    print(part.__name__, flush=True)
