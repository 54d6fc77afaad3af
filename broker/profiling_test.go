package broker

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
)

// profilingServer serves the handlers and returns a function that asks them.
func profilingServer(t *testing.T) func(method, path string) (int, string) {
	mux := http.NewServeMux()
	p := new(profiling)
	p.register(mux)
	srv := httptest.NewServer(mux)
	t.Cleanup(func() {
		srv.Close()
		p.mu.Lock()
		p.endLocked()
		p.mu.Unlock()
	})
	return func(method, path string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
}

func TestCPUProfileByTwoRequests(t *testing.T) {
	ask := profilingServer(t)
	if code, body := ask("POST", "/debug/pprof/cpu/stop"); code != http.StatusConflict {
		t.Errorf("stop before start: %d %s", code, body)
	}
	if code, body := ask("GET", "/debug/pprof/cpu/start"); code == http.StatusOK && strings.Contains(body, "profiling") {
		t.Error("a GET started a profile")
	}
	if code, body := ask("POST", "/debug/pprof/cpu/start"); code != http.StatusOK {
		t.Fatalf("start: %d %s", code, body)
	}
	if code, body := ask("POST", "/debug/pprof/cpu/start"); code != http.StatusConflict || !strings.Contains(body, "runs already") {
		t.Errorf("second start: %d %s", code, body)
	}
	code, body := ask("POST", "/debug/pprof/cpu/stop")
	if code != http.StatusOK {
		t.Fatalf("stop: %d %s", code, body)
	}
	p, err := profile.ParseData([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.SampleType) != 2 || p.SampleType[1].Type != "cpu" {
		t.Errorf("sample types %v", p.SampleType)
	}
}

func TestSamplingIsOffUntilAsked(t *testing.T) {
	ask := profilingServer(t)
	f := func(method, query, want string, wantCode int) {
		t.Helper()
		code, body := ask(method, "/debug/pprof/sampling"+query)
		if code != wantCode || !strings.Contains(body, want) {
			t.Errorf("%s %s: %d %s", method, query, code, body)
		}
	}
	f("GET", "", `{"mutex_fraction":0,"block_rate_ns":0}`, 200)
	f("POST", "?mutex_fraction=100", `{"mutex_fraction":100,"block_rate_ns":0}`, 200)
	f("POST", "?block_rate_ns=10000", `{"mutex_fraction":100,"block_rate_ns":10000}`, 200)
	f("POST", "?mutex_fraction=-1", "a number from 0 (off) up", 400)
	f("POST", "?mutex_fraction=0&block_rate_ns=0", `{"mutex_fraction":0,"block_rate_ns":0}`, 200)
}
