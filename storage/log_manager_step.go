package storage

// Step does on the caller's goroutine what the background would do by nowMs:
// the tasks that are due, and the flush of closed segments. It is for a manager
// that was not started, in a process that owns its time: the simulator. Not at
// the same time as itself or Close.
func (m *LogManager) Step(nowMs int64) {
	m.tick(nowMs)
	m.flushRolled()
}
