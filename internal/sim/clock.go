package sim

// wallEpochMs is what wall clocks that are right show at the start of a run.
const wallEpochMs = 1_750_000_000_000

// clock is one machine's: a monotonic one that may run fast or slow, and a wall
// clock that is off by an amount which may jump.
type clock struct {
	world     *scheduler
	driftPpm  int64 // parts per million that the monotonic clock is fast
	offsetMs  int64 // wall clock minus true time
	bootedAt  Time  // monotonic time begins at boot
	bootShift int64 // ms shown at boot, so that no two machines agree
}

// monotonicMs never goes back and never jumps while the machine is up.
func (c *clock) monotonicMs() int64 {
	elapsed := c.world.now - c.bootedAt
	return c.bootShift + (elapsed + elapsed*Time(c.driftPpm)/1_000_000).Ms()
}

// wallMs is milliseconds since 1970 as this machine believes.
func (c *clock) wallMs() int64 { return wallEpochMs + c.world.now.Ms() + c.offsetMs }

// duration is how long d of this machine's monotonic time takes.
func (c *clock) duration(d Time) Time { return d - d*Time(c.driftPpm)/1_000_000 }
