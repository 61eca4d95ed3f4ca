package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	failuresKept = 10   // of the first, and of the last, about which the report tells more than the number
	rateMissed   = 0.02 // beyond this share the run says nothing
)

// record is what came of a request.
type record struct {
	Kind    string
	Start   time.Time // when it was meant to start
	Latency time.Duration
	Err     error // nil: answered rightly
	First   error // of the first attempt, where there were more
	Late    bool
}

// second sums up the requests that were meant to start in one second of the run. It is told once all of them can have ended.
type second struct {
	Second  int     `json:"second"`
	Sent    int     `json:"sent"`
	Failed  int     `json:"failed"`
	Retried int     `json:"retried"`
	Slowest float64 `json:"slowest_ms"`
}

type failure struct {
	At    float64 `json:"at"` // seconds after the start of the run
	Kind  string  `json:"kind"`
	Error string  `json:"error"`
	Final bool    `json:"final"` // no: a later attempt succeeded
}

type sum struct {
	Sent    int     `json:"sent"`
	Failed  int     `json:"failed"`
	Retried int     `json:"retried"` // an attempt failed, a later one did not
	Slowest float64 `json:"slowest_ms"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`

	latencies []float64
}

// report is what a run comes to.
type report struct {
	sum
	Rate         float64         `json:"rate"`
	Achieved     float64         `json:"achieved"` // requests a second that started in time
	Valid        bool            `json:"valid"`
	Seconds      float64         `json:"seconds"`
	Acknowledged int             `json:"acknowledged_writes"`
	Kinds        map[string]*sum `json:"kinds"`
	Failures     []failure       `json:"failures"` // the first and the last ones
	FirstFailure float64         `json:"first_failure"`
	LastFailure  float64         `json:"last_failure"` // seconds after the start, by when they were meant to start
}

type recorder struct {
	rate   float64
	out    *json.Encoder
	file   *os.File
	lines  *bufio.Writer
	begun  time.Time
	settle time.Duration // after which a request has ended
	done   chan struct{}
	told   sync.WaitGroup

	mutex   sync.Mutex
	report  report
	onTime  int
	planned int
	seconds []second
}

func newRecorder(o *options, out io.Writer) (*recorder, error) {
	r := &recorder{rate: o.rate, out: json.NewEncoder(out), done: make(chan struct{}), settle: o.timeout + time.Second}
	r.report = report{Rate: o.rate, Kinds: map[string]*sum{}, Failures: []failure{}}
	if o.records != "" {
		file, err := os.Create(o.records)
		if err != nil {
			return nil, err
		}
		r.file, r.lines = file, bufio.NewWriter(file)
	}
	return r, nil
}

// begin says when the first request starts, and tells of each second from then on.
func (r *recorder) begin() time.Time {
	r.begun = time.Now()
	r.told.Add(1)
	_ = r.out.Encode(map[string]any{"began": r.begun.UnixMilli()})
	go func() {
		defer r.told.Done()
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for next := 0; ; {
			select {
			case <-r.done:
				r.tell(next, len(r.seconds))
				return
			case now := <-ticker.C:
				ended := int((now.Sub(r.begun) - r.settle) / time.Second)
				next = r.tell(next, ended)
			}
		}
	}()
	return r.begun
}

func (r *recorder) tell(next, end int) int {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for ; next < min(end, len(r.seconds)); next++ {
		_ = r.out.Encode(r.seconds[next])
	}
	return next
}

// missed counts a request that could not even be started.
func (r *recorder) missed() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.planned++
}

func (r *recorder) add(one record) {
	at := one.Start.Sub(r.begun).Seconds()
	latency := float64(one.Latency.Microseconds()) / 1e3
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.planned++
	if !one.Late {
		r.onTime++
	}
	for len(r.seconds) <= int(at) {
		r.seconds = append(r.seconds, second{Second: len(r.seconds)})
	}
	s := &r.seconds[int(at)]
	s.Sent++
	s.Slowest = max(s.Slowest, latency)
	if r.report.Kinds[one.Kind] == nil {
		r.report.Kinds[one.Kind] = &sum{}
	}
	for _, each := range []*sum{&r.report.sum, r.report.Kinds[one.Kind]} {
		each.count(one, latency)
	}
	switch {
	case one.Err != nil:
		s.Failed++
		r.fail(failure{at, one.Kind, one.Err.Error(), true})
	case one.First != nil:
		s.Retried++
		r.fail(failure{at, one.Kind, one.First.Error(), false})
	}
	r.write(one, at, latency)
}

func (s *sum) count(one record, latency float64) {
	s.Sent++
	s.Slowest = max(s.Slowest, latency)
	s.latencies = append(s.latencies, latency)
	if one.Err != nil {
		s.Failed++
	} else if one.First != nil {
		s.Retried++
	}
}

func (r *recorder) fail(f failure) {
	if len(r.report.Failures) == 0 || f.At < r.report.FirstFailure {
		r.report.FirstFailure = f.At
	}
	r.report.LastFailure = max(r.report.LastFailure, f.At)
	if len(r.report.Failures) == 2*failuresKept {
		r.report.Failures = slices.Delete(r.report.Failures, failuresKept, failuresKept+1)
	}
	r.report.Failures = append(r.report.Failures, f)
}

func (r *recorder) write(one record, at, latency float64) {
	if r.lines == nil {
		return
	}
	line := map[string]any{"at": at, "kind": one.Kind, "latency_ms": latency}
	if one.Err != nil {
		line["error"] = one.Err.Error()
	}
	_ = json.NewEncoder(r.lines).Encode(line)
}

// finish is called when every request has ended.
func (r *recorder) finish() *report {
	took := time.Since(r.begun)
	close(r.done)
	r.told.Wait()
	if r.lines != nil {
		_ = r.lines.Flush()
		_ = r.file.Close()
	}
	for _, each := range r.report.Kinds {
		each.rank()
	}
	r.report.rank()
	r.report.Seconds = took.Seconds()
	if r.planned > 0 {
		r.report.Achieved = r.rate * float64(r.onTime) / float64(r.planned)
	}
	r.report.Valid = r.report.Achieved >= r.rate*(1-rateMissed)
	return &r.report
}

func (s *sum) rank() {
	slices.Sort(s.latencies)
	s.P50, s.P99 = quantile(s.latencies, 0.50), quantile(s.latencies, 0.99)
}

// quantile is the least value that at least this share does not exceed.
func quantile(sorted []float64, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	index := int(share * float64(len(sorted)))
	return sorted[min(index, len(sorted)-1)]
}
