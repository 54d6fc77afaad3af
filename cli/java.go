package cli

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/twmb/franz-go/pkg/kerr"
)

// javaHashOrder returns keys in the order in which a java.util.HashMap that
// they were put into, one after the other, iterates over them. Kafka's tools
// print several lists in that order.
func javaHashOrder(keys []string) []string { return hashMapOrder(keys, javaHash) }

// javaPartitionOrder is javaHashOrder for Kafka's TopicPartition.
func javaPartitionOrder(keys []partitionKey) []partitionKey {
	return hashMapOrder(keys, func(k partitionKey) uint32 {
		return 31*(31+uint32(k.partition)) + javaHash(k.topic)
	})
}

func hashMapOrder[K comparable](keys []K, hash func(K) uint32) []K {
	size := 16
	for len(keys)*4 > size*3 {
		size *= 2
	}
	buckets := make([][]K, size)
	seen := make(map[K]bool, len(keys))
	for _, key := range keys {
		if seen[key] {
			continue
		}
		seen[key] = true
		h := hash(key)
		i := int(h^h>>16) & (size - 1)
		buckets[i] = append(buckets[i], key)
	}
	ordered := make([]K, 0, len(keys))
	for _, bucket := range buckets {
		ordered = append(ordered, bucket...)
	}
	return ordered
}

// javaHash is java.lang.String.hashCode.
func javaHash(s string) uint32 {
	var h uint32
	for _, unit := range utf16.Encode([]rune(s)) {
		h = 31*h + uint32(unit)
	}
	return h
}

// exceptionNames are the classes of Kafka's errors whose name does not follow
// from the error's.
var exceptionNames = map[string]string{
	"UNKNOWN_SERVER_ERROR": "UnknownServerException", "CORRUPT_MESSAGE": "CorruptRecordException",
	"REQUEST_TIMED_OUT": "TimeoutException", "MESSAGE_TOO_LARGE": "RecordTooLargeException",
	"STALE_CONTROLLER_EPOCH": "ControllerMovedException", "OFFSET_METADATA_TOO_LARGE": "OffsetMetadataTooLarge",
	"INVALID_TOPIC_EXCEPTION": "InvalidTopicException", "RECORD_LIST_TOO_LARGE": "RecordBatchTooLargeException",
	"TOPIC_AUTHORIZATION_FAILED": "TopicAuthorizationException", "GROUP_AUTHORIZATION_FAILED": "GroupAuthorizationException",
	"CLUSTER_AUTHORIZATION_FAILED": "ClusterAuthorizationException", "TOPIC_ALREADY_EXISTS": "TopicExistsException",
	"INVALID_CONFIG": "InvalidConfigurationException", "OUT_OF_ORDER_SEQUENCE_NUMBER": "OutOfOrderSequenceException",
	"DUPLICATE_SEQUENCE_NUMBER": "DuplicateSequenceException", "INVALID_PRODUCER_ID_MAPPING": "InvalidPidMappingException",
	"INVALID_TRANSACTION_TIMEOUT": "InvalidTxnTimeoutException", "SASL_AUTHENTICATION_FAILED": "SaslAuthenticationException",
	"TRANSACTIONAL_ID_AUTHORIZATION_FAILED": "TransactionalIdAuthorizationException", "KAFKA_STORAGE_ERROR": "KafkaStorageException",
	"DELEGATION_TOKEN_AUTH_DISABLED":        "DelegationTokenDisabledException",
	"DELEGATION_TOKEN_REQUEST_NOT_ALLOWED":  "UnsupportedByAuthenticationException",
	"DELEGATION_TOKEN_AUTHORIZATION_FAILED": "DelegationTokenAuthorizationException",
	"NON_EMPTY_GROUP":                       "GroupNotEmptyException", "PRINCIPAL_DESERIALIZATION_FAILURE": "PrincipalDeserializationException",
	"FETCH_SESSION_TOPIC_ID_ERROR": "FetchSessionTopicIdException", "INVALID_REGULAR_EXPRESSION": "InvalidRegularExpression",
}

// exceptionName is the Java class of a Kafka error, or of a plain failure.
func exceptionName(err error) string {
	var ke *kerr.Error
	if !errors.As(err, &ke) {
		return "org.apache.kafka.common.KafkaException"
	}
	name, ok := exceptionNames[ke.Message]
	if !ok {
		var b strings.Builder
		for _, word := range strings.Split(strings.ToLower(ke.Message), "_") {
			r := []rune(word)
			r[0] = unicode.ToUpper(r[0])
			b.WriteString(string(r))
		}
		name = strings.TrimSuffix(b.String(), "Exception") + "Exception"
	}
	return "org.apache.kafka.common.errors." + name
}

// brokerError is an error code with the broker's own explanation.
type brokerError struct {
	code    *kerr.Error
	message string
}

// newBrokerError returns nil for code 0.
func newBrokerError(code int16, message *string) error {
	if code == 0 {
		return nil
	}
	e := &brokerError{code: kerr.TypedErrorForCode(code)}
	if message != nil {
		e.message = *message
	}
	return e
}

func (e *brokerError) Error() string {
	if e.message != "" {
		return e.message
	}
	return e.code.Description
}

func (e *brokerError) Unwrap() error { return e.code }

// message is the text Java's getMessage would give for err.
func message(err error) string {
	var be *brokerError
	if errors.As(err, &be) {
		return be.Error()
	}
	var ke *kerr.Error
	if errors.As(err, &ke) {
		return ke.Description
	}
	return err.Error()
}

// isUnsupported reports whether the broker does not know the request.
func isUnsupported(err error) bool {
	return errors.Is(err, kerr.UnsupportedVersion) ||
		err != nil && strings.Contains(err.Error(), "broker is too old")
}
