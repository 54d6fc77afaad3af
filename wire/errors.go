package wire

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

// UnknownServerError is the code for what has no code of its own.
const UnknownServerError int16 = -1

// ErrorCode is the protocol's code of err: 0 of nil, that of the first
// *kerr.Error in its chain, otherwise UNKNOWN_SERVER_ERROR.
func ErrorCode(err error) int16 {
	if err == nil {
		return 0
	}
	var known *kerr.Error
	if errors.As(err, &known) {
		return known.Code
	}
	return UnknownServerError
}

// Message is Kafka's text for a code, for answers that carry an error message;
// nil for no error.
func Message(code int16) *string {
	if code == 0 {
		return nil
	}
	text := kerr.TypedErrorForCode(code).Description
	return &text
}
