package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/apache/pulsar-client-go/pulsar"
)

type named struct {
	name string
	send func(*session) error
}

// Every kind of message that this client makes in its own way. It knows no null values (a nil payload is an empty one on the
// wire), no keys of bytes, and no property twice.
var cases = all()

func all() []named {
	found := []named{
		drafts("plain", plain),
		{"batch", batch(pulsar.NoCompression, pulsar.Default)},
		drafts("keys", keys),
		drafts("properties", properties),
		drafts("properties-1000", func() []draft { return []draft{{payload: text("many"), properties: many(1_000)}} }),
		drafts("times", times),
		drafts("sequence-ids", sequenceIDs),
		drafts("delayed", delayed),
		drafts("empty", empty),
		{"empty-batch", func(s *session) error { return s.send(empty(), batching) }},
		{"batch-1000", func(s *session) error { return s.send(tiny(1_000), batching) }},
		{"batch-by-key", batchByKey},
		{"largest", largest},
		drafts("not-replicated", func() []draft { return []draft{{payload: text("stays"), local: true}, {payload: text("goes")}} }),
		{"schema", schemas},
		{"encrypted", encrypted},
		{"chunked", chunked(pulsar.NoCompression)},
	}
	for _, codec := range []struct {
		name string
		by   pulsar.CompressionType
	}{{"lz4", pulsar.LZ4}, {"zlib", pulsar.ZLib}, {"zstd", pulsar.ZSTD}, {"snappy", pulsar.SNAPPY}} {
		found = append(found,
			named{"batch-" + codec.name, batch(codec.by, pulsar.Default)},
			named{"single-" + codec.name, func(s *session) error { return s.send(single(), compressed(codec.by, pulsar.Default)) }},
			named{"chunked-" + codec.name, chunked(codec.by)})
	}
	for _, level := range []struct {
		name string
		at   pulsar.CompressionLevel
	}{{"faster", pulsar.Faster}, {"better", pulsar.Better}} {
		found = append(found, named{"batch-zstd-" + level.name, batch(pulsar.ZSTD, level.at)})
	}
	return found
}

func drafts(name string, make func() []draft) named {
	return named{name, func(s *session) error { return s.send(make()) }}
}

func text(it string) []byte { return []byte(it) }

func at(it int64) *int64 { return &it }

func plain() []draft {
	var found []draft
	for _, it := range []string{
		`{"text":"héllo 世界 😀","n":1}`, " \t{\"outer\":\"space\"} \r\n", "{\n  \"inner\": \"newline\"\r\n}", "plain text, not JSON",
		"text\nof two lines", "", "\x00\xff\xfe\x80\xc3\x28\n", strings.Repeat("[", 64) + strings.Repeat("]", 64), `"\ud800"`, "42",
		"-0.0", "1e400", "123456789012345678901234567890.10", `"a string"`, "true", "null", `{"twice":1,"twice":2}`,
	} {
		found = append(found, draft{payload: text(it)})
	}
	return found
}

func single() []draft {
	return []draft{
		{payload: text(`{"short":1}`)},
		{payload: text("")},
		{payload: text(`{"long":"` + strings.Repeat("compressible ", 8_000) + `"}`), key: "k", properties: map[string]string{"p": "v"}},
		{payload: noise(100_000)},
	}
}

func batch(by pulsar.CompressionType, level pulsar.CompressionLevel) func(*session) error {
	return func(s *session) error {
		producer, err := s.producer(batching, compressed(by, level))
		if err != nil {
			return err
		}
		for _, entry := range [][]draft{
			{
				{payload: text(`{"n":0}`), key: "a", properties: map[string]string{"p": "0"}, eventTime: at(1_700_000_000_000), sequenceID: at(100)},
				{payload: text("not JSON"), ordering: "order", sequenceID: at(105)},
				{payload: text(""), properties: map[string]string{"p": "3", "q": ""}, sequenceID: at(110)},
				{payload: text(`{"n":4}`), key: "b", eventTime: at(1_700_000_000_004), sequenceID: at(111)},
			},
			{{payload: text(`{"alone":"in its batch"}`), key: "c", sequenceID: at(120)}},
			tiny(100),
		} {
			if err := producer.send(entry); err != nil {
				return err
			}
		}
		return nil
	}
}

func tiny(count int) []draft {
	found := make([]draft, count)
	for i := range found {
		found[i] = draft{payload: fmt.Appendf(nil, `{"n":%d}`, i), key: fmt.Sprint("key-", i%7), properties: map[string]string{"i": fmt.Sprint(i)}}
	}
	return found
}

func batchByKey(s *session) error {
	return s.send(tiny(50), batching, func(options *pulsar.ProducerOptions) { options.BatcherBuilderType = pulsar.KeyBasedBatchBuilder })
}

func keys() []draft {
	return []draft{
		{payload: text("1"), key: "text"},
		{payload: text("2"), key: "é世😀 \"quoted\"\n"},
		{payload: text("4"), key: strings.Repeat("k", 2_000)},
		{payload: text("5"), key: "aGVsbG8="},
		{payload: text("6"), ordering: "order"},
		{payload: text("7"), key: "text", ordering: "é😀\x00\xff"},
		{payload: text("8")},
	}
}

func many(count int) map[string]string {
	found := map[string]string{}
	for i := range count {
		found[fmt.Sprint("name-", i)] = fmt.Sprint("value ", i)
	}
	return found
}

func properties() []draft {
	return []draft{
		{payload: text("none")},
		{payload: text("some"), properties: map[string]string{"z": "1", "a": "2", "m": "3"}},
		{payload: text("unicode"), properties: map[string]string{"näme 世😀": "wért 😀"}},
		{payload: text("quotes"), properties: map[string]string{"a\"b'c\\d": "x\"y'z\\\n\t\u0001"}},
		{payload: text("empty"), properties: map[string]string{"": "empty name", "empty value": ""}},
		{payload: text("long"), properties: map[string]string{"long": strings.Repeat("v", 50_000)}},
		{payload: text("many"), properties: many(200)},
	}
}

func times() []draft {
	var found []draft
	for _, it := range []*int64{nil, at(0), at(1), at(1_000_000_000_123), at(9_000_000_000_000), at(-1)} {
		found = append(found, draft{payload: text("at"), eventTime: it})
	}
	return found
}

func sequenceIDs() []draft {
	var found []draft
	for _, it := range []*int64{nil, at(7), nil, at(7), at(3), at(1 << 53), at(1<<63 - 1), nil} {
		found = append(found, draft{payload: text("numbered"), sequenceID: it})
	}
	return found
}

func delayed() []draft {
	return []draft{
		{payload: text("at once")},
		{payload: text("in an hour"), after: time.Hour},
		{payload: text("at a time"), deliverAt: at(4_000_000_000_000)},
		{payload: text("long ago"), deliverAt: at(1_000_000_000_000)},
	}
}

func empty() []draft {
	return []draft{{payload: text("")}, {payload: text(""), key: "k"}, {payload: text(""), properties: map[string]string{"": ""}}}
}

// Bytes that do not compress, the same ones each time.
func noise(size int) []byte {
	found := make([]byte, size)
	state := uint64(88172645463325252)
	for i := range found {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		found[i] = byte(state)
	}
	return found
}
