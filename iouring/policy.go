package iouring

// policy decides which way writes go. Its answers change only in endTurn, so
// that what Deferred promised holds for the whole turn. It reads no clock and
// makes no system call.
type policy interface {
	// deferred reports whether inline may answer false in this turn.
	deferred() bool
	// inline reports whether a write of n bytes is carried out at once.
	inline(n int64) bool
	// observe learns what a write cost.
	observe(o observation)
	// endTurn may change the mind for the next turn. nowNs is monotonic.
	endTurn(nowNs int64)
	// explain is the operator's line; "" when the name says it all.
	explain() string
}

// observation is one finished write.
type observation struct {
	bytes int64
	ns    int64 // inline: time in the system call; ring: submission to completion
	group int   // writes submitted together
	ring  bool
}

// alwaysInline is the policy of the pwritev engine.
type alwaysInline struct{}

func (alwaysInline) deferred() bool      { return false }
func (alwaysInline) inline(int64) bool   { return true }
func (alwaysInline) observe(observation) {}
func (alwaysInline) endTurn(int64)       {}
func (alwaysInline) explain() string {
	return "each write inline by pwritev(2), fdatasync on a pool of threads"
}

// alwaysRing is the policy of the uring engine.
type alwaysRing struct{}

func (alwaysRing) deferred() bool      { return true }
func (alwaysRing) inline(int64) bool   { return false }
func (alwaysRing) observe(observation) {}
func (alwaysRing) endTurn(int64)       {}
func (alwaysRing) explain() string {
	return "each turn's writes in one io_uring submission, fdatasync in parallel on its workers"
}
