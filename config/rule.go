package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// rule is what a value must satisfy beyond its type. The zero rule accepts
// everything.
type rule struct {
	text  string // the allowed values, in Kafka's notation
	check func(name string, v value) error
}

// anyValue accepts every value of the type.
var anyValue = rule{}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// atLeast accepts numbers from min up.
func atLeast(min float64) rule {
	return rule{
		text: "[" + number(min) + ",...]",
		check: func(name string, v value) error {
			if v.number() < min {
				return invalid(name, v.text, "Value must be at least "+number(min))
			}
			return nil
		},
	}
}

// between accepts numbers from min to max, both included.
func between(min, max float64) rule {
	return rule{
		text: "[" + number(min) + ",...," + number(max) + "]",
		check: func(name string, v value) error {
			if v.number() < min {
				return invalid(name, v.text, "Value must be at least "+number(min))
			}
			if v.number() > max {
				return invalid(name, v.text, "Value must be no more than "+number(max))
			}
			return nil
		},
	}
}

// oneOf accepts the given words.
func oneOf(words ...string) rule {
	return rule{
		text: "[" + strings.Join(words, ", ") + "]",
		check: func(name string, v value) error {
			if slices.Contains(words, v.text) {
				return nil
			}
			return invalid(name, v.text, "String must be one of: "+strings.Join(words, ", "))
		},
	}
}

// oneOfFold accepts the given words in any case.
func oneOfFold(words ...string) rule {
	return rule{
		text: "(case insensitive) [" + strings.Join(words, ", ") + "]",
		check: func(name string, v value) error {
			if slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, v.text) }) {
				return nil
			}
			return invalid(name, v.text, "String must be one of (case insensitive): "+strings.Join(words, ", "))
		},
	}
}

// uniqueList accepts lists without empty or repeated elements.
var uniqueList = rule{check: checkUnique}

func checkUnique(name string, v value) error {
	for i, element := range v.list {
		if element == "" {
			return invalid(name, v.text, fmt.Sprintf("Configuration '%s' values must not be empty.", name))
		}
		if slices.Contains(v.list[:i], element) {
			return invalid(name, v.text, fmt.Sprintf("Configuration '%s' values must not be duplicated.", name))
		}
	}
	return nil
}

// listOf accepts lists, also empty ones, of the given words, each once.
func listOf(words ...string) rule {
	return rule{
		text: "[" + strings.Join(words, ", ") + "]",
		check: func(name string, v value) error {
			if err := checkUnique(name, v); err != nil {
				return err
			}
			for _, element := range v.list {
				if !slices.Contains(words, element) {
					return invalid(name, element, "String must be one of: "+strings.Join(words, ", "))
				}
			}
			return nil
		},
	}
}

// nonEmpty accepts every string but the empty one.
var nonEmpty = rule{
	text: "non-empty string",
	check: func(name string, v value) error {
		if v.text == "" {
			return invalid(name, v.text, "String must be non-empty")
		}
		return nil
	},
}

// gzipLevel accepts zlib's levels and its default, -1.
var gzipLevel = rule{
	text: "[1,...,9] or -1",
	check: func(name string, v value) error {
		if v.int != -1 && (v.int < 1 || v.int > 9) {
			return invalid(name, v.text, "Value must be between 1 and 9 or equal to -1")
		}
		return nil
	},
}

var throttledReplica = regexp.MustCompile(`^[0-9]+:[0-9]+$`)

// throttledReplicas accepts partition:broker pairs, "*" and nothing at all.
var throttledReplicas = rule{
	text: "[partitionId]:[brokerId],[partitionId]:[brokerId],... or *",
	check: func(name string, v value) error {
		if len(v.list) == 0 || len(v.list) == 1 && v.list[0] == "*" {
			return nil
		}
		for _, element := range v.list {
			if !throttledReplica.MatchString(element) {
				return invalid(name, v.text, name+" must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...")
			}
		}
		return nil
	},
}
