//! The examples of the RFCs, through the public API: key wrap (RFC 3394, RFC 5649), deterministic ECDSA
//! (RFC 6979), and the appendices of JWS, JWE and JWK (RFC 7515, 7516, 7517) for the algorithms of RFC 7518.

mod jose;

use strongroom::{
    Curve, ImportedKey, KeyName, PublicKey, SecretBytes, SignatureAlgorithm, Vault, WrapAlgorithm,
    hazmat,
};

use crate::make;
use crate::support::{hex, name};

fn vault() -> Vault {
    make::vault_options().create_in_memory().unwrap()
}

fn import_oct(vault: &Vault, name: &KeyName, key: &[u8]) {
    let key = ImportedKey::oct(SecretBytes::copied_from(key));
    vault.import_key(name, make::import(key)).unwrap();
}

/// Wraps and unwraps by the name with the size and by the one without.
fn key_wrap(algorithms: [WrapAlgorithm; 2], kek: &str, key: &str, wrapped: &str) {
    let vault = vault();
    let kek_name = name("kek");
    import_oct(&vault, &kek_name, &hex(kek));
    for algorithm in algorithms {
        let made = vault.wrap_key(&kek_name, algorithm, &hex(key)).unwrap();
        assert_eq!(made.wrapped_key(), hex(wrapped), "{algorithm}");
        let opened = vault
            .unwrap_key(&kek_name, algorithm, &hex(wrapped))
            .unwrap();
        assert_eq!(opened.expose(), hex(key), "{algorithm}");
    }
}

#[test]
fn rfc_3394_key_wrap() {
    use WrapAlgorithm::{A128Kw, A192Kw, A256Kw, CkmAesKeyWrap};
    const KEK: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const KEY: &str = "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f";
    for (algorithm, kek_bytes, key_bytes, wrapped) in [
        (
            A128Kw,
            16,
            16,
            "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5",
        ),
        (
            A192Kw,
            24,
            16,
            "96778b25ae6ca435f92b5b97c050aed2468ab8a17ad84e5d",
        ),
        (
            A256Kw,
            32,
            16,
            "64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7",
        ),
        (
            A192Kw,
            24,
            24,
            "031d33264e15d33268f24ec260743edce1c6c7ddee725a936ba814915c6762d2",
        ),
        (
            A256Kw,
            32,
            24,
            "a8f9bc1612c68b3ff6e6f4fbe30e71e4769c8b80a32cb8958cd5d17d6b254da1",
        ),
        (
            A256Kw,
            32,
            32,
            "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21",
        ),
    ] {
        key_wrap(
            [algorithm, CkmAesKeyWrap],
            &KEK[..2 * kek_bytes],
            &KEY[..2 * key_bytes],
            wrapped,
        );
    }
}

#[test]
fn rfc_5649_key_wrap_with_padding() {
    const KEK: &str = "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8";
    let algorithms = [WrapAlgorithm::A192KwPad, WrapAlgorithm::CkmAesKeyWrapPad];
    key_wrap(
        algorithms,
        KEK,
        "c37b7e6492584340bed12207808941155068f738",
        "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
    );
    key_wrap(
        algorithms,
        KEK,
        "466f7250617369",
        "afbeb0f07dfbf5419200f2ccb50bb24f",
    );
}

/// `ECPrivateKey` (RFC 5915) without the public point.
fn sec1(curve: Curve, d: &str) -> Vec<u8> {
    let d = hex(d);
    let oid = hex(match curve {
        Curve::P256 => "06082a8648ce3d030107",
        Curve::P384 => "06052b81040022",
        Curve::P521 => "06052b81040023",
        Curve::P256K => "06052b8104000a",
        _ => unreachable!("there are four curves"),
    });
    let byte = |length: usize| u8::try_from(length).unwrap();
    let mut content = vec![2, 1, 1, 4, byte(d.len())];
    content.extend(d);
    content.extend([0xa0, byte(oid.len())]);
    content.extend(oid);
    let mut der = vec![0x30, byte(content.len())];
    der.extend(content);
    der
}

fn deterministic(algorithm: SignatureAlgorithm, d: &str, cases: &[(&[u8], &str)]) {
    if !make::in_software("nonces without randomness are made by software only") {
        return;
    }
    let vault = vault();
    let key_name = name("signer");
    let key = ImportedKey::from_sec1_der(&sec1(algorithm.curve().unwrap(), d)).unwrap();
    let key = vault.import_key(&key_name, make::import(key)).unwrap();
    let public = make::public_key(PublicKey::from_jwk(key.key()).unwrap());
    for (message, signature) in cases {
        let digest = match algorithm {
            SignatureAlgorithm::Es384 => &aws_lc_rs::digest::SHA384,
            SignatureAlgorithm::Es512 => &aws_lc_rs::digest::SHA512,
            _ => &aws_lc_rs::digest::SHA256,
        };
        let digest = aws_lc_rs::digest::digest(digest, message);
        let signed =
            hazmat::sign_deterministic(&vault, &key_name, algorithm, digest.as_ref()).unwrap();
        assert_eq!(signed.signature(), hex(signature), "{algorithm}");
        public
            .verify_data(algorithm, message, signed.signature())
            .unwrap();
        // The ordinary signature has fresh randomness in its nonce.
        let hedged = vault.sign(&key_name, algorithm, digest.as_ref()).unwrap();
        assert_ne!(hedged.signature(), signed.signature(), "{algorithm}");
    }
}

#[test]
fn rfc_6979_p256() {
    deterministic(
        SignatureAlgorithm::Es256,
        "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721",
        &[
            (
                b"sample",
                "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
                 f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
            ),
            (
                b"test",
                "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367\
                 019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083",
            ),
        ],
    );
}

#[test]
fn rfc_6979_p384() {
    deterministic(
        SignatureAlgorithm::Es384,
        "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d896d5724e4c70a825f872c9ea60d2edf5",
        &[
            (
                b"sample",
                "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c\
                 81a648152e44acf96e36dd1e80fabe4699ef4aeb15f178cea1fe40db2603138f\
                 130e740a19624526203b6351d0a3a94fa329c145786e679e7b82c71a38628ac8",
            ),
            (
                b"test",
                "8203b63d3c853e8d77227fb377bcf7b7b772e97892a80f36ab775d509d7a5feb\
                 0542a7f0812998da8f1dd3ca3cf023dbddd0760448d42d8a43af45af836fce4d\
                 e8be06b485e9b61b827c2f13173923e06a739f040649a667bf3b828246baa5a5",
            ),
        ],
    );
}

#[test]
fn rfc_6979_p521() {
    deterministic(
        SignatureAlgorithm::Es512,
        "00fad06daa62ba3b25d2fb40133da757205de67f5bb0018fee8c86e1b68c7e75\
         caa896eb32f1f47c70855836a6d16fcc1466f6d8fbec67db89ec0c08b0e996b83538",
        &[
            (
                b"sample",
                "00c328fafcbd79dd77850370c46325d987cb525569fb63c5d3bc53950e6d4c5f174e25a1ee90\
                 17b5d450606add152b534931d7d4e8455cc91f9b15bf05ec36e377fa\
                 00617cce7cf5064806c467f678d3b4080d6f1cc50af26ca209417308281b68af282623eaa63e\
                 5b5c0723d8b8c37ff0777b1a20f8ccb1dccc43997f1ee0e44da4a67a",
            ),
            (
                b"test",
                "013e99020abf5cee7525d16b69b229652ab6bdf2affcaef38773b4b7d08725f10cdb93482fdc\
                 c54edcee91eca4166b2a7c6265ef0ce2bd7051b7cef945babd47ee6d\
                 01fbd0013c674aa79cb39849527916ce301c66ea7ce8b80682786ad60f98f7e78a19ca69eff5\
                 c57400e3b3a0ad66ce0978214d13baf4e9ac60752f7b155e2de4dce3",
            ),
        ],
    );
}

/// The RFC has no examples for secp256k1; these nonces are the ones that the Bitcoin libraries agree on,
/// and the signatures were computed from them by another implementation, with low `s`.
#[test]
fn rfc_6979_p256k() {
    for (d, message, signature) in [
        (
            "cca9fbcc1b41e5a95d369eaa6ddcff73b61a4efaa279cfc6567e8daa39cbaf50",
            "sample",
            "af340daf02cc15c8d5d08d7735dfe6b98a474ed373bdb5fbecf7571be52b3842\
             5009fb27f37034a9b24b707b7c6b79ca23ddef9e25f7282e8a797efe53a8f124",
        ),
        (
            "0000000000000000000000000000000000000000000000000000000000000001",
            "Satoshi Nakamoto",
            "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8\
             2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5",
        ),
        (
            "0000000000000000000000000000000000000000000000000000000000000001",
            "All those moments will be lost in time, like tears in rain. Time to die...",
            "8600dbd41e348fe5c9465ab92d23e3db8b98b873beecd930736488696438cb6b\
             547fe64427496db33bf66019dacbf0039c04199abb0122918601db38a72cfc21",
        ),
        (
            "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140",
            "Satoshi Nakamoto",
            "fd567d121db66e382991534ada77a6bd3106f0a1098c231e47993447cd6af2d0\
             6b39cd0eb1bc8603e159ef5c20a5c8ad685a45b06ce9bebed3f153d10d93bed5",
        ),
        (
            "f8b8af8ce3c7cca5e300d33939540c10d45ce001b8f252bfbc57ba0342904181",
            "Alan Turing",
            "7063ae83e7f62bbb171798131b4a0564b956930092b33b07b395615d9ec7e15c\
             58dfcc1e00a35e1572f366ffe34ba0fc47db1e7189759b9fb233c5b05ab388ea",
        ),
    ] {
        deterministic(
            SignatureAlgorithm::Es256K,
            d,
            &[(message.as_bytes(), signature)],
        );
    }
}
