import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.pulsar.client.api.CompressionType;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.common.schema.KeyValueEncodingType;

/** Every kind of message this client can make, by name. */
interface Cases {
    /** Sends one case. */
    interface Case {
        void send(Produce produce) throws Exception;
    }

    Map<String, Case> ALL = all();

    static Collection<String> names() {
        return ALL.keySet();
    }

    static Case find(String name) {
        Case found = ALL.get(name);
        if (found == null) {
            throw new IllegalArgumentException("no case '" + name + "'; there are " + names());
        }
        return found;
    }

    private static Map<String, Case> all() {
        Map<String, Case> cases = new LinkedHashMap<>();
        cases.put("plain", it -> it.send(it.producer(), plain()));
        cases.put("batch", it -> batch(it, CompressionType.NONE));
        for (CompressionType type : CompressionType.values()) {
            if (type != CompressionType.NONE) {
                String name = type.name().toLowerCase();
                cases.put("batch-" + name, it -> batch(it, type));
                cases.put("single-" + name, it -> it.send(it.producer().compressionType(type), single()));
                cases.put("chunked-" + name, it -> Special.chunked(it, type));
            }
        }
        cases.put("keys", it -> it.send(it.producer(), keys()));
        cases.put("properties", it -> it.send(it.producer(), properties()));
        cases.put("times", it -> it.send(it.producer(), times()));
        cases.put("delayed", it -> it.send(it.producer(), delayed()));
        cases.put("nulls", Special::nulls);
        cases.put("empty", it -> it.send(it.producer(), empty()));
        cases.put("empty-batch", it -> it.send(it.batching(CompressionType.NONE), empty()));
        cases.put("unicode", it -> it.send(it.producer(), unicode()));
        cases.put("sequence-ids", it -> it.send(it.producer(), sequenceIds()));
        cases.put("not-replicated", it -> it.send(it.producer(), replication()));
        cases.put("properties-1000", Limits::properties);
        cases.put("batch-1000", Limits::batch);
        cases.put("batch-by-key", Limits::batchByKey);
        cases.put("largest", Limits::largest);
        cases.put("schema", it -> Schemas.versions(it, org.apache.pulsar.common.schema.SchemaType.JSON));
        cases.put("schema-avro", it -> Schemas.versions(it, org.apache.pulsar.common.schema.SchemaType.AVRO));
        cases.put("schema-string", Schemas::string);
        cases.put("schema-int32", Schemas::int32);
        cases.put("schema-keyvalue", it -> Schemas.keyValue(it, KeyValueEncodingType.INLINE));
        cases.put("schema-keyvalue-separated", it -> Schemas.keyValue(it, KeyValueEncodingType.SEPARATED));
        cases.put("chunked", Special::chunked);
        cases.put("chunked-interleaved", Special::interleaved);
        cases.put("encrypted", Special::encrypted);
        cases.put("transactions", Transactions::send);
        cases.put("bulk", Bulk::send);
        return cases;
    }

    private static List<Draft> plain() {
        return List.of(
                Draft.of("{\"text\":\"h\u00e9llo \u4e16\u754c \ud83d\ude00\",\"n\":1}"),
                Draft.of(" \t{\"outer\":\"space\"} \r\n"),
                Draft.of("{\n  \"inner\": \"newline\"\r\n}"),
                Draft.of("plain text, not JSON"),
                Draft.of("text\nof two lines"),
                Draft.of(""),
                Draft.of(" "),
                Draft.bytes(0x00, 0xff, 0xfe, 0x80, 0xc3, 0x28, 0x0a),
                Draft.bytes('"', 0xc3, 0x28, '"'),
                Draft.of("[".repeat(64) + "]".repeat(64)),
                Draft.of("[".repeat(65) + "]".repeat(65)),
                Draft.of("{\"a\":".repeat(64) + "1" + "}".repeat(64)),
                Draft.of("{\"a\":".repeat(65) + "1" + "}".repeat(65)),
                Draft.of("[".repeat(20_000) + "]".repeat(20_000)),
                Draft.of("\"\\ud800\""),
                Draft.of("{\"\\udc00\":1}"),
                Draft.of("42"),
                Draft.of("-0.0"),
                Draft.of("1e400"),
                Draft.of("123456789012345678901234567890.10"),
                Draft.of("\"a string\""),
                Draft.of("true"),
                Draft.of("null"),
                Draft.of("NaN"),
                Draft.of("{\"twice\":1,\"twice\":2}"),
                Draft.of("{\"z\":1,\"a\":2}"),
                Draft.of("{\"cut\":"),
                Draft.of("{\"one\":1} {\"two\":2}"),
                Draft.of("\ufeff{\"byte\":\"order mark\"}"),
                Draft.of("{\"line\":\"\u2028\",\"nul\":\"\\u0000\"}"));
    }

    private static List<Draft> single() {
        return List.of(
                Draft.of("{\"short\":1}"),
                Draft.of(""),
                Draft.of("{\"long\":\"" + "compressible ".repeat(8_000) + "\"}").key("k").property("p", "v"),
                Draft.of(Bulk.payload(7, 100_000)));
    }

    private static void batch(Produce produce, CompressionType compression) throws Exception {
        try (Producer<byte[]> producer = produce.batching(compression).create()) {
            produce.send(producer, List.of(
                    Draft.of("{\"n\":0}").key("a").property("p", "0").eventTime(1_700_000_000_000L).sequenceId(100),
                    Draft.of("not JSON").keyBytes(0xff, 0x00, 0xfe).orderingKey(1, 2, 0xff).sequenceId(105),
                    Draft.none().key("gone").property("tombstone", "yes").sequenceId(106),
                    Draft.of("").property("p", "3").property("q", "").sequenceId(110),
                    Draft.of("{\"n\":4}").key("b").eventTime(1_700_000_000_004L).sequenceId(111)));
            produce.send(producer, List.of(Draft.of("{\"alone\":\"in its batch\"}").key("c").sequenceId(120)));
            List<Draft> many = new ArrayList<>();
            for (int i = 0; i < 100; i++) {
                many.add(Draft.of(Bulk.payload(i, 60 + i)).key("key-" + i % 7).property("i", "" + i).sequenceId(200 + i));
            }
            produce.send(producer, many);
            produce.send(producer, List.of(Draft.none().sequenceId(400), Draft.none().key("").sequenceId(401)));
        }
    }

    private static List<Draft> keys() {
        return List.of(
                Draft.of("1").key("text"),
                Draft.of("2").key("\u00e9\u4e16\ud83d\ude00 \"quoted\"\n"),
                Draft.of("3").key(""),
                Draft.of("4").key("k".repeat(2_000)),
                // Looks like base64, and is not marked as such.
                Draft.of("5").key("aGVsbG8="),
                Draft.of("6").keyBytes(0xff, 0xfe, 0x00, 0x80),
                Draft.of("7").keyBytes('t', 'e', 'x', 't'),
                Draft.of("8").keyBytes(),
                Draft.of("9").orderingKey('o', 'r', 'd', 'e', 'r'),
                Draft.of("10").key("text").orderingKey(0x00, 0xff),
                Draft.of("11").orderingKey(),
                Draft.of("12"));
    }

    private static List<Draft> properties() {
        Draft many = Draft.of("many");
        for (int i = 0; i < 200; i++) {
            many.property("name-" + (i * 37) % 200, "value " + i);
        }
        return List.of(
                Draft.of("none"),
                Draft.of("order").property("z", "1").property("a", "2").property("m", "3"),
                Draft.of("twice").property("same", "first").property("other", "x").property("same", "second"),
                Draft.of("unicode").property("n\u00e4me \u4e16\ud83d\ude00", "w\u00e9rt \ud83d\ude00"),
                Draft.of("quotes").property("a\"b'c\\d", "x\"y'z\\\n\t\u0001"),
                Draft.of("empty").property("", "empty name").property("empty value", ""),
                Draft.of("long").property("long", "v".repeat(50_000)),
                many);
    }

    private static List<Draft> times() {
        return List.of(
                Draft.of("none"),
                Draft.of("one").eventTime(1),
                Draft.of("past").eventTime(1_000_000_000_123L),
                Draft.of("far").eventTime(253_402_300_800_000L),
                Draft.of("largest").eventTime(Long.MAX_VALUE));
    }

    private static List<Draft> delayed() {
        return List.of(
                Draft.of("at once"),
                Draft.of("in an hour").deliverAfter(3_600_000),
                Draft.of("at a time").deliverAt(4_000_000_000_000L),
                Draft.of("long ago").deliverAt(1_000_000_000_000L),
                Draft.of("and at once"));
    }

    private static List<Draft> empty() {
        return List.of(
                Draft.of(""), Draft.none(), Draft.of("").key("k"), Draft.none().key("k"), Draft.of("").property("", ""), Draft.of(""));
    }

    /** Texts that go wrong where somebody cuts, folds, normalises or counts in another unit. */
    private static List<Draft> unicode() {
        List<Draft> drafts = new ArrayList<>();
        for (String text : List.of(
                "e\u0301 \u00e9", "\ud83d\udc68\u200d\ud83d\udc69\u200d\ud83d\udc67", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u202e left",
                "\u0000\u0001\u007f\u0085", "\ufffd\ufffe\uffff", "\udbff\udfff", "\u2028\u2029", "\ufeffmark", "\u0130 \u0131 \u00df \u1e9e")) {
            drafts.add(Draft.of(text).key(text).orderingKey(text).property(text, text));
            drafts.add(Draft.of("\"" + text + "\"").property(text + text, ""));
        }
        return drafts;
    }

    private static List<Draft> sequenceIds() {
        return List.of(
                Draft.of("counted"),
                Draft.of("seven").sequenceId(7),
                Draft.of("counted"),
                Draft.of("seven again").sequenceId(7),
                Draft.of("lower").sequenceId(3),
                Draft.of("beyond a double").sequenceId((1L << 53) + 1),
                Draft.of("largest").sequenceId(Long.MAX_VALUE),
                Draft.of("counted"));
    }

    private static List<Draft> replication() {
        return List.of(Draft.of("everywhere"), Draft.of("stays here").replicateTo("__local__"), Draft.of("goes there").replicateTo("elsewhere"));
    }
}
