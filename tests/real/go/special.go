package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/apache/pulsar-client-go/pulsar"
	"github.com/apache/pulsar-client-go/pulsar/crypto"
)

// As large as the client takes, which is the broker's limit less what stands around the payload; then one that fits
// only because it is compressed.
func largest(s *session) error {
	const limit = 5 << 20
	producer, err := s.producer()
	if err != nil {
		return err
	}
	whole := noise(limit)
	for size := limit; ; size-- {
		lines, err := producer.try([]draft{{payload: whole[:size], sequenceID: at(1)}})
		if err == nil {
			if err := s.out.Encode(lines[0]); err != nil {
				return err
			}
			break
		}
		if size < limit-1_000 {
			return err
		}
	}
	return s.send([]draft{{payload: bytes.Repeat(text("compressible "), limit/13)}}, compressed(pulsar.ZSTD, pulsar.Default))
}

func schemas(s *session) error {
	definition := `{"type":"record","name":"Reading","fields":[{"name":"sensor","type":"string"},{"name":"value","type":"long"}]}`
	for _, it := range []pulsar.Schema{
		pulsar.NewJSONSchema(definition, nil),
		pulsar.NewJSONSchema(strings.Replace(definition, `]}`, `,{"name":"unit","type":["null","string"],"default":null}]}`, 1), nil),
	} {
		value := map[string]any{"sensor": "s-1", "value": 1}
		encoded, err := it.Encode(value)
		if err != nil {
			return err
		}
		with := func(options *pulsar.ProducerOptions) { options.Schema = it }
		if err := s.send([]draft{{payload: encoded, key: "s-1"}}, with); err != nil {
			return err
		}
		if err := s.send([]draft{{payload: encoded}, {payload: encoded, key: "s-2"}}, with, batching); err != nil {
			return err
		}
	}
	return nil
}

// With a key that nobody keeps.
type lost []byte

func (l lost) PublicKey(name string, _ map[string]string) (*crypto.EncryptionKeyInfo, error) {
	return crypto.NewEncryptionKeyInfo(name, l, map[string]string{"kept": "nowhere"}), nil
}

func (lost) PrivateKey(string, map[string]string) (*crypto.EncryptionKeyInfo, error) {
	return nil, fmt.Errorf("nothing here decrypts")
}

func encrypted(s *session) error {
	pair, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(&pair.PublicKey)
	if err != nil {
		return err
	}
	key := lost(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	sealed := func(options *pulsar.ProducerOptions) {
		options.Encryption = &pulsar.ProducerEncryptionInfo{Keys: []string{"a-key"}, KeyReader: key}
	}
	for _, it := range []struct {
		drafts   []draft
		settings []func(*pulsar.ProducerOptions)
	}{
		{[]draft{{payload: text(`{"readable":"before"}`)}}, nil},
		{[]draft{{payload: text(`{"secret":1}`), key: "k"}, {payload: text(`{"secret":2}`)}}, []func(*pulsar.ProducerOptions){sealed}},
		{[]draft{{payload: text(`{"secret":3}`), key: "k"}, {payload: text(`{"secret":4}`)}},
			[]func(*pulsar.ProducerOptions){sealed, batching, compressed(pulsar.LZ4, pulsar.Default)}},
		{[]draft{{payload: text(`{"readable":"after"}`)}}, nil},
	} {
		if err := s.send(it.drafts, it.settings...); err != nil {
			return err
		}
	}
	return nil
}

// The parts are small, but for those of the last message: they are as large as the broker takes.
func chunked(by pulsar.CompressionType) func(*session) error {
	return func(s *session) error {
		codec := compressed(by, pulsar.Default)
		if err := s.send([]draft{
			{payload: text(`{"before":1}`)},
			{payload: noise(100_000), key: "chunked", properties: map[string]string{"p": "v"}, eventTime: at(1_700_000_000_000)},
			{payload: text(`{"between":1}`)},
			{payload: noise(20_001)},
			{payload: text(`{"after":1}`)},
		}, chunking, codec); err != nil || by != pulsar.NoCompression {
			return err
		}
		return s.send([]draft{{payload: noise(12 << 20)}}, func(options *pulsar.ProducerOptions) { options.EnableChunking = true })
	}
}
