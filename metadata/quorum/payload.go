package quorum

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"freshet/metadata"
)

// What an entry's data is: its first byte. Empty data is the entry with which a
// leader begins its term.
const (
	payloadRecords = 1 // flags, then records: uvarint length, text
	payloadMembers = 2 // JSON list of Voter: what is new about members
)

// Flags of payloadRecords. A list of records that is too long for one entry
// is spread over several that follow each other, and applied with the last.
const (
	flagContinued = 1 << 0 // the next entry goes on
	flagContinues = 1 << 1 // this entry goes on from the one before
)

// MaxEntryBytes is the size at which a list of records goes on in the next
// entry. A single record may be larger.
const MaxEntryBytes = 256 << 10

// EncodeRecords makes the payloads of the entries that hold the records, for
// Propose. A payload of more than maxBytes holds a single record.
func EncodeRecords(records []metadata.Record, maxBytes int) ([][]byte, error) {
	var payloads [][]byte
	payload := []byte{payloadRecords, 0}
	for i, r := range records {
		text, err := metadata.EncodeRecord(r)
		if err != nil {
			return nil, err
		}
		if i > 0 && len(payload)+len(text) > maxBytes {
			payload[1] |= flagContinued
			payloads = append(payloads, payload)
			payload = []byte{payloadRecords, flagContinues}
		}
		payload = binary.AppendUvarint(payload, uint64(len(text)))
		payload = append(payload, text...)
	}
	return append(payloads, payload), nil
}

// decodeRecords reads what follows the two first bytes of payloadRecords.
func decodeRecords(b []byte) ([]metadata.Record, error) {
	var records []metadata.Record
	for len(b) > 0 {
		text, rest, err := cutText(b)
		if err != nil {
			return nil, err
		}
		r, err := metadata.DecodeRecord(text)
		if err != nil {
			return nil, err
		}
		records, b = append(records, r), rest
	}
	return records, nil
}

var errTruncated = errors.New("the data ends in the middle of a record")

// cutText splits a length and as many bytes off b.
func cutText(b []byte) (text, rest []byte, err error) {
	length, n := binary.Uvarint(b)
	if n <= 0 || length > uint64(len(b)-n) {
		return nil, nil, errTruncated
	}
	return b[n : n+int(length)], b[n+int(length):], nil
}

func encodeMembers(members []Voter) []byte {
	text, err := json.Marshal(members)
	if err != nil {
		panic(fmt.Sprintf("BUG: cannot encode members: %v", err))
	}
	return append([]byte{payloadMembers}, text...)
}

func decodeMembers(b []byte) ([]Voter, error) {
	var members []Voter
	err := json.Unmarshal(b, &members)
	return members, err
}
