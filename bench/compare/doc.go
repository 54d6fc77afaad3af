// Package compare measures brokers side by side: this binary's broker, Apache
// Kafka fetched by Maven, brokers that run already, in any number.
//
// All are driven by the same generators (package bench's, or Kafka's own Java
// tools), on the same file system, with the same durability settings; a pair
// whose acknowledgements do not promise the same is refused. Their runs
// alternate and change their order each time, each starts from the same memory
// conditions (docs/performance/METHOD.md), and the first pass over all rows is
// thrown away, because a JVM compiles during it.
//
// What a run gave becomes figures (figures.go), which golang.org/x/perf's
// benchmath turns into medians with confidence intervals and into the
// probability that a difference is chance (stats.go). The result is a table, a
// JSON file and lines for benchstat; docs/performance/COMPARE.md describes them.
package compare
