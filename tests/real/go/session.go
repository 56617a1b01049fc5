package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/apache/pulsar-client-go/pulsar"
	"github.com/apache/pulsar-client-go/pulsar/log"
	"github.com/sirupsen/logrus"
)

type options struct{ url, token, topic, producer string }

// One client, and what it prints.
type session struct {
	options
	client pulsar.Client
	out    *json.Encoder
}

// A message as the test means it.
type draft struct {
	payload    []byte
	key        string
	ordering   string
	properties map[string]string
	// Milliseconds since the epoch, like deliverAt.
	eventTime  *int64
	sequenceID *int64
	deliverAt  *int64
	after      time.Duration
	local      bool
}

// The fields that are absent are left out; bytes are base64, as encoding/json writes them.
type line struct {
	ledger, entry int64
	member        int32

	ID           string      `json:"id"`
	FirstChunkID string      `json:"first_chunk_id,omitempty"`
	Payload      []byte      `json:"payload_base64"`
	Key          string      `json:"key,omitempty"`
	Ordering     []byte      `json:"ordering_key_base64,omitempty"`
	Properties   [][2]string `json:"properties"`
	// A Go map has no order, and the client sends it in whatever order it comes.
	Unordered  bool    `json:"properties_unordered"`
	EventTime  *uint64 `json:"event_time,omitempty"`
	DeliverAt  *int64  `json:"deliver_at_time,omitempty"`
	SequenceID uint64  `json:"sequence_id"`
	Producer   string  `json:"producer_name"`
}

func open(options options) (*session, error) {
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	client, err := pulsar.NewClient(pulsar.ClientOptions{
		URL:            options.url,
		Authentication: pulsar.NewAuthenticationToken(options.token),
		Logger:         log.NewLoggerWithLogrus(quiet),
	})
	return &session{options, client, json.NewEncoder(os.Stdout)}, err
}

// A producer, and the sequence id that it gives next: the client does not tell.
type producer struct {
	*session
	pulsar.Producer
	batching bool
	next     int64
}

// Each of `settings` may change what stands here: neither batches nor compression.
func (s *session) producer(settings ...func(*pulsar.ProducerOptions)) (*producer, error) {
	options := pulsar.ProducerOptions{
		Topic: s.topic, Name: s.options.producer, DisableBatching: true, SendTimeout: -1, MaxPendingMessages: 10_000,
	}
	for _, set := range settings {
		set(&options)
	}
	made, err := s.client.CreateProducer(options)
	return &producer{s, made, !options.DisableBatching, 0}, err
}

// An entry ends only where send ends: no limit of the client may come before.
func batching(options *pulsar.ProducerOptions) {
	options.DisableBatching = false
	options.BatchingMaxMessages = 10_000
	options.BatchingMaxSize = 4 << 20
	options.BatchingMaxPublishDelay = time.Hour
}

func chunking(options *pulsar.ProducerOptions) {
	options.EnableChunking = true
	options.ChunkMaxMessageSize = 20_000
}

func compressed(by pulsar.CompressionType, level pulsar.CompressionLevel) func(*pulsar.ProducerOptions) {
	return func(options *pulsar.ProducerOptions) { options.CompressionType, options.CompressionLevel = by, level }
}

// Sends one case's messages by a producer of their own.
func (s *session) send(drafts []draft, settings ...func(*pulsar.ProducerOptions)) error {
	producer, err := s.producer(settings...)
	if err != nil {
		return err
	}
	return producer.send(drafts)
}

// With batching one call makes one entry; without, each draft is one. Printed in the order of ids.
func (p *producer) send(drafts []draft) error {
	lines, err := p.try(drafts)
	if err != nil {
		return err
	}
	sort.SliceStable(lines, func(a, b int) bool { return lines[a].before(lines[b]) })
	for _, it := range lines {
		if err := p.out.Encode(it); err != nil {
			return err
		}
	}
	return nil
}

func (p *producer) try(drafts []draft) ([]line, error) {
	type answer struct {
		id  pulsar.MessageID
		err error
	}
	answers := make([]chan answer, len(drafts))
	for i, it := range drafts {
		done := make(chan answer, 1)
		answers[i] = done
		p.SendAsync(context.Background(), it.message(), func(id pulsar.MessageID, _ *pulsar.ProducerMessage, err error) {
			done <- answer{id, err}
		})
	}
	if err := p.Flush(); err != nil {
		return nil, err
	}
	lines := make([]line, len(drafts))
	for i, it := range drafts {
		answer := <-answers[i]
		if answer.err != nil {
			return nil, fmt.Errorf("message %d: %w", i, answer.err)
		}
		lines[i] = it.line(answer.id, p)
	}
	return lines, nil
}

func (d draft) message() *pulsar.ProducerMessage {
	message := &pulsar.ProducerMessage{
		Payload: d.payload, Key: d.key, OrderingKey: d.ordering, Properties: d.properties, SequenceID: d.sequenceID,
		DeliverAfter: d.after, DisableReplication: d.local,
	}
	if d.eventTime != nil {
		message.EventTime = time.UnixMilli(*d.eventTime)
	}
	if d.deliverAt != nil {
		message.DeliverAt = time.UnixMilli(*d.deliverAt)
	}
	return message
}

func (d draft) line(id pulsar.MessageID, by *producer) line {
	// The client calls a topic without partitions partition 0, and a message alone in its entry member 0 of a batch.
	it := line{
		ledger: id.LedgerID(), entry: id.EntryID(), member: id.BatchIdx(), ID: fmt.Sprintf("%d:%d:-1", id.LedgerID(), id.EntryID()),
		Payload: d.payload, Key: d.key, Ordering: []byte(d.ordering), Properties: [][2]string{}, Unordered: true,
		DeliverAt: d.deliverAt, Producer: by.Name(),
	}
	if by.batching {
		it.ID += fmt.Sprintf(":%d", id.BatchIdx())
	}
	if first, _, found := strings.Cut(fmt.Sprint(id), ";"); found {
		parts := strings.Split(first, ":")
		it.FirstChunkID = fmt.Sprintf("%s:%s:-1", parts[0], parts[1])
	}
	if d.eventTime != nil {
		// Times before 1970 reach the wire as this client's arithmetic has it.
		millis := uint64(time.UnixMilli(*d.eventTime).UnixNano()) / uint64(time.Millisecond)
		it.EventTime = &millis
	}
	for name, value := range d.properties {
		it.Properties = append(it.Properties, [2]string{name, value})
	}
	if d.sequenceID != nil {
		it.SequenceID = uint64(*d.sequenceID)
	} else {
		it.SequenceID = uint64(by.next)
		by.next++
	}
	return it
}

func (l line) before(other line) bool {
	if l.ledger != other.ledger {
		return l.ledger < other.ledger
	}
	if l.entry != other.entry {
		return l.entry < other.entry
	}
	return l.member < other.member
}
