// Package lint holds the house rules as tests over the tree: which package may
// import which, sizes of files, functions and interfaces, package comments,
// names, and words and paths that do not belong in the text. `make lint` runs
// them with vet; `go test ./internal/lint` runs them alone.
//
// A violation is printed as file:line, the rule and what to do about it. Rules
// work on syntax alone, so they need no compiled packages, no network and no
// git. Exceptions stand in exceptions_test.go with a reason; a test fails when
// one is not needed any more, so that the list only shrinks.
package lint
