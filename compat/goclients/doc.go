// Command goclients runs cases of the Go clients that the broker's own module does not depend on:
//
//	goclients sarama|kafka-go BOOTSTRAP TESTDATA CASE...
//
// It prints one line for each case: CASE, the name, ok or fail, milliseconds, what it saw.
package main
