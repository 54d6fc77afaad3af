package flame

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
)

var update = flag.Bool("update", false, "write the golden files anew")

// tinyProfile has two loops, an inlined call and a recursive function; scale
// multiplies what the validation of records cost.
func tinyProfile(scale int64) *profile.Profile {
	p := &profile.Profile{
		SampleType:        []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}},
		PeriodType:        &profile.ValueType{Type: "cpu", Unit: "nanoseconds"},
		Period:            10_000_000,
		DefaultSampleType: "cpu",
	}
	locations := make(map[string]*profile.Location)
	// at makes a location; several names are inlined calls, the innermost first.
	at := func(names ...string) *profile.Location {
		key := strings.Join(names, ";")
		if locations[key] == nil {
			l := &profile.Location{ID: uint64(len(p.Location) + 1), Address: uint64(0x400000 + len(p.Location))}
			for _, name := range names {
				f := &profile.Function{ID: uint64(len(p.Function) + 1), Name: name}
				p.Function = append(p.Function, f)
				l.Line = append(l.Line, profile.Line{Function: f})
			}
			p.Location = append(p.Location, l)
			locations[key] = l
		}
		return locations[key]
	}
	add := func(loop string, count int64, leafFirst ...*profile.Location) {
		s := &profile.Sample{Location: leafFirst, Value: []int64{count, count * 10_000_000}}
		if loop != "" {
			s.Label = map[string][]string{"loop": {loop}}
		}
		p.Sample = append(p.Sample, s)
	}
	run, event := at("freshet/broker.(*loop).run"), at("freshet/broker.(*loop).onEvent")
	write := at("syscall.Syscall6", "freshet/iouring.pwritev")
	add("0", 40, write, at("freshet/broker.(*turn).end"), event, run)
	add("1", 20, write, at("freshet/broker.(*turn).end"), event, run)
	add("0", 15*scale, at("freshet/record.Validate"), event, run)
	add("0", 5, at("syscall.sendfile"), at("freshet/zerocopy.SendFile"), event, run)
	add("1", 6, at("freshet/storage.(*Log).append[go.shape.struct { a/b.C }]"), event, run)
	add("", 3, at("runtime.scanobject"), at("runtime.gcDrain"))
	add("", 1, at("runtime.gcDrain"), at("runtime.gcDrain"))
	return p
}

func fold(t *testing.T, p *profile.Profile, opts FoldOptions) *Stacks {
	t.Helper()
	// Through the file format, as a profile from a broker comes.
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	p, err := profile.Parse(&b)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Fold(p, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func folded(t *testing.T, s *Stacks) string {
	t.Helper()
	var b strings.Builder
	if err := s.WriteFolded(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFold(t *testing.T) {
	s := fold(t, tinyProfile(1), FoldOptions{SampleType: "samples"})
	want := `freshet/broker.(*loop).run;freshet/broker.(*loop).onEvent;freshet/broker.(*turn).end;freshet/iouring.pwritev;syscall.Syscall6 60
freshet/broker.(*loop).run;freshet/broker.(*loop).onEvent;freshet/record.Validate 15
freshet/broker.(*loop).run;freshet/broker.(*loop).onEvent;freshet/storage.(*Log).append[go.shape.struct { a/b.C }] 6
freshet/broker.(*loop).run;freshet/broker.(*loop).onEvent;freshet/zerocopy.SendFile;syscall.sendfile 5
runtime.gcDrain;runtime.gcDrain 1
runtime.gcDrain;runtime.scanobject 3
`
	got := folded(t, s)
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	back, err := ReadFolded(strings.NewReader(got), s.Type, s.Unit)
	if err != nil || !reflect.DeepEqual(back, s) {
		t.Errorf("read back %v: %v", back, err)
	}
	if s.Total() != 90 || fold(t, tinyProfile(1), FoldOptions{}).Total() != 900_000_000 {
		t.Error("the totals are wrong")
	}
	if _, err := Fold(tinyProfile(1), FoldOptions{SampleType: "space"}); err == nil || !strings.Contains(err.Error(), "it has samples, cpu") {
		t.Errorf("an unknown sample type gives %v", err)
	}
}

func TestFoldByLabel(t *testing.T) {
	got := folded(t, fold(t, tinyProfile(1), FoldOptions{SampleType: "samples", ByLabel: "loop"}))
	for _, line := range []string{
		"loop=0;freshet/broker.(*loop).run;freshet/broker.(*loop).onEvent;freshet/record.Validate 15\n",
		"loop=none;runtime.gcDrain;runtime.scanobject 3\n",
	} {
		if !strings.Contains(got, line) {
			t.Errorf("no line %q in\n%s", line, got)
		}
	}
}

func TestReadFoldedRefuses(t *testing.T) {
	for _, text := range []string{"a;b", "a;b x", "7"} {
		if _, err := ReadFolded(strings.NewReader(text), "cpu", "samples"); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestTopAndChanges(t *testing.T) {
	before, after := fold(t, tinyProfile(1), FoldOptions{}), fold(t, tinyProfile(4), FoldOptions{})
	top := before.Top()
	if top[0].Name != "syscall.Syscall6" || top[0].Self != 600_000_000 || top[0].Total != 600_000_000 {
		t.Errorf("top is %v", top[0])
	}
	for _, f := range top {
		if f.Name == "runtime.gcDrain" && (f.Self != 10_000_000 || f.Total != 40_000_000) {
			t.Errorf("a recursive function counts %v", f)
		}
	}
	changes := Changes(before, after)
	names := []string{changes[0].Name, changes[1].Name}
	if !reflect.DeepEqual(names, []string{"freshet/record.Validate", "syscall.Syscall6"}) || changes[0].After < changes[0].Before {
		t.Errorf("changes begin with %v", changes[:2])
	}
	if twice := Merge([]*Stacks{before, before}); twice.Total() != 2*before.Total() || len(twice.Stacks) != len(before.Stacks) {
		t.Errorf("merged with itself: %v", twice)
	}
	if Merge(nil) != nil {
		t.Error("nothing merged is something")
	}
}

// golden compares a graph with its file, without the style sheet and the
// script, which have files of their own.
func golden(t *testing.T, name string, svg []byte) {
	t.Helper()
	text := strings.Replace(string(svg), script, "SCRIPT\n", 1)
	text = strings.Replace(text, styleSheet, "STYLE", 1)
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s differs; look at it and run go test ./bench/flame -update\n%s", path, text)
	}
}

func TestGoldenSVG(t *testing.T) {
	var b bytes.Buffer
	opts := Options{Title: "CPU time", Subtitle: "tiny <profile>"}
	if err := WriteSVG(&b, fold(t, tinyProfile(1), FoldOptions{}), opts); err != nil {
		t.Fatal(err)
	}
	wellFormed(t, b.Bytes())
	golden(t, "tiny.svg", b.Bytes())
	b.Reset()
	opts.Title = "CPU time: change"
	if err := WriteDiffSVG(&b, fold(t, tinyProfile(1), FoldOptions{}), fold(t, tinyProfile(4), FoldOptions{}), opts); err != nil {
		t.Fatal(err)
	}
	wellFormed(t, b.Bytes())
	golden(t, "tiny-diff.svg", b.Bytes())
}

// wellFormed wants XML that names nothing outside itself.
func wellFormed(t *testing.T, svg []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not XML: %v", err)
		}
	}
	for _, address := range regexp.MustCompile(`https?://[^"')\s]+`).FindAllString(string(svg), -1) {
		if address != "http://www.w3.org/2000/svg" && address != "http://www.w3.org/1999/xhtml" {
			t.Errorf("the graph names %s", address)
		}
	}
}

func TestEmptyProfileIsDrawn(t *testing.T) {
	var b bytes.Buffer
	if err := WriteSVG(&b, &Stacks{Type: "delay", Unit: "nanoseconds"}, Options{}); err != nil {
		t.Fatal(err)
	}
	wellFormed(t, b.Bytes())
}

func TestDiffOfDifferentUnits(t *testing.T) {
	err := WriteDiffSVG(io.Discard, &Stacks{Unit: "bytes"}, &Stacks{Unit: "count"}, Options{})
	if err == nil {
		t.Error("bytes were compared with a count")
	}
}

func TestChangeColours(t *testing.T) {
	channels := func(before, after float64) (red, blue int) {
		c := changeColour(before, after)
		v, err := hexBytes(c)
		if err != nil {
			t.Fatal(err)
		}
		return v[0], v[2]
	}
	f := func(before, after float64, want string) {
		t.Helper()
		red, blue := channels(before, after)
		got := "neutral"
		switch {
		case red > blue+20:
			got = "red"
		case blue > red+20:
			got = "blue"
		}
		if got != want {
			t.Errorf("%v to %v is %s (%s), want %s", before, after, got, changeColour(before, after), want)
		}
	}
	f(0.10, 0.10, "neutral")
	f(0.10, 0.1005, "neutral")
	f(0.10, 0.12, "red")
	f(0, 0.9, "red")
	f(0.12, 0.10, "blue")
	f(0.5, 0, "blue")
	_, small := channels(0.10, 0.11)
	_, large := channels(0.10, 0.20)
	if small <= large {
		t.Error("a larger change is not more intense")
	}
	if changeColour(0, 0.1) != changeColour(0, 0.5) {
		t.Error("beyond the scale the colour goes on changing")
	}
}

func hexBytes(colour string) (out [3]int, err error) {
	n := 0
	for i := range out {
		for _, c := range colour[1+2*i : 3+2*i] {
			digit := strings.IndexRune("0123456789abcdef", c)
			if digit < 0 {
				return out, errors.New("not a colour: " + colour)
			}
			n = n*16 + digit
		}
		out[i], n = n, 0
	}
	return out, nil
}

func TestLayers(t *testing.T) {
	for name, want := range map[string]Layer{
		"freshet/broker.(*loop).run":                         LayerBroker,
		"freshet/storage.(*Log).Append":                      LayerStorage,
		"freshet/vfs.Open":                                   LayerStorage,
		"freshet/record.Validate":                            LayerRecord,
		"freshet/iouring.(*loopEngine).Write":                LayerIOUring,
		"freshet/zerocopy.SendMsg":                           LayerZeroCopy,
		"freshet/coordinator/group.(*shard).step":            LayerFreshet,
		"internal/runtime/syscall/linux.Syscall6":            LayerSyscall,
		"golang.org/x/sys/unix.EpollWait":                    LayerSyscall,
		"runtime.mallocgc":                                   LayerRuntime,
		"runtime/pprof.Do":                                   LayerRuntime,
		"internal/runtime/maps.(*Map).get":                   LayerRuntime,
		"hash/crc32.update":                                  LayerOther,
		"slices.SortFunc[go.shape.[]freshet/broker.x]":       LayerOther,
		"github.com/panjf2000/gnet/v2/pkg/netpoll.(*P).Poll": LayerOther,
		"vfs_write_[k]":                                      LayerKernel,
	} {
		if got := LayerOf(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if got := shortName("freshet/broker.do[a/b.C]"); got != "broker.do[a/b.C]" {
		t.Errorf("short name %q", got)
	}
}

func TestReadPerfScript(t *testing.T) {
	const text = `# a comment
freshet  4711/4713  5771.874838:    2004008 cpu-clock:ppp: 
	ffffffff816bac2b vfs_read+0xbb ([kernel.kallsyms])
	ffffffff81000130 entry_SYSCALL_64_after_hwframe+0x76 ([kernel.kallsyms])
	           a50e17 [unknown] (/usr/bin/freshet)
	           f82ad read+0xd (/usr/lib/libc.so.6)

freshet  4711/4713  5771.876814:    2004008 cpu-clock:ppp: 
	ffffffff816bac2b vfs_read+0x1b ([kernel.kallsyms])
	ffffffff81000130 entry_SYSCALL_64_after_hwframe+0x76 ([kernel.kallsyms])
	           a50e17 [unknown] (/usr/bin/freshet)
	           f82ad read+0xd (/usr/lib/libc.so.6)

freshet  4711/4711  5771.9:    2004008 cpu-clock:ppp: 
	               10 [unknown] (/usr/lib/other.so)
`
	resolve := func(f PerfFrame) string {
		if f.Address == 0xa50e17 && f.Object == "/usr/bin/freshet" {
			return "freshet/broker.(*loop).run"
		}
		return ""
	}
	s, err := ReadPerfScript(strings.NewReader(text), resolve)
	if err != nil {
		t.Fatal(err)
	}
	want := "[unknown] 1\nread;freshet/broker.(*loop).run;entry_SYSCALL_64_after_hwframe_[k];vfs_read_[k] 2\n"
	if got := folded(t, s); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if _, err := ReadPerfScript(strings.NewReader("comm 1/1 2: 3 x:\n\tnonsense\n"), nil); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("nonsense gives %v", err)
	}
}

func TestFormatValue(t *testing.T) {
	f := func(v int64, unit, want string) {
		t.Helper()
		if got := FormatValue(v, unit); got != want {
			t.Errorf("%d %s is %q, want %q", v, unit, got, want)
		}
	}
	f(1_234_000_000, "nanoseconds", "1.23 s")
	f(1_200_000, "nanoseconds", "1.2 ms")
	f(1_200, "nanoseconds", "1.2 µs")
	f(3<<20, "bytes", "3.0 MiB")
	f(12, "bytes", "12 B")
	f(7, "count", "7")
	f(7, "samples", "7 samples")
}
