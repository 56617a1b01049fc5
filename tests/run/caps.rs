//! Where an object ends.

use tdmq_backup::report::Stop;

use crate::world::World;

#[tokio::test]
async fn an_object_ends_at_max_messages_and_at_an_entrys_end() {
    let mut world = World::new().await;
    world.set("max_messages", 5);
    let ids = world.send(&[2, 2, 2, 2]);
    let report = world.run().await;
    assert_eq!((report.stop, report.messages), (Some(Stop::MaxMessages), 4));
    assert_eq!(world.mark_delete(), ids[1]);
    assert_eq!(report.backlog_entries, Some(2));
    assert_eq!(report.complete_through, None);
    world.drain(3).await;
    world.assert_exactly_once();
    assert_eq!(world.objects().len(), 2);
}

#[tokio::test]
async fn max_bytes_bounds_the_records_before_compression() {
    let mut world = World::new().await;
    world.set("max_bytes", 10_000);
    for _ in 0..30 {
        world.send_entry(1, 1000);
    }
    let report = world.run().await;
    assert_eq!(report.stop, Some(Stop::MaxBytes));
    let object = &report.objects[0];
    assert!(object.bytes_before_compression <= 10_000 && object.bytes < object.bytes_before_compression);
    world.drain(10).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn max_bytes_bounds_the_written_file_too() {
    let mut world = World::new().await;
    world.set("max_bytes", 10_000);
    world.set("compression", "\"none\"");
    for _ in 0..30 {
        world.send_entry(1, 1000);
    }
    world.drain(10).await;
    world.assert_exactly_once();
    for key in world.objects() {
        assert!(key.ends_with(".jsonl") && world.bucket.read(&key).unwrap().len() <= 10_000);
    }
}

#[tokio::test]
async fn max_objects_repeats_this_while_time_lasts() {
    let mut world = World::new().await;
    world.set("max_messages", 2);
    world.set("max_objects", 3);
    world.send(&[1; 8]);
    let report = world.run().await;
    assert_eq!((report.objects.len(), report.messages), (3, 6));
    assert_eq!(report.backlog_entries, Some(2));
    assert!(report.pace.is_some_and(|pace| pace.capacity_per_second == 0.02));
    world.drain(3).await;
    world.assert_exactly_once();
}

#[tokio::test]
async fn an_entry_that_does_not_fit_is_the_first_of_the_next_object() {
    let mut world = World::new().await;
    world.set("max_messages", 3);
    world.set("max_objects", 4);
    let ids = world.send(&[2, 2, 2, 2]);
    let report = world.run().await;
    let firsts: Vec<_> = report.objects.iter().map(|object| object.first_id.position).collect();
    assert_eq!(firsts, ids);
    world.assert_exactly_once();
}
