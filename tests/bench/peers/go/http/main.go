// The peer on net/http: GET /demo/hello with the middleware that its users add for metrics and logs.
//
// Speaks HTTP/1.1 and cleartext HTTP/2. Takes PORT and METRICS_PORT from the environment, and the number of threads from
// GOMAXPROCS.
package main

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func hello(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, "hello, world!\n")
}

// answer remembers the status for the log.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// logged writes a JSON line for each request, by the form of slog that allocates least.
func logged(next http.Handler) http.Handler {
	logger := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		a := &answer{w, http.StatusOK}
		next.ServeHTTP(a, r)
		logger.LogAttrs(r.Context(), slog.LevelInfo, "request",
			slog.String("method", r.Method), slog.String("url", r.URL.RequestURI()), slog.Int("status", a.status),
			slog.Float64("seconds", time.Since(begun).Seconds()), slog.String("peer", r.RemoteAddr),
			slog.String("agent", r.UserAgent()))
	})
}

func measured(path string, next http.Handler) http.Handler {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "http_requests_total", Help: "Requests answered.",
		ConstLabels: prometheus.Labels{"path": path}}, []string{"method", "code"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "http_request_duration_seconds",
		Help: "Time of requests.", ConstLabels: prometheus.Labels{"path": path}}, []string{"method", "code"})
	prometheus.MustRegister(requests, seconds)
	return promhttp.InstrumentHandlerCounter(requests, promhttp.InstrumentHandlerDuration(seconds, next))
}

func main() {
	const path = "/demo/hello"
	routes := http.NewServeMux()
	routes.Handle("GET "+path, measured(path, http.HandlerFunc(hello)))
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), Handler: logged(routes), Protocols: protocols}
	go func() {
		log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("METRICS_PORT"), promhttp.Handler()))
	}()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	over := make(chan error)
	go func() {
		<-ended
		over <- server.Shutdown(context.Background())
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	if err := <-over; err != nil {
		log.Fatal(err)
	}
}
