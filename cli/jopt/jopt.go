package jopt

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// Arity says whether an option takes a value.
type Arity uint8

const (
	// None: the option is a switch.
	None Arity = iota
	// Required: the next word is the value, whatever it looks like.
	Required
	// Optional: the next word is the value unless it looks like an option.
	Optional
)

// Kind is the type a value must convert to; it also names the value in help.
type Kind string

// The kinds that Kafka's tools use, spelled as their help spells them.
const (
	String Kind = "String"
	Int    Kind = "Integer"
	Long   Kind = "Long"
)

// Option describes one option of a tool.
type Option struct {
	Name     string // without hyphens
	Arity    Arity
	Kind     Kind   // of the value; String when empty
	ArgName  string // shown in help; may be empty
	Default  string // value of a missing option; empty means none
	Help     string
	Required bool // marked in help only; Parser.CheckRequired enforces
}

// Error is a command line that the tool refuses. Its text is joptsimple's.
type Error struct{ msg string }

// Error returns the message for the user.
func (e *Error) Error() string { return e.msg }

func errorf(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// Parser knows a tool's options. Build it with Add, then call Parse once.
type Parser struct {
	options map[string]*Option
}

// NewParser returns a parser with --help and --version, which every Kafka tool
// accepts, and the given options.
func NewParser(options ...Option) *Parser {
	p := &Parser{options: map[string]*Option{}}
	p.Add(Option{Name: "help", Help: "Print this text."},
		Option{Name: "version", Help: "Print the Kafka version these tools follow."})
	p.Add(options...)
	return p
}

// Add declares more options.
func (p *Parser) Add(options ...Option) {
	for _, o := range options {
		if o.Kind == "" {
			o.Kind = String
		}
		p.options[o.Name] = &o
	}
}

// Set is a parsed command line.
type Set struct {
	parser *Parser
	values map[string][]string
	seen   map[string]bool
	// Words is the whole command line.
	Words []string
	// Args are the words that belong to no option.
	Args []string
}

// Parse reads args, which exclude the program's name.
func (p *Parser) Parse(args []string) (*Set, error) {
	s := &Set{parser: p, values: map[string][]string{}, seen: map[string]bool{}, Words: args}
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		switch {
		case word == "--":
			s.Args = append(s.Args, args...)
			return s, nil
		case !looksLikeOption(word):
			s.Args = append(s.Args, word)
			continue
		}
		rest, err := p.parseOption(s, word, args)
		if err != nil {
			return nil, err
		}
		args = rest
	}
	return s, nil
}

// parseOption handles the option in word, taking its value from word itself or
// from args, and returns the words left over.
func (p *Parser) parseOption(s *Set, word string, args []string) ([]string, error) {
	name, value, inline := strings.Cut(strings.TrimLeft(word, "-"), "=")
	o := p.options[name]
	if o == nil {
		return nil, errorf("%s is not a recognized option", name)
	}
	s.seen[name] = true
	switch o.Arity {
	case None:
		if inline {
			return nil, errorf("Option %s does not take an argument", name)
		}
		return args, nil
	case Optional:
		if !inline && len(args) > 0 && !looksLikeOption(args[0]) {
			value, inline, args = args[0], true, args[1:]
		}
		if !inline {
			return args, nil
		}
	case Required:
		if !inline {
			if len(args) == 0 {
				return nil, errorf("Option %s requires an argument", name)
			}
			value, args = args[0], args[1:]
		}
	}
	s.values[name] = append(s.values[name], value)
	return args, nil
}

func looksLikeOption(word string) bool {
	return len(word) > 1 && word[0] == '-' && word != "--"
}

// Has reports whether the option was on the command line.
func (s *Set) Has(name string) bool { return s.seen[name] }

// HasAny reports whether any of the options was on the command line.
func (s *Set) HasAny(names ...string) bool {
	for _, name := range names {
		if s.seen[name] {
			return true
		}
	}
	return false
}

// Values returns every value the option was given, in order.
func (s *Set) Values(name string) []string { return s.values[name] }

// Value returns the option's value or its default. More than one value is an
// error, as is a value that is not of the option's kind.
func (s *Set) Value(name string) (string, error) {
	o := s.parser.options[name]
	vs := s.values[name]
	if len(vs) > 1 {
		return "", errorf("Found multiple arguments for option %s, but you asked for only one", name)
	}
	if len(vs) == 0 {
		return o.Default, nil
	}
	bits := 0
	switch o.Kind {
	case Int:
		bits = 32
	case Long:
		bits = 64
	}
	if bits > 0 {
		if _, err := strconv.ParseInt(vs[0], 10, bits); err != nil {
			return "", errorf("Cannot parse argument '%s' of option %s", vs[0], name)
		}
	}
	return vs[0], nil
}

// Validate checks every option that was given a value as Value does, except
// those named in repeatable, which may have several.
func (s *Set) Validate(repeatable ...string) error {
	names := make([]string, 0, len(s.values))
	for name := range s.values {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if contains(repeatable, name) {
			continue
		}
		if _, err := s.Value(name); err != nil {
			return err
		}
	}
	return nil
}

// Str is Value for an option already checked by Validate.
func (s *Set) Str(name string) string {
	v, _ := s.Value(name)
	return v
}

// Int64 is the value of an Int or Long option already checked by Validate; a
// missing option without default is 0.
func (s *Set) Int64(name string) int64 {
	n, _ := strconv.ParseInt(s.Str(name), 10, 64)
	return n
}

// CheckRequired returns an error naming the first missing option.
func (s *Set) CheckRequired(names ...string) error {
	for _, name := range names {
		if !s.seen[name] {
			return errorf("Missing required argument \"[%s]\"", name)
		}
	}
	return nil
}

// CheckInvalid returns an error when used is given together with any of names.
func (s *Set) CheckInvalid(used string, names ...string) error {
	if !s.seen[used] {
		return nil
	}
	for _, name := range names {
		if s.seen[name] {
			return errorf("Option \"[%s]\" can't be used with option \"[%s]\"", used, name)
		}
	}
	return nil
}

// CheckOneOf returns an error unless exactly one of names is given.
func (s *Set) CheckOneOf(names ...string) error {
	count := 0
	for _, name := range names {
		if s.seen[name] {
			count++
		}
	}
	if count == 1 {
		return nil
	}
	return errorf("Exactly one of the following arguments is required: [%s]", strings.Join(names, "], ["))
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
