// Package scenario plays the stories in a package's testdata against its pure
// core: prose, commands, and what came of them, in a form that a reviewer can
// read. It is for tests.
package scenario
