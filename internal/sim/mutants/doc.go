// Command mutants checks the simulator itself: it breaks the code in known ways,
// one at a time, in a copy of the tree, and looks for the seed that notices.
//
// A mutant is a bug that a distributed log has had somewhere, as an edit of one
// or a few places. The edits are exact text: a test fails when the code has
// moved on from under one. A mutant that no seed catches says that a promise
// is not checked, or that the trouble which would break it does not happen.
//
//	go run ./internal/sim/mutants                  # all, up to 2,000 seeds each
//	go run ./internal/sim/mutants -only skip-fsync
//	go run ./internal/sim/mutants -seeds 500 -keep
package main
