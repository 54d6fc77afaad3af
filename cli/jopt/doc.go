// Package jopt parses command lines the way Apache Kafka's own tools do, which
// use the Java library joptsimple: every option is long, one hyphen means the
// same as two, a value follows after a space or an equals sign, and a required
// value is whatever comes next, even when it starts with a hyphen (so
// `--time -1` needs no quoting). The wording of its errors is joptsimple's,
// because scripts look for it.
//
// It is separate from the flags of Freshet's own commands, which follow POSIX.
package jopt
