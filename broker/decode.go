package broker

import (
	"freshet/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// decodeBody decodes a request's body, after its lengths and counts have been
// checked against the bytes that are there: kmsg allocates by them. raw is
// private to the request, so strings and bytes may alias it.
func decodeBody(req kmsg.Request, raw []byte) error {
	if err := wire.Check(req.Key(), req.GetVersion(), raw); err != nil {
		return err
	}
	return req.ReadFrom(raw)
}
