// Package invariants holds assertions that cost nothing in production. They
// are compiled in by `-tags invariants` and by the race detector; elsewhere
// Enabled is a false constant and the compiler removes what depends on it.
//
// Cheap checks that guard data on disk or on the wire do not belong here: they
// stay on always and panic with "BUG:". This package is for checks that are
// too dear for the hot paths, for rare paths taken on purpose (Sometimes) and
// for buffers that must not be read any more (Mangle).
//
//	if invariants.Enabled {
//		invariants.Check(l.highWatermark <= l.logEndOffset, "high watermark %d passed the log end %d", …)
//	}
//
// The guard keeps the arguments from being evaluated in production.
package invariants
