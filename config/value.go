package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Error says that a key cannot have a value. Its text is Kafka's.
type Error struct {
	Key    string
	Value  string
	Reason string // what is allowed
}

// Error is Kafka's sentence (ConfigException).
func (e *Error) Error() string {
	return fmt.Sprintf("Invalid value %s for configuration %s: %s", e.Value, e.Key, e.Reason)
}

func invalid(key, text, reason string) *Error { return &Error{Key: key, Value: text, Reason: reason} }

// value is one parsed value. The field for the key's type is set; text is the
// value in the form that DescribeConfigs shows.
type value struct {
	text   string
	isNull bool
	bool   bool
	int    int64
	double float64
	list   []string
}

// number is the value of a numeric key.
func (v value) number() float64 {
	if v.double != 0 {
		return v.double
	}
	return float64(v.int)
}

// parse reads text as the key's type and checks it against the key's rule.
// Surrounding space is dropped, as Kafka does.
func (d *Def) parse(text string) (value, error) {
	v := value{text: strings.TrimSpace(text)}
	var err error
	switch d.Type {
	case Boolean:
		switch {
		case strings.EqualFold(v.text, "true"):
			v.bool = true
		case !strings.EqualFold(v.text, "false"):
			return v, invalid(d.Name, text, "Expected value to be either true or false")
		}
		v.text = strconv.FormatBool(v.bool)
	case Int:
		v.int, err = strconv.ParseInt(v.text, 10, 32)
	case Short:
		v.int, err = strconv.ParseInt(v.text, 10, 16)
	case Long:
		v.int, err = strconv.ParseInt(v.text, 10, 64)
	case Double:
		v.double, err = strconv.ParseFloat(v.text, 64)
		if err == nil && (math.IsNaN(v.double) || math.IsInf(v.double, 0)) {
			err = strconv.ErrRange
		}
	case List:
		v.list = SplitList(v.text)
		v.text = strings.Join(v.list, ",")
	}
	if err != nil {
		return v, invalid(d.Name, text, "Not a number of type "+d.Type.String())
	}
	if d.Type == Int || d.Type == Short || d.Type == Long {
		v.text = strconv.FormatInt(v.int, 10)
	}
	if d.rule.check != nil {
		if err := d.rule.check(d.Name, v); err != nil {
			return v, err
		}
	}
	return v, nil
}

// parseDefault is the key's default, parsed. A default that does not parse is
// an error in the tables, which the tests rule out.
func (d *Def) parseDefault() value {
	text, ok := d.Default()
	if !ok {
		return value{isNull: true}
	}
	v, err := d.parse(text)
	if err != nil {
		panic("BUG: default of " + d.Name + ": " + err.Error())
	}
	return v
}

// Check reports whether text is a valid value of the key.
func (d *Def) Check(text string) error {
	_, err := d.parse(text)
	return err
}

// SplitList splits a list value at its commas and drops the space around the
// elements. An empty or blank value is an empty list.
func SplitList(text string) []string {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil
	}
	parts := strings.Split(text, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}
