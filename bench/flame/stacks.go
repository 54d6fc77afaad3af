package flame

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/google/pprof/profile"
)

// Stack is one call stack and what was measured in it.
type Stack struct {
	// Frames are function names, the root first and the leaf last.
	Frames []string
	// Value is in the unit of the Stacks it belongs to.
	Value int64
}

// Stacks are a folded profile: no two have the same frames.
type Stacks struct {
	// Type and Unit are the profile's own words, such as "cpu" and
	// "nanoseconds", or "inuse_space" and "bytes".
	Type, Unit string
	Stacks     []Stack
}

// Total is the sum of all values.
func (s *Stacks) Total() int64 {
	var total int64
	for _, stack := range s.Stacks {
		total += stack.Value
	}
	return total
}

// FoldOptions say what to take from a profile.
type FoldOptions struct {
	// SampleType is the value to take, such as "alloc_objects"; empty takes the
	// profile's default, and for a profile without one the last.
	SampleType string
	// ByLabel puts the value of this pprof label below each stack, as its root.
	ByLabel string
}

// Fold adds up the samples of a profile by stack. Inlined functions are frames
// of their own.
func Fold(p *profile.Profile, opts FoldOptions) (*Stacks, error) {
	index, err := sampleIndex(p, opts.SampleType)
	if err != nil {
		return nil, err
	}
	out := &Stacks{Type: p.SampleType[index].Type, Unit: p.SampleType[index].Unit}
	f := newFolder()
	for _, sample := range p.Sample {
		frames := framesOf(sample)
		if opts.ByLabel != "" {
			value := strings.Join(sample.Label[opts.ByLabel], ",")
			if value == "" {
				value = "none"
			}
			frames = append([]string{opts.ByLabel + "=" + value}, frames...)
		}
		f.add(frames, sample.Value[index])
	}
	out.Stacks = f.stacks()
	return out, nil
}

// sampleIndex finds the value of a sample type.
func sampleIndex(p *profile.Profile, sampleType string) (int, error) {
	if len(p.SampleType) == 0 {
		return 0, errors.New("the profile has no sample types")
	}
	if sampleType == "" {
		sampleType = p.DefaultSampleType
	}
	var names []string
	for i, t := range p.SampleType {
		if t.Type == sampleType {
			return i, nil
		}
		names = append(names, t.Type)
	}
	if sampleType == "" {
		return len(p.SampleType) - 1, nil
	}
	return 0, fmt.Errorf("the profile has no sample type %q; it has %s", sampleType, strings.Join(names, ", "))
}

// framesOf lists a sample's functions, the root first. The library has the leaf
// first, and in a location with inlined calls the innermost first.
func framesOf(sample *profile.Sample) []string {
	var frames []string
	for _, location := range slices.Backward(sample.Location) {
		if len(location.Line) == 0 {
			frames = append(frames, fmt.Sprintf("0x%x", location.Address))
		}
		for _, line := range slices.Backward(location.Line) {
			name := fmt.Sprintf("0x%x", location.Address)
			if line.Function != nil && line.Function.Name != "" {
				name = line.Function.Name
			}
			frames = append(frames, name)
		}
	}
	return frames
}

// folder adds values up by stack.
type folder struct {
	byKey map[string]int
	list  []Stack
}

func newFolder() *folder { return &folder{byKey: make(map[string]int)} }

func (f *folder) add(frames []string, value int64) {
	if len(frames) == 0 || value == 0 {
		return
	}
	key := strings.Join(frames, ";")
	i, ok := f.byKey[key]
	if !ok {
		i = len(f.list)
		f.byKey[key] = i
		f.list = append(f.list, Stack{Frames: slices.Clone(frames)})
	}
	f.list[i].Value += value
}

// stacks returns what was added, in alphabetical order.
func (f *folder) stacks() []Stack {
	slices.SortFunc(f.list, func(a, b Stack) int { return slices.Compare(a.Frames, b.Frames) })
	return slices.DeleteFunc(f.list, func(s Stack) bool { return s.Value == 0 })
}

// WriteFolded writes one line a stack, "root;caller;leaf value", the form that
// other flame graph tools read.
func (s *Stacks) WriteFolded(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, stack := range s.Stacks {
		for i, frame := range stack.Frames {
			if i > 0 {
				b.WriteByte(';')
			}
			b.WriteString(strings.ReplaceAll(frame, ";", ":"))
		}
		fmt.Fprintf(b, " %d\n", stack.Value)
	}
	return b.Flush()
}

// Function is what one function adds up to over a whole profile.
type Function struct {
	Name string
	// Self was measured in the function itself, Total in it and in what it
	// called; a recursive function counts once a stack.
	Self, Total int64
}

// Top lists all functions, the largest Self first.
func (s *Stacks) Top() []Function {
	byName := make(map[string]*Function)
	function := func(name string) *Function {
		f := byName[name]
		if f == nil {
			f = &Function{Name: name}
			byName[name] = f
		}
		return f
	}
	seen := make(map[string]bool)
	for _, stack := range s.Stacks {
		clear(seen)
		for _, name := range stack.Frames {
			if !seen[name] {
				seen[name] = true
				function(name).Total += stack.Value
			}
		}
		function(stack.Frames[len(stack.Frames)-1]).Self += stack.Value
	}
	list := make([]Function, 0, len(byName))
	for _, f := range byName {
		list = append(list, *f)
	}
	slices.SortFunc(list, func(a, b Function) int {
		return cmp.Or(cmp.Compare(b.Self, a.Self), cmp.Compare(b.Total, a.Total), strings.Compare(a.Name, b.Name))
	})
	return list
}

// Change is how a function's own share of a profile differs from another's.
type Change struct {
	Name string
	// Before and After are shares of the profiles' totals, 0 to 1.
	Before, After float64
}

// Changes compares the functions' own shares, the largest difference first.
func Changes(before, after *Stacks) []Change {
	byName := make(map[string]*Change)
	collect := func(s *Stacks, set func(c *Change, share float64)) {
		total := s.Total()
		for _, f := range s.Top() {
			c := byName[f.Name]
			if c == nil {
				c = &Change{Name: f.Name}
				byName[f.Name] = c
			}
			set(c, share(f.Self, total))
		}
	}
	collect(before, func(c *Change, share float64) { c.Before = share })
	collect(after, func(c *Change, share float64) { c.After = share })
	list := make([]Change, 0, len(byName))
	for _, c := range byName {
		list = append(list, *c)
	}
	size := func(c Change) float64 { return max(c.After-c.Before, c.Before-c.After) }
	slices.SortFunc(list, func(a, b Change) int {
		return cmp.Or(cmp.Compare(size(b), size(a)), strings.Compare(a.Name, b.Name))
	})
	return list
}

func share(part, total int64) float64 {
	if total == 0 {
		return 0
	}
	return float64(part) / float64(total)
}

// ReadFolded reads what WriteFolded wrote.
func ReadFolded(r io.Reader, sampleType, unit string) (*Stacks, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	f := newFolder()
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		space := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseInt(line[space+1:], 10, 64)
		if space < 0 || err != nil {
			return nil, fmt.Errorf("line %d is not a folded stack: it must end with a space and a number", n)
		}
		f.add(strings.Split(line[:space], ";"), value)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the folded stacks: %w", err)
	}
	return &Stacks{Type: sampleType, Unit: unit, Stacks: f.stacks()}, nil
}

// Merge adds stacks of one kind up; nil for none.
func Merge(list []*Stacks) *Stacks {
	if len(list) == 0 {
		return nil
	}
	f := newFolder()
	for _, s := range list {
		for _, stack := range s.Stacks {
			f.add(stack.Frames, stack.Value)
		}
	}
	return &Stacks{Type: list[0].Type, Unit: list[0].Unit, Stacks: f.stacks()}
}
