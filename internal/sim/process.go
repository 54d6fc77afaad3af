package sim

// process is a running program: what can be stopped, paused or killed. Events
// that belong to a process which has ended never happen; those of a paused one
// wait, as data wait in a socket and timers in the kernel, and happen in order
// when it goes on.
type process struct {
	sched   *scheduler
	clock   *clock
	alive   bool
	paused  bool
	backlog []func()
}

func newProcess(s *scheduler, c *clock) *process { return &process{sched: s, clock: c, alive: true} }

// run does f now, later, or never.
func (p *process) run(f func()) {
	switch {
	case !p.alive:
	case p.paused:
		p.backlog = append(p.backlog, f)
	default:
		f()
	}
}

// after does f when d of the process's own time has passed.
func (p *process) after(d Time, f func()) {
	p.sched.after(p.clock.duration(d), func() { p.run(f) })
}

// every does f at intervals of d for the life of the process.
func (p *process) every(d Time, f func()) {
	p.after(d, func() {
		f()
		p.every(d, f)
	})
}

// defers does f as the process's next own event, after what is going on now.
func (p *process) defers(f func()) { p.after(0, f) }

func (p *process) pause() { p.paused = true }

func (p *process) resume() {
	p.paused = false
	backlog := p.backlog
	p.backlog = nil
	for i, f := range backlog {
		if p.paused || !p.alive { // stopped again by what it did itself
			p.backlog = append(backlog[i:], p.backlog...)
			return
		}
		f()
	}
}

func (p *process) end() {
	p.alive, p.paused = false, false
	p.backlog = nil
}
