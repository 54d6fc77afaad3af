package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// adminServer serves metrics, health and profiles over HTTP. It listens on
// loopback unless the configuration names another address: nothing here asks
// who is calling.
type adminServer struct {
	http *http.Server
	addr string
}

// startAdmin listens on addr ("host:port"; empty means no admin server). A
// port in use is reported and the broker goes on without: several brokers on
// one machine is an ordinary way to work.
func startAdmin(b *Broker, addr string) *adminServer {
	if addr == "" {
		return nil
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		slog.Warn("admin server is off: its address cannot be used; set freshet.admin.listener", "address", addr, "error", err)
		return nil
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(&collector{broker: b})
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.Handle("/public_metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("/livez", respondText("ok\n"))
	mux.HandleFunc("/healthz", b.healthz)
	mux.HandleFunc("/readyz", b.healthz)
	mux.HandleFunc("/v1/status/ready", b.readyJSON)
	new(profiling).register(mux)
	a := &adminServer{addr: ln.Addr().String(), http: &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}}
	// The connections' goroutines inherit the label.
	go pprof.Do(context.Background(), pprof.Labels("loop", "admin"), func(context.Context) {
		if err := a.http.Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
			slog.Error("admin server ended", "error", err)
		}
	})
	return a
}

func (a *adminServer) stop() {
	if a == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = a.http.Shutdown(ctx)
}

func respondText(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
}

// healthz is 200 while the broker serves and every log dir is online.
func (b *Broker) healthz(w http.ResponseWriter, _ *http.Request) {
	if dirs := b.offlineDirs(); len(dirs) > 0 {
		http.Error(w, fmt.Sprintf("log dirs offline: %v", dirs), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func (b *Broker) readyJSON(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if len(b.offlineDirs()) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, `{"status":"log dirs offline"}`)
		return
	}
	fmt.Fprintln(w, `{"status":"ready"}`)
}
