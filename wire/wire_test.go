package wire

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fill sets every field of a kmsg request to something, so that each encodes.
func fill(v reflect.Value, random *rand.Rand, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if v.Field(i).CanSet() && name != "Version" && name != "UnknownTags" {
				fill(v.Field(i), random, depth)
			}
		}
	case reflect.Slice:
		n := random.IntN(3)
		if n == 0 && random.IntN(2) == 0 {
			return // nil
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(v.Index(i), random, depth+1)
		}
	case reflect.Pointer:
		if random.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), random, depth)
		}
	case reflect.String:
		v.SetString(strings.Repeat("x", random.IntN(4)))
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(random.IntN(100)))
	case reflect.Uint16, reflect.Uint32:
		v.SetUint(uint64(random.IntN(100)))
	case reflect.Bool:
		v.SetBool(random.IntN(2) == 0)
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(random.IntN(256)))
		}
	}
}

// TestSchemasAgreeWithKmsg encodes random requests of every version with kmsg
// and checks that Check walks exactly to their ends, and that no shorter body
// passes.
func TestSchemasAgreeWithKmsg(t *testing.T) {
	for i := range requestSchemas {
		key := requestSchemas[i].key
		api := LookupAPI(key)
		probe := kmsg.RequestForKey(key)
		for version := api.Min; version <= min(api.Max, probe.MaxVersion()); version++ {
			random := rand.New(rand.NewPCG(uint64(key), uint64(version)))
			for range 40 {
				req := kmsg.RequestForKey(key)
				req.SetVersion(version)
				fill(reflect.ValueOf(req).Elem(), random, 0)
				body := req.AppendTo(nil)
				w := walker{cursor: cursor{b: body}, version: version, flexible: IsFlexible(key, version)}
				if problem := w.object(requestSchemas[i].fields); problem != "" && !nullWhereKafkaHasNone(problem) {
					t.Fatalf("%s version %d: %s\n% x", api.Name, version, problem, body)
				} else if problem != "" {
					continue
				}
				if len(w.b) != 0 {
					t.Fatalf("%s version %d: %d bytes of %d are left\n% x", api.Name, version, len(w.b), len(body), body)
				}
				for cut := range body {
					if err := Check(key, version, body[:cut]); err == nil {
						t.Fatalf("%s version %d: %d of %d bytes pass", api.Name, version, cut, len(body))
					}
				}
			}
		}
		if req := kmsg.RequestForKey(key); true {
			for version := api.Min; version <= min(api.Max, req.MaxVersion()); version++ {
				req.SetVersion(version)
				if req.IsFlexible() != IsFlexible(key, version) {
					t.Errorf("%s version %d: flexible %v, kmsg says %v", api.Name, version, IsFlexible(key, version), req.IsFlexible())
				}
			}
		}
	}
}

// nullWhereKafkaHasNone: the filler also makes nil arrays where kmsg writes
// null and Kafka allows none.
func nullWhereKafkaHasNone(problem string) bool { return strings.HasSuffix(problem, " is null") }

func TestCheckRefuses(t *testing.T) {
	f := func(key, version int16, body []byte, want string) {
		t.Helper()
		err := Check(key, version, body)
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	f(3, 0, []byte{0x7f, 0xff, 0xff, 0xff}, "Topics has more elements than bytes are left")
	f(3, 0, []byte{0xff, 0xff, 0xff, 0xff}, "Topics is null")
	f(3, 1, []byte{0xff, 0xff, 0xff, 0xfe}, "Topics is cut off")
	f(3, 0, []byte{0, 0, 0, 1, 0x7f, 0xff}, "Name is longer than the request")
	f(19, 7, []byte{0xff, 0xff, 0xff, 0xff, 0x0f}, "Topics is cut off") // compact length beyond 2^31-1
	f(19, 7, []byte{0xff, 0xff, 0xff, 0xff, 0x7f}, "Topics is cut off") // varint beyond 32 bits
	f(19, 7, []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x01}, "Topics is cut off")
	f(18, 3, []byte{1, 1, 65}, "the number of tagged fields is wrong")
	f(18, 3, []byte{1, 1, 1, 5, 9, 0}, "a tagged field is longer than the request")
	f(60, 0, nil, "cut off")

	many := append([]byte{0, 0x10, 0, 1}, make([]byte, 4<<20)...) // 2^20+1 empty names
	f(3, 1, many, "over a million elements")

	if err := Check(3, 1, []byte{0xff, 0xff, 0xff, 0xff}); err != nil {
		t.Errorf("null topics in version 1: %v", err)
	}
	if err := Check(4, 0, nil); err == nil || !strings.HasPrefix(err.Error(), "BUG:") {
		t.Errorf("no schema: %v", err)
	}
}

func TestCheckDoesNotAllocate(t *testing.T) {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	for i := range 100 {
		req.Topics = append(req.Topics, kmsg.MetadataRequestTopic{Topic: kmsg.StringPtr(fmt.Sprint(i))})
	}
	body := req.AppendTo(nil)
	if n := testing.AllocsPerRun(100, func() {
		if err := Check(3, 12, body); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestRequestHeader(t *testing.T) {
	f := func(frame []byte, want Header, problem string) {
		t.Helper()
		got, err := RequestHeader(frame)
		if problem != "" {
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), problem) {
				t.Errorf("% x: error %v, want %q", frame, err, problem)
			}
			return
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("% x: got %+v, %v; want %+v", frame, got, err, want)
		}
	}
	plain := []byte{0, 3, 0, 1, 0, 0, 0, 9}
	f(append(plain, 0, 2, 'm', 'e', 0xff), Header{3, 1, 9, []byte("me"), 12}, "")
	f(append(plain, 0xff, 0xff), Header{3, 1, 9, nil, 10}, "")
	f(append(plain, 0, 9, 'm'), Header{}, "client id is longer")
	f(append(plain, 0x80, 0), Header{}, "client id is longer")
	f(plain[:7], Header{}, "too short")
	flexible := []byte{0, 3, 0, 12, 0, 0, 0, 9, 0, 1, 'c'}
	f(append(flexible, 1, 5, 2, 1, 1, 0xaa), Header{3, 12, 9, []byte("c"), 16}, "")
	f(append(flexible, 65), Header{}, "number of tagged fields")
	f(append(flexible, 0xff, 0xff, 0xff, 0xff, 0x0f), Header{}, "number of tagged fields")
	f(flexible, Header{}, "number of tagged fields")
}

func TestResponseHeader(t *testing.T) {
	for _, c := range []struct {
		key, version int16
		want         bool
	}{{18, 0, false}, {18, 3, false}, {18, 4, false}, {3, 8, false}, {3, 9, true}, {47, 0, false}, {17, 1, false}, {75, 0, true}} {
		if got := HasResponseTags(c.key, c.version); got != c.want {
			t.Errorf("%s version %d: %v", Name(c.key), c.version, got)
		}
	}
}

func TestErrorCode(t *testing.T) {
	if ErrorCode(nil) != 0 || ErrorCode(errors.New("x")) != -1 || ErrorCode(fmt.Errorf("x: %w", kerr.NotCoordinator)) != 16 {
		t.Error("wrong codes")
	}
	if Message(0) != nil || *Message(3) != "This server does not host this topic-partition." {
		t.Errorf("messages: %v", *Message(3))
	}
}

func FuzzCheck(f *testing.F) {
	for i := range requestSchemas {
		key := requestSchemas[i].key
		req := kmsg.RequestForKey(key)
		req.SetVersion(LookupAPI(key).Max)
		fill(reflect.ValueOf(req).Elem(), rand.New(rand.NewPCG(1, 2)), 0)
		f.Add(key, req.GetVersion(), req.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		api := LookupAPI(key)
		if api == nil || !HasSchema(key) || version < api.Min || version > api.Max {
			return
		}
		if err := Check(key, version, body); err != nil {
			return
		}
		// What passes must not make kmsg panic.
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		_ = req.ReadFrom(body)
	})
}

func FuzzRequestHeader(f *testing.F) {
	f.Add([]byte{0, 3, 0, 12, 0, 0, 0, 9, 0, 1, 'c', 1, 5, 2, 1, 1})
	f.Fuzz(func(t *testing.T, frame []byte) {
		h, err := RequestHeader(frame)
		if err == nil && (h.BodyAt < headerSize || h.BodyAt > len(frame)) {
			t.Fatalf("body at %d of %d", h.BodyAt, len(frame))
		}
	})
}
