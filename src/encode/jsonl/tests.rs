use proptest::prelude::*;

use super::*;
use crate::message::{Chunk, Chunks, Encryption, EncryptionKey, MessageId, Position, Undecodable};

/// A message with nothing that may be left out.
fn bare(body: Body<'_>) -> Message<'_> {
    Message {
        id: MessageId { position: Position::new(12, 34), partition: -1, batch_index: None },
        publish_time: 1_700_000_000_123,
        event_time: None,
        broker_time: None,
        index: None,
        key: None,
        ordering_key: None,
        properties: Vec::new(),
        producer_name: "p-1",
        sequence_id: 7,
        schema_version: None,
        replicated_from: None,
        deliver_at_time: None,
        null_partition_key: false,
        transaction: None,
        chunks: None,
        body,
    }
}

const BARE: &str = r#"{"id":"12:34:-1","publish_time":1700000000123,"producer_name":"p-1","sequence_id":7"#;

fn line(message: &Message<'_>) -> String {
    let mut out = Vec::new();
    write(message, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// The line is `expected`, and gives the message back.
#[track_caller]
fn is_written_as(message: &Message<'_>, expected: &str) {
    assert_eq!(line(message), expected);
    assert_eq!(read(expected.as_bytes()).unwrap().message(), *message);
}

#[track_caller]
fn payload_is_written_as(payload: &[u8], member: &str) {
    is_written_as(&bare(Body::Payload(payload)), &format!("{BARE},{member}}}\n"));
}

#[test]
fn every_field_has_its_place() {
    let message = Message {
        id: MessageId { position: Position::new(12, 34), partition: 5, batch_index: Some(6) },
        publish_time: 1_700_000_000_123,
        event_time: Some(1_600_000_000_000),
        broker_time: Some(1_700_000_000_456),
        index: Some(99),
        key: Some(Key::Text("order \"7\"\n")),
        ordering_key: Some(b"\x00\xff"),
        properties: vec![("z", "1"), ("a", "é\t"), ("z", "2"), ("", "")],
        producer_name: "cluster-0-1",
        sequence_id: u64::MAX,
        schema_version: Some(&[0, 0, 0, 0, 0, 0, 0, 3]),
        replicated_from: Some("west"),
        deliver_at_time: Some(-1),
        null_partition_key: true,
        transaction: Some((1, u64::MAX)),
        chunks: Some(Chunks {
            first: MessageId { position: Position::new(12, 30), partition: 5, batch_index: None },
            uuid: "p-1-7",
            count: 3,
        }),
        body: Body::Payload(br#"{"n": 1}"#),
    };
    is_written_as(
        &message,
        concat!(
            r#"{"id":"12:34:5:6","publish_time":1700000000123,"event_time":1600000000000,"broker_time":1700000000456,"#,
            r#""index":99,"key":"order \"7\"\n","ordering_key":"AP8=","properties":{"z":"1","a":"é\t","z":"2","":""},"#,
            r#""producer_name":"cluster-0-1","sequence_id":18446744073709551615,"schema_version":"AAAAAAAAAAM=","#,
            r#""replicated_from":"west","deliver_at_time":-1,"null_partition_key":true,"txnid_most_bits":1,"#,
            r#""txnid_least_bits":18446744073709551615,"first_chunk_id":"12:30:5","uuid":"p-1-7","num_chunks_from_msg":3,"#,
            r#""value":{"n": 1}}"#,
            "\n",
        ),
    );
}

#[test]
fn json_on_one_line_is_kept_verbatim() {
    payload_is_written_as(
        br#"{"b":1,"a":[1.50,1E400],"b":"\u0041\/"}"#,
        r#""value":{"b":1,"a":[1.50,1E400],"b":"\u0041\/"}"#,
    );
    payload_is_written_as(b"null", r#""value":null"#);
    payload_is_written_as(b"-0", r#""value":-0"#);
    payload_is_written_as(br#""text""#, r#""value":"text""#);
}

#[test]
fn other_text_is_a_string() {
    payload_is_written_as(b"", r#""text":"""#);
    payload_is_written_as(b" 1", r#""text":" 1""#);
    payload_is_written_as(b"{\n}", r#""text":"{\n}""#);
    payload_is_written_as(b"1\r\n", r#""text":"1\r\n""#);
    payload_is_written_as(br#""\ud800""#, r#""text":"\"\\ud800\"""#);
    payload_is_written_as(b"a\\b\x00\x1f\x7f", "\"text\":\"a\\\\b\\u0000\\u001f\x7f\"");
    payload_is_written_as("é\u{2028}\u{feff}".as_bytes(), "\"text\":\"é\u{2028}\u{feff}\"");
}

#[test]
fn other_bytes_are_base64() {
    payload_is_written_as(b"\xff", r#""base64":"/w==""#);
    payload_is_written_as(b"\"\xc3\"", r#""base64":"IsMi""#);
    payload_is_written_as(b"\xed\xa0\x80\xfb\xef", r#""base64":"7aCA++8=""#);
}

#[test]
fn a_null_value_is_not_an_empty_payload() {
    is_written_as(&bare(Body::Null), &format!("{BARE},\"null_value\":true}}\n"));
}

#[test]
fn a_key_of_bytes_stays_base64_and_one_that_is_not_base64_is_not_lost() {
    for (text, member) in [
        ("AP8=", r#""key_base64":"AP8=""#),
        ("", r#""key_base64":"""#),
        ("AP8", r#""key_base64_invalid":"AP8""#),
        ("AP9=", r#""key_base64_invalid":"AP9=""#),
        ("A-8=", r#""key_base64_invalid":"A-8=""#),
        ("AP8=\n", r#""key_base64_invalid":"AP8=\n""#),
    ] {
        let mut message = bare(Body::Null);
        message.key = Some(Key::Base64(text));
        let head = r#"{"id":"12:34:-1","publish_time":1700000000123"#;
        is_written_as(
            &message,
            &format!("{head},{member},\"producer_name\":\"p-1\",\"sequence_id\":7,\"null_value\":true}}\n"),
        );
    }
}

#[test]
fn what_cannot_be_decoded_is_kept_with_all_that_the_wire_says_of_it() {
    let undecodable = Undecodable {
        metadata: Some(b"\xff"),
        reason: "no key named \"k\"".to_owned(),
        raw: b"\x00raw",
        compression: 3,
        uncompressed_size: Some(u32::MAX),
        num_messages_in_batch: Some(2),
        chunk: Some(Chunk { uuid: "p-1-7", id: 0, of: 2, total_size: 100 }),
        encryption: Some(Encryption {
            keys: vec![
                EncryptionKey { name: "k", value: b"\x01", metadata: vec![("version", "2")] },
                EncryptionKey { name: "k", value: b"", metadata: Vec::new() },
            ],
            algorithm: "",
            param: b"iv",
        }),
    };
    is_written_as(
        &bare(Body::Undecodable(undecodable)),
        &(BARE.to_owned()
            + concat!(
                r#","undecodable":{"reason":"no key named \"k\"","metadata_base64":"/w==","compression":3,"uncompressed_size":4294967295,"#,
                r#""num_messages_in_batch":2,"chunk":{"uuid":"p-1-7","id":0,"of":2,"total_size":100},"#,
                r#""encryption":{"keys":[{"name":"k","value_base64":"AQ==","metadata":[["version","2"]]},{"name":"k","value_base64":""}],"#,
                r#""algorithm":"","param_base64":"aXY="}},"raw_base64":"AHJhdw=="}"#,
                "\n",
            )),
    );
}

#[test]
fn what_cannot_be_decoded_may_have_nothing_but_a_reason() {
    let undecodable = Undecodable {
        metadata: None,
        reason: "?".to_owned(),
        raw: b"",
        compression: 0,
        uncompressed_size: None,
        num_messages_in_batch: None,
        chunk: None,
        encryption: None,
    };
    let expected = format!("{BARE},\"undecodable\":{{\"reason\":\"?\",\"compression\":0}},\"raw_base64\":\"\"}}\n");
    is_written_as(&bare(Body::Undecodable(undecodable)), &expected);
}

#[test]
fn a_line_that_is_not_a_record_is_corrupt() {
    for wrong in [
        "",
        "{}",
        "[]",
        &BARE[..20],
        &format!("{BARE}}}"),
        &format!("{BARE},\"text\":\"\",\"value\":1}}"),
        &format!("{BARE},\"text\":\"\",\"null_value\":true}}"),
        &format!("{BARE},\"raw_base64\":\"\"}}"),
        &format!("{BARE},\"text\":\"\",\"text\":\"\"}}"),
        &format!("{BARE},\"base64\":\"/w\"}}"),
        &format!("{BARE},\"text\":\"\",\"colour\":1}}"),
        &format!("{BARE},\"txnid_most_bits\":1,\"text\":\"\"}}"),
        &format!("{BARE},\"first_chunk_id\":\"12:30:5\",\"num_chunks_from_msg\":3,\"text\":\"\"}}"),
        &format!("{BARE},\"uuid\":\"p-1-7\",\"text\":\"\"}}"),
        &format!("{BARE},\"key\":\"a\",\"key_base64\":\"\",\"text\":\"\"}}"),
        &format!("{BARE},\"text\":\"\"}} {{}}"),
        &format!("{},\"text\":\"\"}}", BARE.replace("12:34:-1", "12:34")),
        &format!("{},\"text\":\"\"}}", BARE.replace("12:34:-1", "12:34:-1:0:0")),
    ] {
        assert_eq!(read(wrong.as_bytes()).expect_err(wrong).kind(), crate::Kind::Corrupt, "{wrong}");
    }
}

#[test]
fn a_fingerprint_is_read_past_any_payload_and_any_later_member() {
    for payload in [r#""value":[[{"id":"0:0:0"}]]"#, r#""text":"\u0000""#, r#""base64":"not base64""#, r#""colour":1"#]
    {
        let line = format!("{BARE},{payload}}}\n");
        let expected = Fingerprint {
            id: bare(Body::Null).id,
            publish_time: 1_700_000_000_123,
            producer_name: "p-1".into(),
            sequence_id: 7,
            first_chunk_id: None,
            uuid: None,
        };
        assert_eq!(fingerprint(line.as_bytes()).unwrap(), expected);
    }
    assert!(fingerprint(b"{}").is_err());
}

#[test]
fn a_fingerprint_is_read_from_the_beginning_of_a_line_once_it_is_whole() {
    let line = format!("{BARE},\"text\":\"and so on");
    for length in 0..=line.len() {
        match fingerprint(&line.as_bytes()[..length]) {
            Ok(found) => assert_eq!((found.sequence_id, length > BARE.len()), (7, true)),
            Err(_) => assert!(length < BARE.len() + 8, "{length}"),
        }
    }
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        json::oracle::json().prop_map(String::into_bytes),
        any::<String>().prop_map(String::into_bytes),
        any::<Vec<u8>>(),
        (json::oracle::json().prop_map(String::into_bytes), any::<prop::sample::Index>(), any::<u8>()).prop_map(
            |(mut json, at, byte)| {
                let at = at.index(json.len());
                json[at] = byte;
                json
            }
        ),
    ]
}

type Numbers = (i64, i64, i32, Option<u32>, [u64; 2], [Option<u64>; 3], Option<i64>, Option<(u64, u64)>);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_message_comes_back_from_its_line(
        numbers: Numbers,
        texts: [String; 2],
        key: Option<(bool, String)>,
        options: (Option<Vec<u8>>, Option<Vec<u8>>, Option<String>, bool),
        properties in prop::collection::vec(any::<(String, String)>(), 0..4),
        payload in payload(),
        body in 0..4,
    ) {
        let (ledger, entry, partition, batch_index, [publish_time, sequence_id], optional, deliver_at_time, transaction) = numbers;
        let message = Message {
            id: MessageId { position: Position::new(ledger, entry), partition, batch_index },
            publish_time,
            event_time: optional[0],
            broker_time: optional[1],
            index: optional[2],
            key: key.as_ref().map(|(text, key)| if *text { Key::Text(key) } else { Key::Base64(key) }),
            ordering_key: options.0.as_deref(),
            properties: properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            producer_name: &texts[0],
            sequence_id,
            schema_version: options.1.as_deref(),
            replicated_from: options.2.as_deref(),
            deliver_at_time,
            null_partition_key: options.3,
            transaction,
            chunks: transaction.map(|_| Chunks { first: MessageId { position: Position::new(entry, ledger), partition, batch_index }, uuid: &texts[1], count: partition }),
            body: match body {
                0 => Body::Null,
                1 => Body::Undecodable(Undecodable {
                    metadata: deliver_at_time.map(|_| &payload[..]),
                    reason: texts[1].clone(),
                    raw: &payload,
                    compression: partition,
                    uncompressed_size: batch_index,
                    num_messages_in_batch: batch_index.map(|_| partition),
                    chunk: batch_index.map(|_| Chunk { uuid: &texts[1], id: 1, of: partition, total_size: -1 }),
                    encryption: deliver_at_time.map(|_| Encryption { keys: vec![EncryptionKey { name: &texts[1], value: &payload, metadata: vec![(&texts[0], &texts[1])] }], algorithm: &texts[0], param: &payload }),
                }),
                _ => Body::Payload(&payload),
            },
        };
        let line = line(&message);
        prop_assert!(line.ends_with("}\n") && line.lines().count() == 1 && !line.contains('\r'), "{}", line);
        serde_json::from_str::<serde::de::IgnoredAny>(&line).unwrap();
        let record = read(line.as_bytes()).unwrap();
        prop_assert_eq!(record.message(), message.clone());
        let fingerprint = fingerprint(line.as_bytes()).unwrap();
        prop_assert_eq!((fingerprint.id, fingerprint.publish_time), (message.id, message.publish_time));
        prop_assert_eq!(fingerprint.first_chunk_id, message.chunks.as_ref().map(|chunks| chunks.first));
        prop_assert_eq!(fingerprint.uuid, message.chunks.as_ref().map(|chunks| Name::from(chunks.uuid)));
        prop_assert_eq!((fingerprint.producer_name, fingerprint.sequence_id), (message.producer_name.into(), message.sequence_id));
    }
}
