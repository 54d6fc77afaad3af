package broker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	httppprof "net/http/pprof"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"time"
)

// profiling serves /debug/pprof/: Go's own handlers, a CPU profile that is
// started and stopped by two requests, so that it covers exactly what a
// benchmark measures, and the switches of the mutex and block profiles, which
// are off until someone asks because they cost time in every lock.
type profiling struct {
	mu sync.Mutex
	// cpu gets the running profile's bytes; nil when none runs or waits.
	cpu *bytes.Buffer
	// running is false when the time limit ended the profile, which then waits
	// in cpu to be fetched.
	running bool
	limit   *time.Timer
	// rates are what the runtime was last told; it cannot be asked for both.
	rates samplingRates
}

// samplingRates say how much the mutex and block profiles see.
type samplingRates struct {
	// MutexFraction samples one of so many contentions; 0 is off.
	MutexFraction int `json:"mutex_fraction"`
	// BlockRateNs samples one blocking event for so many nanoseconds blocked,
	// and every longer one; 0 is off.
	BlockRateNs int `json:"block_rate_ns"`
}

// cpuProfileLimit ends a CPU profile that nobody stops.
const cpuProfileLimit = 10 * time.Minute

// register adds the handlers to mux.
func (p *profiling) register(mux *http.ServeMux) {
	mux.HandleFunc("/debug/pprof/", httppprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", httppprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", httppprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", httppprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", httppprof.Trace)
	mux.HandleFunc("POST /debug/pprof/cpu/start", p.startCPU)
	mux.HandleFunc("POST /debug/pprof/cpu/stop", p.stopCPU)
	mux.HandleFunc("GET /debug/pprof/sampling", p.showSampling)
	mux.HandleFunc("POST /debug/pprof/sampling", p.setSampling)
}

// startCPU starts a CPU profile; stopCPU answers with it.
func (p *profiling) startCPU(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running {
		http.Error(w, "a CPU profile runs already: POST /debug/pprof/cpu/stop ends it", http.StatusConflict)
		return
	}
	buffer := new(bytes.Buffer)
	if err := pprof.StartCPUProfile(buffer); err != nil {
		http.Error(w, fmt.Sprintf("cannot start a CPU profile: %v", err), http.StatusConflict)
		return
	}
	p.cpu, p.running = buffer, true
	p.limit = time.AfterFunc(cpuProfileLimit, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.cpu == buffer {
			p.endLocked()
		}
	})
	fmt.Fprintln(w, "profiling")
}

func (p *profiling) stopCPU(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cpu == nil {
		http.Error(w, "no CPU profile runs: POST /debug/pprof/cpu/start begins one", http.StatusConflict)
		return
	}
	p.endLocked()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(p.cpu.Len()))
	_, _ = w.Write(p.cpu.Bytes())
	p.cpu = nil
}

// endLocked ends a running profile; the caller holds mu.
func (p *profiling) endLocked() {
	if p.running {
		p.limit.Stop()
		pprof.StopCPUProfile()
		p.running = false
	}
}

func (p *profiling) showSampling(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(p.rates)
}

// setSampling takes the query parameters mutex_fraction and block_rate_ns;
// what is not named stays.
func (p *profiling) setSampling(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	rates := p.rates
	p.mu.Unlock()
	for _, parameter := range []struct {
		name string
		to   *int
	}{{"mutex_fraction", &rates.MutexFraction}, {"block_rate_ns", &rates.BlockRateNs}} {
		text := r.URL.Query().Get(parameter.name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			http.Error(w, fmt.Sprintf("%s=%q: give a number from 0 (off) up", parameter.name, text), http.StatusBadRequest)
			return
		}
		*parameter.to = n
	}
	p.mu.Lock()
	p.rates = rates
	runtime.SetMutexProfileFraction(rates.MutexFraction)
	runtime.SetBlockProfileRate(rates.BlockRateNs)
	p.mu.Unlock()
	p.showSampling(w, r)
}
