// Package history records what producers asked for and what readers saw, and decides whether a log that
// was killed, restarted or cut off kept its promises.
//
// Every write has a unique identity, (producer, counter), which its payload carries. A write is invoked,
// and ends ok (acknowledged, with its offset), failed (the broker refused it for good) or unknown (no
// answer, or the run ended first). Check then asserts, over all reads of all readers:
//
//	(a) an offset of a partition holds one write, whoever reads it;
//	(b) every acknowledged write is read: exactly once if its producer is idempotent, at least once
//	    otherwise, and at the offset that was acknowledged;
//	(c) a failed write is never read;
//	(d) a producer's writes stand in a partition in the order it sent them;
//	(e) a write that was acknowledged before another began has the smaller offset of the two.
//
// The package is pure: it knows neither clients nor clocks. Times are any increasing numbers.
package history
