//! Promises about objects in parts.

use super::*;

/// Two parts that are not alike.
fn long(seed: u32) -> Vec<u8> {
    (0..(PART as u32 + (1 << 20)) / 4).flat_map(|n: u32| (n ^ seed).wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

pub async fn a_long_object_comes_back_whole_with_its_metadata_and_one_of_two_wins(place: &Place) {
    let (ours, theirs) = (Body::from(long(1)), Body::from(long(2)));
    let metadata = [("first-id".to_owned(), "12:0".to_owned()), ("filler".to_owned(), "x".repeat(1800))];
    let store = place.open();
    let id = store.begin(&upload("key", &ours, &metadata)).await.unwrap().unwrap();
    assert!(store.look("key").await.unwrap().is_none());
    store.put(&upload("key", &ours, &metadata), Some(&id)).await.unwrap_or_else(failed);
    store.put(&upload("key", &ours, &metadata), None).await.unwrap_or_else(failed);
    assert!(read(&store, "key").await == long(1));
    let held = store.look("key").await.unwrap().unwrap();
    assert_eq!(held.length, ours.length());
    assert_eq!((held.metadata["first-id"].as_str(), held.metadata["filler"].len()), ("12:0", 1800));
    assert_eq!(held.metadata["sha256"], ours.sha256_hex());
    assert!(held.version.as_str().trim_matches('"').ends_with("-2"), "{:?}", held.version);
    let error = store.put(&upload("key", &theirs, &[]), None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{}", error.chain());
    assert!(read(&store, "key").await == long(1));

    let (one, other) = (upload("raced", &ours, &[]), upload("raced", &theirs, &[]));
    let (one, other) = tokio::join!(store.put(&one, None), store.put(&other, None));
    let outcomes = [one, other].map(|outcome| outcome.map_err(|error| error.kind()));
    assert!(outcomes.contains(&Ok(())) && outcomes.contains(&Err(Kind::Conflict)), "{outcomes:?}");
}

pub async fn an_upload_that_was_ended_takes_no_part_and_leaves_no_object(place: &Place) {
    let body = Body::from(long(3));
    let store = place.open();
    let id = store.begin(&upload("key", &body, &[])).await.unwrap().unwrap();
    store.abort("key", &id).await.unwrap_or_else(failed);
    store.abort("key", &id).await.unwrap_or_else(failed);
    let error = store.put(&upload("key", &body, &[]), Some(&id)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Busy, "{}", error.chain());
    assert!(store.look("key").await.unwrap().is_none());
}

pub async fn an_upload_that_a_dead_writer_left_is_ended_and_its_object_stored(place: &Place) {
    let body = Body::from(long(4));
    let (dead, store) = (place.open(), place.open());
    let id = dead.begin(&upload("key", &body, &[])).await.unwrap().unwrap();
    // It dies with parts on their way: it is polled while a successor asks the same server.
    {
        let metadata = [];
        let object = upload("key", &body, &metadata);
        let mut put = std::pin::pin!(dead.put(&object, Some(&id)));
        tokio::select! {
            biased;
            _ = &mut put => panic!("it was to die"),
            listed = store.list("key", None, 1) => assert!(listed.unwrap().0.is_empty()),
        }
    }
    store.abort("key", &id).await.unwrap_or_else(failed);
    let next = store.begin(&upload("key", &body, &[])).await.unwrap().unwrap();
    assert_ne!(next, id);
    store.put(&upload("key", &body, &[]), Some(&next)).await.unwrap_or_else(failed);
    assert!(read(&store, "key").await == long(4));
    // What the dead one sends late meets nothing, and finds that the object is there.
    match dead.put(&upload("key", &body, &[]), Some(&id)).await {
        Ok(()) => {}
        Err(error) => assert_eq!(error.kind(), Kind::Busy, "{}", error.chain()),
    }
    assert!(read(&store, "key").await == long(4));
}
