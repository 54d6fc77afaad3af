package metadata

import "strings"

// Topics that the brokers keep for themselves (Kafka: Topic).
const (
	OffsetsTopic          = "__consumer_offsets"
	TransactionStateTopic = "__transaction_state"
	ShareStateTopic       = "__share_group_state"
	clusterMetadataTopic  = "__cluster_metadata"
)

// maxTopicName leaves room for "-<partition>.<id>-delete" in a file name of 255.
const maxTopicName = 249

// IsInternal reports whether the topic is one of the brokers' own, which
// clients are told so that they leave it out.
func IsInternal(name string) bool {
	return name == OffsetsTopic || name == TransactionStateTopic || name == ShareStateTopic
}

// ValidateTopicName checks a name by Kafka's rule: 1 to 249 of the characters
// a-z A-Z 0-9 . _ - and neither "." nor "..". Nil when it is valid.
func ValidateTopicName(name string) *Error {
	reason := ""
	switch {
	case name == "":
		reason = "the empty string is not allowed"
	case name == "." || name == "..":
		reason = "'" + name + "' is not allowed"
	case len(name) > maxTopicName:
		reason = "the length of '" + name + "' is longer than the max allowed length 249"
	case !legalCharacters(name):
		reason = "'" + name + "' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
	default:
		return nil
	}
	return &Error{CodeInvalidTopic, "Topic name is invalid: " + reason}
}

func legalCharacters(name string) bool {
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// mayCollide reports whether the name has a character that Kafka's metric
// names cannot tell from another.
func mayCollide(name string) bool { return strings.ContainsAny(name, "._") }

// unified is the name by which colliding names are equal.
func unified(name string) string { return strings.ReplaceAll(name, ".", "_") }
