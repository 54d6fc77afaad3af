//go:build compat

package compat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// rawTimeout bounds the wait for an answer to a raw request.
const rawTimeout = 20 * time.Second

// outcomeClosed is what a broken request leads to: the broker closes the connection without an answer.
const outcomeClosed = "closed"

// rawConn is a bare connection to a broker.
type rawConn struct {
	net.Conn
	correlation int32
}

func dialRaw(t testing.TB, b *broker) *rawConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", b.addr, rawTimeout)
	if err != nil {
		t.Fatalf("the broker takes no connections: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(rawTimeout))
	return &rawConn{Conn: conn}
}

// frame encodes a request with its header and length.
func (c *rawConn) frame(req kmsg.Request) []byte {
	c.correlation++
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("compat-raw")).AppendRequest(nil, req, c.correlation)
}

// exchange sends a frame and describes what comes back: the error codes of the answer, or that the
// connection was closed.
func (c *rawConn) exchange(frame []byte, kind kmsg.Response) string {
	if _, err := c.Write(frame); err != nil && !isClosed(err) {
		return "cannot be sent: " + err.Error()
	}
	return c.outcome(kind)
}

// outcome reads one answer and describes it.
func (c *rawConn) outcome(kind kmsg.Response) string {
	body, err := readFrame(c)
	switch {
	case isClosed(err):
		return outcomeClosed
	case errors.Is(err, syscall.ETIMEDOUT) || isTimeout(err):
		return "no answer"
	case err != nil:
		return err.Error()
	case len(body) < 4:
		return fmt.Sprintf("an answer of %d bytes", len(body))
	}
	if got := int32(binary.BigEndian.Uint32(body)); got != c.correlation {
		return fmt.Sprintf("correlation id %d for %d", got, c.correlation)
	}
	body = body[4:]
	if kind.IsFlexible() && kind.Key() != 18 {
		body = skipTags(body)
	}
	if err := kind.ReadFrom(body); err != nil {
		return "an answer that cannot be read: " + err.Error()
	}
	return describeErrors(kind)
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// isClosed recognises the ways in which a closed connection shows.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE)
}

// skipTags passes the tagged fields of a flexible response header.
func skipTags(b []byte) []byte {
	n, size := binary.Uvarint(b)
	b = b[size:]
	for range n {
		_, size = binary.Uvarint(b)
		b = b[size:]
		length, size := binary.Uvarint(b)
		b = b[size+int(length):]
	}
	return b
}

// describeErrors lists the error codes in a response, as "ok" where all are zero and otherwise as
// path=code, sorted, with equal ones counted once.
func describeErrors(resp kmsg.Response) string {
	found := map[string]bool{}
	collectErrors(reflect.ValueOf(resp).Elem(), "", found)
	var parts []string
	for p := range found {
		parts = append(parts, p)
	}
	sort.Strings(parts)
	if len(parts) == 0 {
		return "ok"
	}
	return strings.Join(parts, " ")
}

func collectErrors(v reflect.Value, path string, found map[string]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			collectErrors(v.Elem(), path, found)
		}
	case reflect.Slice:
		for i := range v.Len() {
			collectErrors(v.Index(i), path, found)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if field.Name == "ErrorCode" {
				if code := v.Field(i).Int(); code != 0 {
					found[fmt.Sprintf("%serror=%d", path, code)] = true
				}
				continue
			}
			if field.IsExported() {
				collectErrors(v.Field(i), path+field.Name+".", found)
			}
		}
	}
}

// rawExchange sends one request over a connection of its own and describes the answer.
func rawExchange(t testing.TB, b *broker, req kmsg.Request) string {
	t.Helper()
	c := dialRaw(t, b)
	return c.exchange(c.frame(req), req.ResponseKind())
}

// ask sends one request over a connection of its own and returns the decoded answer.
func ask[R kmsg.Response](t testing.TB, b *broker, req kmsg.Request) R {
	t.Helper()
	resp := req.ResponseKind()
	c := dialRaw(t, b)
	if got := c.exchange(c.frame(req), resp); strings.HasPrefix(got, outcomeClosed) || strings.HasPrefix(got, "an answer") {
		t.Fatalf("%s version %d: %s", kmsg.NameForKey(req.Key()), req.GetVersion(), got)
	}
	return resp.(R)
}
