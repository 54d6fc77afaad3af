package metadata

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
)

// UUID is a topic, directory or cluster id: 16 bytes, written as 22 characters
// of URL-safe base64 without padding (Kafka: org.apache.kafka.common.Uuid).
type UUID [16]byte

// ZeroUUID stands for "no id" in requests.
var ZeroUUID UUID

// UnassignedDir is the directory id of a replica whose broker has not yet said
// which of several log directories it lies in (KIP-858, DirectoryId).
var UnassignedDir = UUID{}

// String is the id in Kafka's text form.
func (u UUID) String() string { return base64.RawURLEncoding.EncodeToString(u[:]) }

// MarshalText writes the id in Kafka's text form.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText reads Kafka's text form.
func (u *UUID) UnmarshalText(text []byte) error {
	parsed, err := ParseUUID(string(text))
	if err == nil {
		*u = parsed
	}
	return err
}

// ParseUUID reads Kafka's text form.
func ParseUUID(text string) (UUID, error) {
	var u UUID
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) != len(u) {
		return u, fmt.Errorf("%q is not an id of 22 base64 characters", text)
	}
	copy(u[:], raw)
	return u, nil
}

// RandomUUID is a fresh version 4 UUID. As in Kafka it never begins with a
// dash, which tools would take for a flag, and never is a reserved one: those
// are below 100.
func RandomUUID() UUID {
	for {
		var u UUID
		_, _ = rand.Read(u[:]) // never fails (crypto/rand)
		u[6] = u[6]&0x0f | 0x40
		u[8] = u[8]&0x3f | 0x80
		if u.String()[0] != '-' {
			return u
		}
	}
}
