package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/record"
)

// recordDecoder turns a record's key and value into what is printed.
type recordDecoder func(r *record.Record) (key, value string, hasKey, hasValue bool)

const defaultDecoder = "org.apache.kafka.tools.api.StringDecoder"

// plainDecoder decodes by Kafka's decoder classes, named with or without their
// package.
func plainDecoder(keyClass, valueClass string) (recordDecoder, error) {
	key, err := bytesDecoder(keyClass)
	if err != nil {
		return nil, err
	}
	value, err := bytesDecoder(valueClass)
	if err != nil {
		return nil, err
	}
	return func(r *record.Record) (string, string, bool, bool) {
		return key(r.Key), value(r.Value), r.Key != nil, r.Value != nil
	}, nil
}

func bytesDecoder(class string) (func([]byte) string, error) {
	switch class[strings.LastIndexByte(class, '.')+1:] {
	case "StringDecoder":
		return func(b []byte) string { return string(toUTF8(b)) }, nil
	case "DefaultDecoder":
		return func(b []byte) string { return string(bytesText(b)) }, nil
	case "IntegerDecoder":
		return func(b []byte) string {
			if len(b) != 4 {
				return fmt.Sprintf("(%d bytes are no integer)", len(b))
			}
			return strconv.Itoa(int(int32(binary.BigEndian.Uint32(b))))
		}, nil
	case "LongDecoder":
		return func(b []byte) string {
			if len(b) != 8 {
				return fmt.Sprintf("(%d bytes are no long)", len(b))
			}
			return strconv.FormatInt(int64(binary.BigEndian.Uint64(b)), 10)
		}, nil
	}
	return nil, fmt.Errorf("the decoder %s is a Java class and cannot be loaded here; use StringDecoder, IntegerDecoder, LongDecoder or DefaultDecoder", class)
}

// ordered is a JSON object whose fields keep their order.
type ordered []field

type field struct {
	name  string
	value any
}

// MarshalJSON writes the fields in order.
func (o ordered) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(f.name)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(f.value); err != nil {
			return nil, err
		}
		b.Truncate(b.Len() - 1)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func jsonText(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// coordinatorText frames a decoded coordinator record as Kafka's tool does.
func coordinatorText(keyType int16, key ordered, version int16, value any) (string, string, bool, bool) {
	k := jsonText(ordered{{"type", strconv.Itoa(int(keyType))}, {"data", key}})
	if value == nil {
		return k, "<DELETE>", true, true
	}
	return k, jsonText(ordered{{"version", strconv.Itoa(int(version))}, {"data", value}}), true, true
}

func undecodable(r *record.Record, err error) (string, string, bool, bool) {
	return fmt.Sprintf("Error at offset %d, skipping. %v", r.Offset, err), "", true, false
}

func unknownRecordType(r *record.Record, kind int16) (string, string, bool, bool) {
	return fmt.Sprintf("Unknown record type %d at offset %d, skipping.", kind, r.Offset), "", true, false
}

// recordType is the version in front of a coordinator record's key, which says
// what the record is.
func recordType(b []byte) int16 {
	if len(b) < 2 {
		return -1
	}
	return int16(binary.BigEndian.Uint16(b))
}

// decodeGroupRecord decodes __consumer_offsets: committed offsets (types 0 and
// 1) and classic groups (type 2).
func decodeGroupRecord(r *record.Record) (string, string, bool, bool) {
	switch kind := recordType(r.Key); kind {
	case 0, 1:
		return decodeOffsetCommit(r, kind)
	case 2:
		return decodeGroupMetadata(r)
	default:
		return unknownRecordType(r, kind)
	}
}

func decodeOffsetCommit(r *record.Record, kind int16) (string, string, bool, bool) {
	var k kmsg.OffsetCommitKey
	if err := k.ReadFrom(r.Key); err != nil {
		return undecodable(r, err)
	}
	key := ordered{{"group", k.Group}, {"topic", k.Topic}, {"partition", k.Partition}}
	if r.Value == nil {
		return coordinatorText(kind, key, 0, nil)
	}
	var v kmsg.OffsetCommitValue
	if err := v.ReadFrom(r.Value); err != nil {
		return undecodable(r, err)
	}
	value := ordered{{"offset", v.Offset}}
	if v.Version >= 3 {
		value = append(value, field{"leaderEpoch", v.LeaderEpoch})
	}
	value = append(value, field{"metadata", v.Metadata}, field{"commitTimestamp", v.CommitTimestamp})
	if v.Version == 1 {
		value = append(value, field{"expireTimestamp", v.ExpireTimestamp})
	}
	if v.TopicID != [16]byte{} {
		value = append(value, field{"topicId", topicID(v.TopicID).String()})
	}
	return coordinatorText(kind, key, v.Version, value)
}

func decodeGroupMetadata(r *record.Record) (string, string, bool, bool) {
	var k kmsg.GroupMetadataKey
	if err := k.ReadFrom(r.Key); err != nil {
		return undecodable(r, err)
	}
	key := ordered{{"group", k.Group}}
	if r.Value == nil {
		return coordinatorText(2, key, 0, nil)
	}
	var v kmsg.GroupMetadataValue
	if err := v.ReadFrom(r.Value); err != nil {
		return undecodable(r, err)
	}
	value := ordered{{"protocolType", v.ProtocolType}, {"generation", v.Generation}, {"protocol", v.Protocol}, {"leader", v.Leader}}
	if v.Version >= 2 {
		value = append(value, field{"currentStateTimestamp", v.CurrentStateTimestamp})
	}
	members := []ordered{}
	for _, m := range v.Members {
		o := ordered{{"memberId", m.MemberID}}
		if v.Version >= 3 {
			o = append(o, field{"groupInstanceId", m.InstanceID})
		}
		o = append(o, field{"clientId", m.ClientID}, field{"clientHost", m.ClientHost})
		if v.Version >= 1 {
			o = append(o, field{"rebalanceTimeout", m.RebalanceTimeoutMillis})
		}
		o = append(o, field{"sessionTimeout", m.SessionTimeoutMillis},
			field{"subscription", subscriptionJSON(v.ProtocolType, m.Subscription)},
			field{"assignment", assignmentJSON(v.ProtocolType, m.Assignment)})
		members = append(members, o)
	}
	return coordinatorText(2, key, v.Version, append(value, field{"members", members}))
}

// subscriptionJSON decodes a consumer's subscription; other protocols' bytes
// stay base64.
func subscriptionJSON(protocol string, b []byte) any {
	var m kmsg.ConsumerMemberMetadata
	if protocol != "consumer" || m.ReadFrom(b) != nil {
		return base64.StdEncoding.EncodeToString(b)
	}
	o := ordered{{"topics", nonNil(m.Topics)}, {"userData", bytesOrNull(m.UserData)}}
	if m.Version >= 1 {
		owned := []ordered{}
		for _, t := range m.OwnedPartitions {
			owned = append(owned, ordered{{"topic", t.Topic}, {"partitions", nonNil(t.Partitions)}})
		}
		o = append(o, field{"ownedPartitions", owned})
	}
	if m.Version >= 2 {
		o = append(o, field{"generationId", m.Generation})
	}
	if m.Version >= 3 {
		o = append(o, field{"rackId", m.Rack})
	}
	return o
}

func assignmentJSON(protocol string, b []byte) any {
	var a kmsg.ConsumerMemberAssignment
	if protocol != "consumer" || a.ReadFrom(b) != nil {
		return base64.StdEncoding.EncodeToString(b)
	}
	assigned := []ordered{}
	for _, t := range a.Topics {
		assigned = append(assigned, ordered{{"topic", t.Topic}, {"partitions", nonNil(t.Partitions)}})
	}
	return ordered{{"assignedPartitions", assigned}, {"userData", bytesOrNull(a.UserData)}}
}

func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func bytesOrNull(b []byte) any {
	if b == nil {
		return nil
	}
	return base64.StdEncoding.EncodeToString(b)
}

// decodeTransactionRecord decodes __transaction_state.
func decodeTransactionRecord(r *record.Record) (string, string, bool, bool) {
	if kind := recordType(r.Key); kind != 0 {
		return unknownRecordType(r, kind)
	}
	var k kmsg.TxnMetadataKey
	if err := k.ReadFrom(r.Key); err != nil {
		return undecodable(r, err)
	}
	key := ordered{{"transactionalId", k.TransactionalID}}
	if r.Value == nil {
		return coordinatorText(0, key, 0, nil)
	}
	var v kmsg.TxnMetadataValue
	if err := v.ReadFrom(r.Value); err != nil {
		return undecodable(r, err)
	}
	var partitions any
	if v.Topics != nil {
		list := []ordered{}
		for _, t := range v.Topics {
			list = append(list, ordered{{"topic", t.Topic}, {"partitionIds", nonNil(t.Partitions)}})
		}
		partitions = list
	}
	return coordinatorText(0, key, v.Version, ordered{{"producerId", v.ProducerID}, {"producerEpoch", v.ProducerEpoch},
		{"transactionTimeoutMs", v.TimeoutMillis}, {"transactionStatus", int8(v.State)}, {"transactionPartitions", partitions},
		{"transactionLastUpdateTimestampMs", v.LastUpdateTimestamp}, {"transactionStartTimestampMs", v.StartTimestamp}})
}
