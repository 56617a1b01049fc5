//! The bucket as one run sees it: answers that come late, are lost, or say no.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tdmq_backup::object::is_stored;
use tdmq_backup::store::{Download, Expect, Found, Held, Listed, SHA256, Store, Upload, UploadId, Version};
use tdmq_backup::{Error, Kind, Result};
use tokio::time::{Instant, sleep, timeout_at};

use crate::deeds::{UNANSWERED, UNAVAILABLE, UPLOAD_ENDED};
use crate::world::{Expected, Flying, Landed, World};

/// How long after its writer's deadline, as each reads its own clock, a run takes a write to arrive no more.
pub const LATE_MS: u64 = 15 * 60 * 1000;
/// By how much a machine's clock may be wrong: of that time, two of them may take twice as much.
pub const MOST_WRONG_MS: u64 = 3 * 60 * 1000;

#[derive(Clone)]
pub struct Bucket {
    pub world: World,
    /// The partition whose run asks.
    pub topic: usize,
    /// When every answer must have come.
    pub until: Instant,
}

/// What a write is to meet.
enum Fate {
    Fine,
    /// The store says no, and does nothing.
    Refused,
    /// It arrives, and its answer does not.
    Unanswered,
    /// It is on its way when its writer gives up waiting.
    Late,
}

fn unavailable() -> Error {
    Error::new(Kind::Unavailable, UNAVAILABLE)
}

fn unknown() -> Error {
    Error::new(Kind::Unknown, UNANSWERED)
}

impl Bucket {
    /// A request that changes nothing, and its answer.
    async fn ask<T>(&self, answer: impl FnOnce(&mut crate::world::State) -> T + Send) -> Result<T> {
        let asked = async {
            self.world.step().await;
            let answer = {
                let mut state = self.world.state();
                if state.fails(60) { Err(unavailable()) } else { Ok(answer(&mut state)) }
            };
            self.world.step().await;
            answer
        };
        let answer = timeout_at(self.until, asked).await.unwrap_or_else(|_| Err(unavailable()));
        self.world.told(self.topic, answer)
    }

    /// A request that changes something. From the moment it is sent it may arrive, whatever becomes of us.
    async fn send(&self, write: Flying) -> Result<Landed> {
        let mut sent = false;
        let sending = async {
            let (id, fate) = {
                let mut state = self.world.state();
                let fate = match state.calm {
                    true => Fate::Fine,
                    false => match state.dice.roll(160) {
                        0..4 => Fate::Refused,
                        4..7 => Fate::Unanswered,
                        7 | 8 => Fate::Late,
                        _ => Fate::Fine,
                    },
                };
                let id = state.number();
                if !matches!(fate, Fate::Refused) {
                    state.flying.insert(id, write);
                }
                (id, fate)
            };
            sent = !matches!(fate, Fate::Refused);
            self.world.step().await;
            match fate {
                Fate::Refused => return Err(unavailable()),
                Fate::Late => {
                    sleep(Duration::from_secs(10)).await;
                    return Err(unknown());
                }
                Fate::Fine | Fate::Unanswered => {}
            }
            // It may have arrived while nobody looked; and of a run that stood still too long it never does.
            let landed = {
                let (mut state, now) = (self.world.state(), self.world.clock.now_ms());
                state.flying.retain(|_, write| now <= write.until);
                state.land(id)
            };
            self.world.step().await;
            match (fate, landed) {
                (Fate::Fine, Some(landed)) => Ok(landed),
                _ => Err(unknown()),
            }
        };
        let answer = match timeout_at(self.until, sending).await {
            Ok(answer) => answer,
            Err(_) if sent => Err(unknown()),
            Err(_) => Err(unavailable()),
        };
        self.world.told(self.topic, answer)
    }

    fn late(&self) -> u64 {
        let left = self.until.saturating_duration_since(self.world.clock.now());
        self.world.clock.now_ms() + left.as_millis() as u64 + LATE_MS - 2 * MOST_WRONG_MS
    }
}

impl Store for Bucket {
    async fn read_small(&self, key: &str) -> Result<Option<Found>> {
        let key = key.to_owned();
        self.ask(move |state| {
            let object = state.objects.get(&key)?;
            Some(Found { bytes: object.bytes.clone(), version: Version::new(object.tag.to_string()) })
        })
        .await
    }

    async fn write_small(&self, key: &str, bytes: Vec<u8>, expect: Expect<'_>) -> Result<Version> {
        let expect = match expect {
            Expect::Absent => Expected::Absent,
            Expect::Unchanged(version) => Expected::Tag(version.as_str().parse().unwrap()),
        };
        let is_head = key.ends_with("_head.json");
        let until = self.late();
        let write = Flying {
            by: self.world.run,
            key: key.to_owned(),
            bytes,
            metadata: BTreeMap::new(),
            expect,
            upload: None,
            until,
            is_head,
        };
        match self.send(write).await? {
            Landed::Stored(tag) => Ok(Version::new(tag.to_string())),
            Landed::Refused | Landed::NoUpload => Err(Error::new(Kind::Conflict, "the condition does not hold")),
        }
    }

    async fn begin(&self, upload: &Upload<'_>) -> Result<Option<UploadId>> {
        if upload.body.length() <= self.world.state().settings.part {
            return Ok(None);
        }
        let key = upload.key.to_owned();
        self.ask(move |state| {
            let id = format!("upload-{}", state.number());
            state.uploads.insert(id.clone(), key);
            Some(UploadId::new(id))
        })
        .await
    }

    async fn put(&self, upload: &Upload<'_>, begun: Option<&UploadId>) -> Result<()> {
        let mut metadata: BTreeMap<String, String> = upload.metadata.iter().cloned().collect();
        metadata.insert(SHA256.to_owned(), upload.body.sha256_hex());
        let write = Flying {
            by: self.world.run,
            key: upload.key.to_owned(),
            bytes: upload.body.slices().flat_map(|slice| slice.unwrap()).collect(),
            metadata,
            expect: Expected::Absent,
            upload: begun.map(|id| id.as_str().to_owned()),
            until: self.late(),
            is_head: false,
        };
        let digest = upload.body.sha256_hex();
        match self.send(write).await {
            Ok(Landed::Stored(_)) => Ok(()),
            Ok(Landed::Refused) => match is_stored(self, upload.key, &digest).await? {
                true => Ok(()),
                false => self.world.told(self.topic, Err(unavailable())),
            },
            Ok(Landed::NoUpload) => match is_stored(self, upload.key, &digest).await? {
                true => Ok(()),
                false => self.world.told(self.topic, Err(Error::new(Kind::Busy, UPLOAD_ENDED))),
            },
            Err(error) if error.kind() == Kind::Unknown => match is_stored(self, upload.key, &digest).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(error),
                Err(conflict) if conflict.kind() == Kind::Conflict => Err(conflict),
                Err(_) => Err(error),
            },
            Err(error) => {
                if let Some(id) = begun {
                    let _ = self.abort(upload.key, id).await;
                }
                Err(error)
            }
        }
    }

    async fn abort(&self, _key: &str, id: &UploadId) -> Result<()> {
        let id = id.as_str().to_owned();
        self.ask(move |state| drop(state.uploads.remove(&id))).await
    }

    async fn look(&self, key: &str) -> Result<Option<Held>> {
        let key = key.to_owned();
        self.ask(move |state| {
            let object = state.objects.get(&key)?;
            Some(Held {
                length: object.bytes.len() as u64,
                metadata: object.metadata.clone(),
                version: Version::new(object.tag.to_string()),
            })
        })
        .await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<(Vec<Listed>, bool)> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.ask(move |state| {
            let mut all = (state.objects.range(prefix.clone()..))
                .take_while(|(key, _)| key.starts_with(&prefix))
                .filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after))
                .map(|(key, object)| Listed { key: key.clone(), length: object.bytes.len() as u64 });
            let page: Vec<Listed> = all.by_ref().take(limit as usize).collect();
            (page, all.next().is_some())
        })
        .await
    }

    async fn open(&self, key: &str) -> Result<Option<Download>> {
        let key = key.to_owned();
        let bytes = self.ask(move |state| state.objects.get(&key).map(|object| object.bytes.clone())).await?;
        let Some(bytes) = bytes else { return Ok(None) };
        // The answer may break off in the middle.
        let broken = self.world.state().fails(80);
        let half = bytes.len() / 2;
        let chunks: Vec<Result<Bytes>> = match broken {
            true => vec![Ok(bytes[..half].to_vec().into()), self.world.told(self.topic, Err(unavailable()))],
            false => vec![Ok(bytes[..half].to_vec().into()), Ok(bytes[half..].to_vec().into())],
        };
        Ok(Some(Download::new(futures_util::stream::iter(chunks))))
    }
}
