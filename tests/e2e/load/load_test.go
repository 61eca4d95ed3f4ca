package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func recording(t *testing.T, rate float64) (*recorder, *bytes.Buffer) {
	t.Helper()
	out := &bytes.Buffer{}
	r, err := newRecorder(&options{rate: rate, timeout: time.Second}, out)
	if err != nil {
		t.Fatal(err)
	}
	r.begin()
	return r, out
}

func TestReportCountsWhatFailedAndWhen(t *testing.T) {
	r, out := recording(t, 4)
	for i := range 8 {
		one := record{Kind: "a", Start: r.begun.Add(time.Duration(i) * 250 * time.Millisecond), Latency: time.Duration(i+1) * time.Millisecond}
		switch i {
		case 2:
			one.Err = errors.New("refused")
		case 5:
			one.First = errors.New("reset")
		}
		r.add(one)
	}
	got := r.finish()
	if got.Sent != 8 || got.Failed != 1 || got.Retried != 1 || got.Slowest != 8 || got.P50 != 5 || !got.Valid {
		t.Errorf("%+v", got)
	}
	if got.FirstFailure != 0.5 || got.LastFailure != 1.25 || len(got.Failures) != 2 {
		t.Errorf("failures %+v", got.Failures)
	}
	if !strings.Contains(out.String(), `{"second":0,"sent":4,"failed":1,"retried":0,"slowest_ms":4}`) {
		t.Errorf("told %s", out)
	}
}

func TestRunThatMissedItsRateIsInvalid(t *testing.T) {
	for late, valid := range map[int]bool{2: true, 3: false} {
		r, _ := recording(t, 100)
		for i := range 100 {
			r.add(record{Kind: "a", Start: r.begun, Late: i < late})
		}
		if got := r.finish(); got.Valid != valid {
			t.Errorf("%d of 100 late: valid is %t", late, got.Valid)
		}
	}
}

func TestLoopIsOpen(t *testing.T) {
	var under, most atomic.Int64
	slow := kind{"slow", 1, func(context.Context, int64) error {
		most.Store(max(most.Load(), under.Add(1)))
		time.Sleep(300 * time.Millisecond)
		under.Add(-1)
		return nil
	}}
	o := &options{rate: 100, timeout: time.Second}
	r, _ := newRecorder(o, &bytes.Buffer{})
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	drive(ctx, o, []kind{slow}, r)
	if got := r.finish(); got.Sent < 90 || most.Load() < 5 {
		t.Errorf("%d sent, %d at a time", got.Sent, most.Load())
	}
}

// A server that closes a connection when the second request arrives on it: clients that repeat by themselves hide that.
func closing(t *testing.T) (address string, requests *atomic.Int64) {
	t.Helper()
	requests = &atomic.Int64{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 2 {
			conn, _, _ := w.(http.Hijacker).Hijack()
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
			return
		}
		fmt.Fprint(w, "hello, world!\n")
	}))
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), requests
}

func TestRequestsAreNotRepeatedUnlessAsked(t *testing.T) {
	for retry, failed := range map[int]int{0: 1, 1: 0} {
		address, requests := closing(t)
		o := &options{targets: targets{demo: address}, timeout: time.Second, retry: retry}
		c := newHTTPCaller()
		k := httpKinds(o, c, &journal{})[0]
		r, _ := recording(t, 1)
		for number := range int64(3) {
			request(o, &k, number, time.Now(), r)
		}
		got := r.finish()
		if got.Failed != failed || got.Retried != retry || requests.Load() != int64(3+retry) {
			t.Errorf("retry %d: %d failed, %d retried, %d requests", retry, got.Failed, got.Retried, requests.Load())
		}
		c.close()
	}
}

func TestVerifyFindsWhatIsLost(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := strings.TrimPrefix(r.URL.Path, "/v1/notes/")
		_ = json.NewEncoder(w).Encode(note{ID: id, Title: "as written"})
	}))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "journal")
	j, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []written{{ID: "1", Content: "as written"}, {ID: "2", Content: "something else"}} {
		if err := j.add(one); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	all, err := readJournal(file)
	if err != nil {
		t.Fatal(err)
	}
	v := &verdict{}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	c := newHTTPCaller()
	v.read(ctx, "r", all, func(ctx context.Context, one written) error {
		return readNote(ctx, c.keepAlive, server.Listener.Addr().String(), one)
	})
	if v.Reads != 2 || v.Lost != 1 || len(v.First) != 1 || !strings.Contains(v.First[0], "something else") {
		t.Errorf("%+v", v)
	}
}

func TestFeatureSurvivesTheWire(t *testing.T) {
	want := written{Latitude: 409146138, Longitude: -746188906, Content: "Berkshire Valley Management Area Trail"}
	got, err := featureIn(featureOf(want))
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if vector := fmt.Sprintf("%x", pointOf(want)); vector != "089aa68cc30110969f989cfdffffffff01" {
		t.Error(vector)
	}
	if _, err := featureIn([]byte{0x0a, 0xff}); err == nil {
		t.Error("a broken message was read")
	}
}

func TestNamesOfServicesAreQualified(t *testing.T) {
	pod := "search e2e.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
	for _, c := range [][3]string{
		{"demo", pod, "demo.e2e.svc.cluster.local."},
		{"demo.other.svc", pod, "demo.other.svc"},
		{"10.0.0.1", pod, "10.0.0.1"},
		{"localhost", "search example.org\n", "localhost"},
		{"demo", "", "demo"},
	} {
		if got := qualified(c[0], c[1]); got != c[2] {
			t.Errorf("%s: %s", c[0], got)
		}
	}
}
