package flame

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// PerfFrame is one line of a stack in the output of perf script.
type PerfFrame struct {
	// Address is in memory for the kernel, in the file for the others.
	Address uint64
	// Symbol is perf's own, without the offset; "[unknown]" if it found none.
	Symbol string
	// Object is the file or kernel part that the address lies in.
	Object string
}

// Kernel reports whether the frame is of the kernel or one of its modules.
func (f PerfFrame) Kernel() bool {
	return f.Address>>63 != 0 || strings.HasPrefix(f.Object, "[kernel") || strings.HasSuffix(f.Object, ".ko")
}

// ReadPerfScript folds what `perf script -F comm,pid,tid,time,event,ip,sym,dso`
// prints: a head line for each sample, its frames indented from the leaf to the
// root, an empty line. resolve names a frame that perf could not, such as one of
// a stripped Go binary; nil leaves those "[unknown]". Values count samples.
func ReadPerfScript(r io.Reader, resolve func(PerfFrame) string) (*Stacks, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	f := newFolder()
	var frames []string
	inSample := false
	finish := func() {
		slices.Reverse(frames)
		f.add(frames, 1)
		frames, inSample = frames[:0], false
	}
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			finish()
		case line[0] != ' ' && line[0] != '\t':
			finish()
			inSample = true
		case inSample:
			frame, err := parsePerfFrame(line)
			if err != nil {
				return nil, fmt.Errorf("perf script, line %d: %w", n, err)
			}
			frames = append(frames, frame.name(resolve))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the output of perf script: %w", err)
	}
	finish()
	return &Stacks{Type: "cpu", Unit: "samples", Stacks: f.stacks()}, nil
}

// parsePerfFrame reads "  address symbol+0xoffset (object)".
func parsePerfFrame(line string) (PerfFrame, error) {
	text := strings.TrimSpace(line)
	address, rest, _ := strings.Cut(text, " ")
	value, err := strconv.ParseUint(address, 16, 64)
	if err != nil {
		return PerfFrame{}, fmt.Errorf("%q is not a stack frame", text)
	}
	frame := PerfFrame{Address: value, Symbol: rest}
	if open := strings.LastIndex(rest, " ("); open >= 0 && strings.HasSuffix(rest, ")") {
		frame.Symbol, frame.Object = rest[:open], rest[open+2:len(rest)-1]
	}
	if plus := strings.LastIndex(frame.Symbol, "+0x"); plus >= 0 {
		frame.Symbol = frame.Symbol[:plus]
	}
	return frame, nil
}

// name is the frame as the flame graph shows it.
func (f PerfFrame) name(resolve func(PerfFrame) string) string {
	name := f.Symbol
	if name == "" || name == "[unknown]" {
		name = "[unknown]"
		if resolve != nil && !f.Kernel() {
			if found := resolve(f); found != "" {
				name = found
			}
		}
	}
	if f.Kernel() {
		name += KernelSuffix
	}
	return name
}
