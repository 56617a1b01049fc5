//! The messages of the demo: a shop's topic, with a bit of everything that a topic can hold.

use super::{Composed, Composer, Compression, Draft};

const CITIES: [&str; 6] = ["Shenzhen", "Zürich", "São Paulo", "Reykjavík", "東京", "Nairobi"];
const ITEMS: [&str; 5] = ["kettle", "lamp", "notebook", "bicycle bell", "tea, 250 g"];
const COMPRESSIONS: [Compression; 5] =
    [Compression::None, Compression::Lz4, Compression::Zlib, Compression::Zstd, Compression::Snappy];

/// `n` messages, in some fewer entries: the same for the same arguments, whatever the machine.
///
/// Published from `base_time` (ms since the epoch) on, about one in two seconds, by three producers.
/// Most are orders as JSON; between them stand plain lines, binary values, empty values, null values,
/// keys of both kinds, properties, event times, and batches in each compression.
pub fn sample(n: usize, base_time: u64) -> Vec<Composed> {
    let mut producers = ["checkout-1", "checkout-2", "warehouse"].map(Composer::new);
    let mut entries = Vec::new();
    let mut made = 0;
    while made < n {
        let round = entries.len();
        let producer = &mut producers[round % 3];
        let time = base_time + 2_000 * made as u64;
        *producer = producer.clone().at(time).compression(COMPRESSIONS[round % COMPRESSIONS.len()]);
        let count = if round % 4 == 3 { (2 + round % 9).min(n - made) } else { 1 };
        entries.push(match count {
            1 => producer.single(draft(made, time)),
            _ => producer.batch((made..made + count).map(|index| draft(index, time))),
        });
        made += count;
    }
    entries
}

fn draft(index: usize, time: u64) -> Draft {
    let customer = format!("customer-{:04}", scatter(index) % 500);
    match index % 17 {
        3 => Draft::new(format!("GET /cart/{} 200 {} ms", scatter(index) % 900, 3 + scatter(index) % 80)),
        7 => {
            Draft::new(binary(index)).key_bytes(&(index as u32).to_be_bytes()).property("content-type", "image/x-thumb")
        }
        11 => Draft::null().key(&customer).property("reason", "account closed"),
        13 => Draft::new("").property("heartbeat", "true"),
        _ => Draft::new(order(index, &customer))
            .key(&customer)
            .ordering_key(format!("{}", index % 8).as_bytes())
            .property("source", if index.is_multiple_of(2) { "web" } else { "app" })
            .property("trace-id", &format!("{:016x}", scatter(index)))
            .event_time(time - 40 - (scatter(index) % 200) as u64),
    }
}

fn order(index: usize, customer: &str) -> String {
    let cents = 500 + scatter(index) % 20_000;
    let order = serde_json::json!({
        "order": 100_000 + index,
        "customer": customer,
        "city": CITIES[scatter(index) % CITIES.len()],
        "items": [{"name": ITEMS[index % ITEMS.len()], "count": 1 + index % 3}],
        "total": format!("{}.{:02}", cents / 100, cents % 100),
        "gift": index.is_multiple_of(5),
    });
    order.to_string()
}

fn binary(index: usize) -> Vec<u8> {
    (0..64 + index % 64).map(|at| scatter(index * 131 + at) as u8).collect()
}

/// A fixed function that looks random: the finaliser of SplitMix64, kept to 31 bits.
fn scatter(index: usize) -> usize {
    let mut bits = (index as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) & 0x7fff_ffff) as usize
}
