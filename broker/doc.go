// Package broker serves the Kafka protocol: event loops on gnet's poller read
// frames, handlers give them their meaning (one handle_NN_*.go file per API
// key), partitions keep what waits for them, and answers leave in the order
// of their requests, bodies by sendfile.
//
// # Who runs where
//
// A connection belongs to one loop for its life; everything in conn, slot,
// turn, fetchOp and the loop itself is touched on that loop's goroutine only.
// Other goroutines reach a loop through loop.post. Produce and Fetch run on
// the loop; every other API runs on a bounded pool of workers and answers
// through Request.Reply from any goroutine.
//
// # The life of a read
//
// onReadable reads once, handles every whole frame where it lies, and ends
// the turn: one vectored write per partition touched, one send of all the
// answers that are due.
package broker
