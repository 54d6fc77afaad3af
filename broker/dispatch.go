package broker

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/wire"
)

// API is one entry of the table of what this broker answers: an API key with
// its range of versions and the code behind it. Exactly one of hot and Handle
// is set.
type API struct {
	Key      int16
	Min, Max int16
	// Handle answers a decoded request on a worker, through Request.Reply,
	// exactly once, from any goroutine, now or later.
	Handle func(b *Broker, r *Request)
	// hot handles a request on the loop, in place. body and ch are the loop's.
	hot func(c *conn, h *wire.Header, body []byte, ch *chunk) error
	// private APIs are between brokers of this kind; clients are not told of them.
	private bool
}

// maxAPIKey bounds the table; Kafka's keys are below 100.
const maxAPIKey = 127

var apis [maxAPIKey + 1]*API

// register adds an API to the table. Each handle_NN file calls it from init.
func register(a API) {
	if a.Key < 0 || a.Key > maxAPIKey || apis[a.Key] != nil {
		panic(fmt.Sprintf("BUG: API key %d registered twice or out of range", a.Key))
	}
	apis[a.Key] = &a
}

// requestNames are the metric labels of the APIs on the worker pool.
var requestNames [maxAPIKey + 1]string

func init() {
	for key := range requestNames {
		requestNames[key] = kmsg.NameForKey(int16(key))
	}
}

// APIs lists what is registered for clients, by key.
func APIs() []API {
	var list []API
	for _, a := range apis {
		if a != nil && !a.private {
			list = append(list, *a)
		}
	}
	return list
}

// keyAPIVersions is answered at any version: a client that asks with a newer
// one learns from a version 0 answer what is supported (KIP-511).
const keyAPIVersions = 18

// dispatch handles one whole frame, which lies in ch. An error closes the
// connection, as Apache Kafka does for requests it cannot parse.
func (c *conn) dispatch(frame []byte, ch *chunk) error {
	if c.stream != nil {
		return c.stream.onAnswer(frame)
	}
	h := &c.loop.header
	var err error
	if *h, err = wire.PeekHeader(frame); err != nil {
		return err
	}
	if h.Key < 0 || h.Key > maxAPIKey || apis[h.Key] == nil {
		return fmt.Errorf("%w: API key %d is not supported", errMalformed, h.Key)
	}
	api := apis[h.Key]
	if h.Version < api.Min || h.Version > api.Max {
		if h.Key != keyAPIVersions {
			return fmt.Errorf("%w: API key %d version %d is not supported, versions %d to %d are",
				errMalformed, h.Key, h.Version, api.Min, api.Max)
		}
		return c.enqueueCold(api, h, nil)
	}
	if *h, err = wire.RequestHeader(frame); err != nil {
		return err
	}
	if api.hot != nil {
		return api.hot(c, h, frame[h.BodyAt:], ch)
	}
	return c.enqueueCold(api, h, frame[h.BodyAt:])
}

// Request is one request for a handler on the worker pool.
type Request struct {
	Key, Version  int16
	CorrelationID int32
	ClientID      string
	ClientHost    string // "/address", as Apache Kafka shows it
	Listener      string
	// Unsupported is set for an ApiVersions request of a version that this
	// broker does not know; Body then is its version 0.
	Unsupported bool
	Body        kmsg.Request

	conn *conn
	slot *slot
	// done takes the finished request where it did not come from a loop's
	// connection; conn and slot are nil then.
	done func(r *Request)
	// onController is set for a request on a controller listener, or passed
	// on to it; via is then the broker that the client asked, -1 for none.
	onController bool
	via          int32
	api          *API
	raw          []byte
	out          []byte
	err          error
}

// enqueueCold hands a request to the workers. The connection is muted until
// it is answered: Apache Kafka handles one request of a connection at a time,
// and clients rely on that order.
func (c *conn) enqueueCold(api *API, h *wire.Header, body []byte) error {
	l := c.loop
	r := &Request{
		Key: h.Key, Version: h.Version, CorrelationID: h.CorrelationID,
		ClientID: string(h.ClientID), ClientHost: "/" + c.remote.Addr().Unmap().String(), Listener: c.listener,
		conn: c, api: api, raw: append([]byte(nil), body...),
	}
	if h.Version < api.Min || h.Version > api.Max {
		r.Unsupported, r.Version = true, 0
	}
	l.srv.coldRequests[h.Key].Add(1)
	l.turn.end()
	r.slot = c.newSlot()
	r.slot.wait(1)
	c.cold, c.muted = r, true
	if !l.srv.workers.submit(r) {
		c.cold = nil
		r.slot.done(l)
		return errStopping
	}
	return nil
}

// serve decodes and handles r on a worker.
func (r *Request) serve(b *Broker) {
	defer r.contain()
	req := kmsg.RequestForKey(r.Key)
	req.SetVersion(r.Version)
	if !r.Unsupported {
		if err := decodeBody(req, r.raw); err != nil {
			r.fail(fmt.Errorf("%w: API key %d version %d: %v", errMalformed, r.Key, r.Version, err))
			return
		}
	}
	r.Body = req
	r.api.Handle(b, r)
}

// contain turns a handler's panic into the end of its connection. It must be
// deferred itself, on every goroutine that a handler runs on.
func (r *Request) contain() {
	if p := recover(); p != nil {
		slog.Error("BUG: handler panicked; the connection is closed",
			"api", r.Key, "version", r.Version, "panic", p, "stack", string(debug.Stack()))
		r.fail(fmt.Errorf("handler of API key %d panicked", r.Key))
	}
}

// Reply answers the request. It may be called from any goroutine, once.
func (r *Request) Reply(resp kmsg.Response) {
	resp.SetVersion(r.Version)
	r.replyWith(resp.AppendTo)
}

// replyWith answers with the body that appendBody adds.
func (r *Request) replyWith(appendBody func([]byte) []byte) {
	out := make([]byte, 4, 256)
	out = appendInt32(out, r.CorrelationID)
	if wire.HasResponseTags(r.Key, r.Version) {
		out = append(out, 0)
	}
	out = appendBody(out)
	putSize(out)
	r.out = out
	r.finish()
}

// finish hands the answer or the failure to where the request came from.
func (r *Request) finish() {
	if r.done != nil {
		r.done(r)
		return
	}
	r.conn.loop.post(coldDone, r)
}

// fail closes the request's connection.
func (r *Request) fail(err error) {
	r.err = err
	r.finish()
}

// coldDone puts a worker's answer into its place, on the loop.
func coldDone(arg any) error {
	r := arg.(*Request)
	c := r.conn
	l := c.loop
	l.tickClock()
	if c.cold != r {
		slog.Error("BUG: request answered twice", "api", r.Key, "version", r.Version)
		return nil
	}
	c.cold = nil
	if !c.closed {
		r.slot.buf = append(r.slot.buf[:0], r.out...)
	}
	r.slot.done(l)
	switch {
	case c.closed:
	case r.err != nil:
		l.refuse(c, r.err)
	default:
		l.maybeUnmute(c)
	}
	l.settle()
	return nil
}

// putSize writes the size prefix of a whole response.
func putSize(b []byte) {
	n := len(b) - 4
	b[0], b[1], b[2], b[3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
}

// maybeUnmute reads on from c if nothing holds it any more.
func (l *loop) maybeUnmute(c *conn) {
	if c.muted && c.cold == nil && c.looking == nil && c.parked == nil && c.closing == nil && !c.closed && !c.blocked &&
		c.slots <= maxSlots/2 && c.queued <= maxQueuedBytes/2 {
		l.unmute(c)
	}
}
