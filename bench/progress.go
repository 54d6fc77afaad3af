package bench

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Progress tells how far a suite is: a bar on a terminal, a line now and then
// elsewhere. It counts in thousandths of a step, and a step is one run.
// It is safe for concurrent use.
type Progress struct {
	w     io.Writer
	bar   *progressbar.ProgressBar // nil when w is no terminal
	steps int

	mu       sync.Mutex
	step     int
	label    string
	started  time.Time
	lastLine time.Time
}

const (
	partsPerStep = 1000
	lineInterval = 10 * time.Second
	tickInterval = 200 * time.Millisecond
)

// NewProgress starts a display of steps on w; nil w shows nothing.
func NewProgress(w io.Writer, terminal bool, steps int) *Progress {
	if w == nil {
		w = io.Discard
	}
	p := &Progress{w: w, steps: steps, started: time.Now(), lastLine: time.Now()}
	if terminal && steps > 0 {
		p.bar = progressbar.NewOptions(steps*partsPerStep,
			progressbar.OptionSetWriter(w),
			progressbar.OptionSetWidth(30),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionClearOnFinish(),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetTheme(progressbar.Theme{
				Saucer: "█", SaucerHead: "█", SaucerPadding: "░", BarStart: "▕", BarEnd: "▏"}),
		)
	}
	return p
}

// Step begins a step. fraction, if not nil, is polled for how much of it is
// done (0 … 1) until the returned function ends the step.
func (p *Progress) Step(label string, fraction func() float64) (done func()) {
	p.mu.Lock()
	p.label = label
	p.mu.Unlock()
	p.show(0)
	stop := make(chan struct{})
	var polling sync.WaitGroup
	polling.Go(func() {
		tick := time.NewTicker(tickInterval)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				part := 0.0
				if fraction != nil {
					part = min(max(fraction(), 0), 1)
				}
				p.show(part)
			}
		}
	})
	return func() {
		close(stop)
		polling.Wait()
		p.mu.Lock()
		p.step++
		p.mu.Unlock()
		p.show(0)
	}
}

func (p *Progress) show(part float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		p.bar.Describe(fmt.Sprintf("%-34s", p.label))
		p.bar.Set(min(p.step*partsPerStep+int(part*partsPerStep), p.steps*partsPerStep))
		return
	}
	if time.Since(p.lastLine) >= lineInterval {
		p.lastLine = time.Now()
		fmt.Fprintf(p.w, "bench: %d of %d runs done after %.0f s; now %s\n",
			p.step, p.steps, time.Since(p.started).Seconds(), p.label)
	}
}

// Finish clears the display.
func (p *Progress) Finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		p.bar.Finish()
	}
}
