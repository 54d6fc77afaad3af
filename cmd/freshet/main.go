// Command freshet is a Kafka-protocol message broker and everything needed to
// run, use and measure it, in one static binary. Called by the name of one of
// Apache Kafka's tools, such as kafka-topics.sh, it is that tool.
package main

import (
	"os"

	"freshet/cli"
)

func main() {
	os.Exit(cli.Main(os.Args, cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
