//! How much larger an envelope gets when it is decoded: reckoned before it is.
//!
//! A property without a name and a value is two bytes on the wire and 48 in memory, with a name and a value more than 100;
//! an envelope of megabytes, or a batch of some hundred bytes that decompresses to that, would take all there is.

use prost::encoding::{DecodeContext, decode_key, decode_varint, skip_field};

/// What one property, key or name takes in memory beside its bytes on the wire.
pub(super) const ITEM: usize = 112;
/// The most that the envelope of an entry may have, and the most of all members of a batch together. Clients' limits on a
/// message's and a batch's bytes are reached long before.
pub(super) const MOST_ITEMS: usize = 100_000;
pub(super) const MOST_ITEMS_IN_BATCH: usize = 200_000;

/// The properties, replication targets and encryption keys in the bytes of a `MessageMetadata`.
pub(super) fn of_envelope(bytes: &[u8]) -> usize {
    let mut items = 0;
    each(bytes, |tag, mut content| {
        items += usize::from([4, 7, 13].contains(&tag));
        if tag == 13 && decode_varint(&mut content).is_ok() {
            each(content, |tag, _| items += usize::from(tag == 3));
        }
    });
    items
}

/// The properties in the bytes of a `SingleMessageMetadata`.
pub(super) fn of_member(bytes: &[u8]) -> usize {
    let mut items = 0;
    each(bytes, |tag, _| items += usize::from(tag == 1));
    items
}

/// Visits every field, up to the first that does not parse: where a decoder stops, too.
fn each(mut bytes: &[u8], mut visit: impl FnMut(u32, &[u8])) {
    while !bytes.is_empty() {
        let Ok((tag, wire_type)) = decode_key(&mut bytes) else { return };
        let before = bytes;
        if skip_field(wire_type, tag, &mut bytes, DecodeContext::default()).is_err() {
            return;
        }
        visit(tag, &before[..before.len() - bytes.len()]);
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use pulsar::proto::{EncryptionKeys, KeyValue, MessageMetadata, SingleMessageMetadata};

    use super::*;

    #[test]
    fn all_that_comes_more_than_once_is_counted() {
        let property = || KeyValue { key: "k".into(), value: "v".into() };
        let key = EncryptionKeys { metadata: vec![property(), property()], ..EncryptionKeys::default() };
        let metadata = MessageMetadata {
            properties: vec![property(); 5],
            replicate_to: vec!["a".into(), "b".into()],
            encryption_keys: vec![key.clone(), key],
            partition_key: Some("k".into()),
            ..MessageMetadata::default()
        };
        assert_eq!(of_envelope(&metadata.encode_to_vec()), 5 + 2 + 2 + 4);
        let member = SingleMessageMetadata { properties: vec![property(); 3], ..SingleMessageMetadata::default() };
        assert_eq!(of_member(&member.encode_to_vec()), 3);
        assert_eq!(of_envelope(&[0xff; 9]) + of_member(&[0x0a, 9]), 0);
    }
}
