import java.util.List;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.Schema;
import org.apache.pulsar.client.api.schema.GenericRecord;
import org.apache.pulsar.client.api.schema.GenericSchema;
import org.apache.pulsar.client.api.schema.RecordSchemaBuilder;
import org.apache.pulsar.client.api.schema.SchemaBuilder;
import org.apache.pulsar.common.schema.KeyValue;
import org.apache.pulsar.common.schema.KeyValueEncodingType;
import org.apache.pulsar.common.schema.SchemaType;

/** Messages that name the schema they were written with. Which version it is, the reader sees. */
final class Schemas {
    private Schemas() {}

    /** Two versions of one schema, so that the version in a message means something. */
    static void versions(Produce produce, SchemaType type) throws Exception {
        for (boolean second : new boolean[] {false, true}) {
            RecordSchemaBuilder fields = SchemaBuilder.record("Reading");
            fields.field("sensor").type(SchemaType.STRING).optional().defaultValue(null);
            fields.field("value").type(SchemaType.INT64).optional().defaultValue(null);
            if (second) {
                fields.field("unit").type(SchemaType.STRING).optional().defaultValue(null);
            }
            GenericSchema<GenericRecord> schema = Schema.generic(fields.build(type));
            try (Producer<GenericRecord> producer = produce.common(produce.client().newProducer(schema)).create()) {
                for (long i = 0; i < 2; i++) {
                    var record = schema.newRecordBuilder().set("sensor", "s-" + i).set("value", i);
                    if (second) {
                        record.set("unit", "\u00b0C");
                    }
                    GenericRecord value = record.build();
                    new Line()
                            .id(producer.newMessage().key("s-" + i).value(value).send())
                            .bytes("payload_base64", schema.encode(value))
                            .put("key", "s-" + i)
                            .put("properties", List.of())
                            .put("sequence_id", i)
                            .put("producer_name", producer.getProducerName())
                            .print();
                }
            }
        }
    }

    static void string(Produce produce) throws Exception {
        values(produce, Schema.STRING, List.of("text", "", "{\"json\":1}", "\u4e16\ud83d\ude00"));
    }

    static void int32(Produce produce) throws Exception {
        values(produce, Schema.INT32, List.of(0, 1, -1, Integer.MAX_VALUE));
    }

    /** Inline both are in the payload; separated the key is the message's key. */
    static void keyValue(Produce produce, KeyValueEncodingType encoding) throws Exception {
        Schema<KeyValue<String, Integer>> schema = Schema.KeyValue(Schema.STRING, Schema.INT32, encoding);
        List<KeyValue<String, Integer>> values = List.of(new KeyValue<>("one", 1), new KeyValue<>("", 2));
        boolean separated = encoding == KeyValueEncodingType.SEPARATED;
        try (Producer<KeyValue<String, Integer>> producer = produce.common(produce.client().newProducer(schema)).create()) {
            for (int i = 0; i < values.size(); i++) {
                KeyValue<String, Integer> value = values.get(i);
                byte[] payload = separated ? Schema.INT32.encode(value.getValue()) : schema.encode(value);
                new Line()
                        .id(producer.newMessage().value(value).send())
                        .bytes("payload_base64", payload)
                        .bytes("key_base64", separated ? Schema.STRING.encode(value.getKey()) : null)
                        .put("properties", List.of())
                        .put("sequence_id", i)
                        .put("producer_name", producer.getProducerName())
                        .print();
            }
        }
    }

    private static <T> void values(Produce produce, Schema<T> schema, List<T> values) throws Exception {
        try (Producer<T> producer = produce.common(produce.client().newProducer(schema)).create()) {
            for (int i = 0; i < values.size(); i++) {
                new Line()
                        .id(producer.newMessage().value(values.get(i)).send())
                        .bytes("payload_base64", schema.encode(values.get(i)))
                        .put("properties", List.of())
                        .put("sequence_id", i)
                        .put("producer_name", producer.getProducerName())
                        .print();
            }
        }
    }
}
