package cli

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// The expected lines are java.io.BufferedReader.readLine's.
func TestLineReader(t *testing.T) {
	f := func(input string, want ...string) {
		t.Helper()
		for name, source := range map[string]io.Reader{
			"whole":         strings.NewReader(input),
			"byte a read":   iotest.OneByteReader(strings.NewReader(input)),
			"data with EOF": iotest.DataErrReader(strings.NewReader(input)),
		} {
			l := newLineReader(source)
			var got []string
			for {
				line, ok, err := l.next()
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				got = append(got, string(line))
			}
			if strings.Join(got, "|") != strings.Join(want, "|") || len(got) != len(want) {
				t.Errorf("%q, %s: got %q, want %q", input, name, got, want)
			}
		}
	}
	f("")
	f("a", "a")
	f("a\n", "a")
	f("a\nb", "a", "b")
	f("a\r\nb\r\n", "a", "b")
	f("a\rb\r", "a", "b")
	f("\n\n", "", "")
	f("\r\n\r", "", "")
	f("\r\r\n\n", "", "", "")
	f("a\x00\xff\n", "a\x00\xff")
	long := strings.Repeat("x", 3*lineChunkBytes+7)
	f(long+"\r\n"+long+"\nend", long, long, "end")
}

// Lines must stay as they were while later ones are read: records keep them.
func TestLinesOutliveTheReader(t *testing.T) {
	var input bytes.Buffer
	for i := range 200000 {
		input.WriteString(strings.Repeat(string(rune('a'+i%26)), i%40))
		input.WriteByte('\n')
	}
	l := newLineReader(&input)
	var lines [][]byte
	for {
		line, ok, err := l.next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		lines = append(lines, line)
	}
	if len(lines) != 200000 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, line := range lines {
		if string(line) != strings.Repeat(string(rune('a'+i%26)), i%40) {
			t.Fatalf("line %d is %q", i, line)
		}
	}
}

func BenchmarkLineReader(b *testing.B) {
	data := []byte(strings.Repeat(strings.Repeat("v", 99)+"\n", 10000))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		l := newLineReader(bytes.NewReader(data))
		for {
			if _, ok, _ := l.next(); !ok {
				break
			}
		}
	}
}

// The cases are those of Kafka's LineMessageReader.
func TestLineParser(t *testing.T) {
	f := func(line, wantKey, wantValue, wantHeaders, wantErr string, props ...string) {
		t.Helper()
		p := clientProps{}
		p.add(props)
		parser, err := newLineParser(p)
		if err != nil {
			t.Fatal(err)
		}
		r, err := parser.parse([]byte(line))
		if err != nil || wantErr != "" {
			if err == nil || err.Error() != wantErr {
				t.Errorf("%q: error %v, want %q", line, err, wantErr)
			}
			return
		}
		show := func(b []byte) string {
			if b == nil {
				return "<nil>"
			}
			return string(b)
		}
		var headers []string
		for _, h := range r.Headers {
			headers = append(headers, h.Key+"="+show(h.Value))
		}
		if show(r.Key) != wantKey || show(r.Value) != wantValue || strings.Join(headers, ";") != wantHeaders {
			t.Errorf("%q: %q %q %q", line, show(r.Key), show(r.Value), headers)
		}
	}
	f("v", "<nil>", "v", "", "")
	f("", "<nil>", "", "", "")
	f("k\tv\tw", "k", "v\tw", "", "", "parse.key=true")
	f("\tv", "", "v", "", "", "parse.key=true")
	f("v", "", "", "", "No key separator found on line number 1: 'v'", "parse.key=true")
	f("v", "<nil>", "v", "", "", "parse.key=true", "ignore.error=true")
	f("a:1,b:\tk\tv", "k", "v", "a=1;b=", "", "parse.key=true", "parse.headers=true")
	f("a:NULL\tNULL\tNULL", "<nil>", "<nil>", "a=<nil>", "", "parse.key=true", "parse.headers=true", "null.marker=NULL")
	f("NULL\tk\tv", "k", "v", "", "", "parse.key=true", "parse.headers=true", "null.marker=NULL")
	f("a\tv", "", "", "", "No header key separator found in pair 'a' on line number 1", "parse.headers=true")
	if _, err := newLineParser(clientProps{"headers.delimiter": ",", "parse.headers": "true"}); err == nil ||
		err.Error() != "headers.delimiter and headers.separator may not be equal" {
		t.Errorf("clash: %v", err)
	}
}

func TestDeserializers(t *testing.T) {
	f := func(class, input, want string) {
		t.Helper()
		d, err := findDeserializer(class)
		if err != nil {
			t.Fatal(err)
		}
		got, err := d([]byte(input))
		if err != nil {
			got = []byte("error: " + err.Error())
		}
		if string(got) != want {
			t.Errorf("%s %q: %q, want %q", class, input, got, want)
		}
	}
	f(serializationPackage+"LongDeserializer", "\x00\x00\x00\x00\x00\x00\x00\x2a", "42")
	f("LongDeserializer", "null", "error: Size of data received by LongDeserializer is not 8")
	f("IntegerDeserializer", "\xff\xff\xff\xfe", "-2")
	f("ShortDeserializer", "\x01\x00", "256")
	f("DoubleDeserializer", "\x3f\xf8\x00\x00\x00\x00\x00\x00", "1.5")
	f("DoubleDeserializer", "\x41\x63\x12\xd0\x00\x00\x00\x00", "1.0E7")
	f("FloatDeserializer", "\x3d\xcc\xcc\xcd", "0.1")
	f("BooleanDeserializer", "\x01", "true")
	f("BytesDeserializer", "a\x00\\\xff", `a\x00\x5C\xFF`)
	f("StringDeserializer", "a\xffb", "a\uFFFDb")
	f("UUIDDeserializer", "123E4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000")
}

func TestISODuration(t *testing.T) {
	f := func(text string, want time.Duration) {
		t.Helper()
		got, err := parseISODuration(text)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%s: %v (%v), want %v", text, got, err, want)
		}
	}
	f("P1D", 24*time.Hour)
	f("PT1H30M", 90*time.Minute)
	f("PT0.5S", 500*time.Millisecond)
	f("P2DT3H4M5.006S", 51*time.Hour+4*time.Minute+5*time.Second+6*time.Millisecond)
	f("-PT1M", -time.Minute)
	f("P", -1)
	f("PT", -1)
	f("1h", -1)
}

// The order and the hash are what java.util.HashMap and String.hashCode of JDK
// 17 give for these keys.
func TestJavaHashOrder(t *testing.T) {
	keys := "cleanup.policy,compression.type,retention.ms,segment.bytes,flush.ms,max.message.bytes,min.insync.replicas,preallocate," +
		"index.interval.bytes,unclean.leader.election.enable,delete.retention.ms,retention.bytes,segment.jitter.ms"
	want := "compression.type,max.message.bytes,min.insync.replicas,preallocate,segment.jitter.ms,index.interval.bytes," +
		"unclean.leader.election.enable,delete.retention.ms,retention.bytes,cleanup.policy,flush.ms,retention.ms,segment.bytes"
	if got := strings.Join(javaHashOrder(strings.Split(keys, ",")), ","); got != want {
		t.Errorf("order %s", got)
	}
	if got := int32(javaHash("retention.ms")); got != -1339220362 {
		t.Errorf("hash %d", got)
	}
}
