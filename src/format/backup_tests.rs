use super::backup::*;
use crate::error::ErrorKind;

const RECIPIENT: [u8; RECIPIENT_STANZA_LENGTH] = [7; RECIPIENT_STANZA_LENGTH];
const HEADER_MAC: [u8; BACKUP_MAC_LENGTH] = [8; BACKUP_MAC_LENGTH];

/// A container with these stanzas around a payload of this length, as far as its framing goes.
fn blob(stanzas: &[Stanza<'_>], payload: usize) -> Vec<u8> {
    let header = encode_header(2, Modes::KEY, [0; 16], [6; 16], 5, stanzas).unwrap();
    [&header[..], &HEADER_MAC, &vec![9; payload]].concat()
}

fn kind(blob: &[u8]) -> Result<usize, ErrorKind> {
    Container::parse(blob)
        .map(|container| container.stanzas.len())
        .map_err(|error| error.kind())
}

#[test]
fn a_container_is_cut_into_the_parts_that_were_put_together() {
    let blob = blob(&[Stanza::Recipient(&RECIPIENT)], 100);
    let header = 64 + 8 + 80 + 64;
    assert_eq!(blob[..8], *b"SRMBKP01");
    assert_eq!(blob[8..16], [0, 1, 2, 2, 0, 0, 0, 216]);
    assert_eq!(blob[64..72], [0, 2, 0, 80, 0, 0, 0, 0]);
    let container = Container::parse(&blob).unwrap();
    assert_eq!(container.header, &blob[..header]);
    assert_eq!(container.header_mac_input, &blob[..header - 64]);
    assert_eq!(container.header_mac, HEADER_MAC);
    assert_eq!(container.sealed_payload, &blob[header..]);
    assert_eq!(container.domain_mac_input, blob);
    assert_eq!((container.domain_mac, container.suite), (None, 2));
    assert_eq!(container.blob_id, [6; 16]);
    assert_eq!(container.created_unix_milliseconds, 5);
    assert_eq!(container.domain_stanza(), None);
    assert_eq!(container.stanzas, [Stanza::Recipient(&RECIPIENT)]);
}

#[test]
fn a_container_has_one_to_sixteen_stanzas_and_a_payload_of_a_chunk_at_least() {
    let stanzas = [Stanza::Recipient(&RECIPIENT); 17];
    for count in [1, 2, 16] {
        assert_eq!(blob(&stanzas[..count], 72)[11], 2, "the mode of recipients");
        assert_eq!(kind(&blob(&stanzas[..count], 72)), Ok(count));
        let short = blob(&stanzas[..count], 71);
        assert_eq!(kind(&short), Err(ErrorKind::InvalidBackup));
    }
    for count in [0, 17] {
        let error = encode_header(2, Modes::KEY, [0; 16], [6; 16], 5, &stanzas[..count]);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::BadParameter);
    }
    // A seventeenth put in by hand, with the count and the length of the header.
    let sixteen = blob(&stanzas[..16], 72);
    let stanza = &sixteen[64..152];
    let mut seventeen = [&sixteen[..64], stanza, &sixteen[64..]].concat();
    let length = u32::from_be_bytes(sixteen[12..16].try_into().unwrap()) + 88;
    seventeen[12..16].copy_from_slice(&length.to_be_bytes());
    seventeen[57] = 17;
    assert_eq!(kind(&seventeen), Err(ErrorKind::InvalidBackup));
    // And none of them.
    let mut none = blob(&stanzas[..1], 72);
    none[57] = 0;
    assert_eq!(kind(&none), Err(ErrorKind::InvalidBackup));
}

#[test]
fn modes_contain_their_bits_and_contents_are_two_of_them() {
    let contents = [Modes::DOMAIN_FILE, Modes::WHOLE_VAULT];
    let ways = [Modes::DOMAIN, Modes::RECIPIENTS, Modes::PASSPHRASE];
    let all: Vec<Modes> = contents.into_iter().chain(ways).collect();
    for one in &all {
        for other in &all {
            assert_eq!(one.contains(*other), one == other);
        }
        assert!(one.contains(Modes::KEY) && !Modes::KEY.contains(*one));
    }
    assert_eq!(contents.map(Modes::contents), contents);
    assert_eq!(ways.map(Modes::contents), [Modes::KEY; 3]);
}
